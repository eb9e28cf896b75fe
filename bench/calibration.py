"""Calibration error on test before and after calibration, on every public data set, three splits each.

Beside each error stands the one that exact probabilities would show on as many rows: chance alone makes gaps in every
bin, and what is not above it cannot be lowered. Writes bench/results/calibration.json.

    TAILTUNE_DATA=DIR .venv/bin/python bench/calibration.py [--rows 4000] [--seeds 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from public_sets import SETS, written
from tailtune.config import TrainConfig
from tailtune.data.split import without_unused
from tailtune.evaluate.calibration import Method, calibrate
from tailtune.evaluate.metrics import score
from tailtune.learn import learn
from tailtune.methods.scorers import probabilities, score_features
from tailtune.parts import prepare
from tailtune.preparing import store_root
from tailtune.resolving import resolve
from tailtune.rules import Doubles, Indices, Rules
from tailtune.runs import Stopwatch, versions
from tailtune.storage import write_json

RESULTS = Path(__file__).resolve().parent / "results"
METHODS: tuple[Method, ...] = ("none", "temperature", "vector", "isotonic")
ASKED: tuple[Method | Literal["auto"], ...] = ("auto", *METHODS)


def error(rows: Doubles, truth: Indices) -> float:
    """Return the calibration error."""
    return score(truth, rows, [str(number) for number in range(rows.shape[1])]).ece


def expected(rows: Doubles) -> float:
    """Return the mean calibration error of these probabilities were they exact: 100 draws of the truth."""
    draw = np.random.default_rng(0)
    above = rows.cumsum(axis=1)
    above /= above[:, -1:]
    return float(np.mean([error(rows, (draw.random((len(rows), 1)) > above).sum(axis=1)) for _ in range(100)]))


def measured(config: TrainConfig) -> dict[str, Any]:
    """Return the errors of one split: of every way by name, and of the one that was chosen on validation."""
    dataset, split = prepare(config)
    used, parts = without_unused(dataset, split)
    with store_root(keep=True) as root:
        learnt = learn(used, parts, config, store=root, watch=Stopwatch(), counts=Counter(dataset.labels))
        scorer, features = learnt.fitted.scorer, learnt.features
        held, test = (probabilities(score_features(scorer, features, rows)) for rows in (parts.validation, parts.test))
    truth, groups = learnt.ids, parts.groups[parts.validation]
    errors, chosen = {}, "none"
    for method in ASKED:
        found = calibrate(held, truth[parts.validation], groups, method=method, seed=config.seed)
        steps = () if found.step is None else (found.step,)
        errors[method] = error(Rules(steps=steps).apply(test), truth[parts.test])
        chosen = found.method if method == "auto" else chosen
    counts = {"validation": len(parts.validation), "test": len(parts.test)}
    return {"rows": counts, "depth": scorer.depth, "chosen": chosen, "exact": expected(test), "ece": errors}


def main() -> None:
    """Measure all and print a line for each set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000, help="rows of a set at most")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    root, result = Path(os.environ["TAILTUNE_DATA"]), {}
    with tempfile.TemporaryDirectory() as folder:
        for name, read in SETS.items():
            data = written(read(root), given.rows, Path(folder) / "rows.csv")
            settings = [{"data": data, "seed": seed, "method": "probe"} for seed in range(given.seeds)]
            found = [measured(resolve(each).config) for each in settings]
            result[name] = found
            means = {key: np.mean([each["ece"][key] for each in found]) for key in ("none", "auto", *METHODS[1:])}
            said = ", ".join(f"{key} {value:.4f}" for key, value in means.items())
            exact, chosen = np.mean([each["exact"] for each in found]), [each["chosen"] for each in found]
            print(f"{name}: {said}; were they exact {exact:.4f}; chosen: {', '.join(chosen)}", flush=True)
    write_json(RESULTS / "calibration.json", {"versions": versions(), "sets": result})


if __name__ == "__main__":
    main()
