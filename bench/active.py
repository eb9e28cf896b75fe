"""Whether choosing what to label beats a random draw: from 16 labels to 256 on two sets, five seeds, stored features.

    TAILTUNE_DATA=DIR .venv/bin/python bench/active.py [--model NAME]

Every strategy starts from the same 16 random rows, asks for the next ones as ``tailtune suggest --by`` would, is told
their labels, and a probe is fitted and tested on 1,000 other rows. Then 16, 32 and 64 rows are chosen before there is
any label. Prints means and writes bench/results/active.json. DIR holds sms_spam/SMSSpamCollection and
snips/train_*_full.json.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelled_material import SETS, Indices, Material, material
from tailtune.config import DEFAULT_MODEL
from tailtune.features.backbone import Floats
from tailtune.labelling.choosing import By, Measure, choose, directions, uncertainty
from tailtune.methods.linear import fit_linear
from tailtune.methods.probe import SCOUT
from tailtune.methods.scorers import pool, probabilities
from tailtune.runs import versions
from tailtune.storage import write_json

SIZES = (16, 32, 48, 64, 96, 128, 192, 256)
COLD = (16, 32, 64)
STRATEGIES: tuple[By | None, ...] = (None, "uncertainty", "margin", "entropy", "diversity", "both")
MEASURES: dict[By, Measure] = {"uncertainty": "uncertainty", "entropy": "entropy"}
SEEDS = range(5)
RESULTS = Path(__file__).resolve().parent / "results" / "active.json"
Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """One set at one depth: vectors as the probe reads them and, of the pool, as they are compared."""

    given: Material
    vectors: Floats
    near: Floats

    @classmethod
    def of(cls, given: Material) -> Sight:
        """Return the set at a third of the depths that a scan would compare, or at the top of an encoder."""
        causal = given.pooling.startswith("last")
        vectors = pool(given.features.pooled(given.depths[2] if causal else given.depths[-1]), given.pooling)
        near = np.zeros_like(vectors)
        near[given.pool] = directions(vectors[given.pool])
        return cls(given=given, vectors=vectors, near=near)

    def answers(self, labelled: Indices) -> Doubles:
        """Return [texts, C] what a probe fitted on these rows says of all; of one class, certainty."""
        known = self.given.labels[labelled]
        if len(np.unique(known)) < 2:
            return np.asarray(np.eye(self.given.classes)[np.full(len(self.vectors), known[0])])
        linear = fit_linear(self.vectors[labelled], known, penalty=SCOUT, classes=self.given.classes)
        return probabilities(linear.scores(self.vectors))

    def accuracy(self, answers: Doubles) -> float:
        """Return the share of test rows that are right."""
        test = self.given.test
        return float((answers[test].argmax(axis=1) == self.given.labels[test]).mean())

    def next_rows(self, by: By | None, labelled: Indices, answers: Doubles | None, count: int, seed: int) -> Indices:
        """Return ``count`` rows of the pool to label next; None for ``by`` is a random draw."""
        free = np.setdiff1d(self.given.pool, labelled)
        if by is None:
            return np.random.default_rng(seed).permutation(free)[:count]
        doubt = None if answers is None else uncertainty(answers[free], MEASURES.get(by, "margin"))
        near, known = self.near[free], self.near[labelled]
        return free[choose(by, count, vectors=near, uncertain=doubt, seed=seed, known=known)]


def curve(sight: Sight, by: By | None, seed: int) -> list[float]:
    """Return the accuracy at each of SIZES."""
    order = np.random.default_rng(seed).permutation(sight.given.pool)
    labels = sight.given.labels[order]
    # A start with one class only could not be learnt from: then the first row of another class takes the last place.
    labelled = np.unique(np.append(order[:15], order[max(15, int(np.argmax(labels != labels[0])))]))
    found = []
    for size, larger in itertools.pairwise((*SIZES, SIZES[-1])):
        answers = sight.answers(labelled)
        found.append(sight.accuracy(answers))
        if larger > size:
            labelled = np.append(labelled, sight.next_rows(by, labelled, answers, larger - size, seed))
    return found


def cold(sight: Sight, by: By | None, count: int, seed: int) -> float:
    """Return the accuracy after labelling ``count`` rows that were chosen before there was a label."""
    none = np.empty(0, dtype=np.int64)
    return sight.accuracy(sight.answers(sight.next_rows(by, none, None, count, seed)))


def gain(curves: Doubles, beside: Doubles) -> dict[str, float]:
    """Return how much more accurate a strategy is than a random draw, mean over sizes, and its standard error."""
    apart = (curves - beside)[:, 1:].mean(axis=1)
    return {"mean": float(apart.mean()), "standard_error": float(apart.std(ddof=1) / np.sqrt(len(apart)))}


def measured(given: Material) -> dict[str, Any]:
    """Return the figures of all strategies on one set."""
    sight = Sight.of(given)
    result: dict[str, Any] = {"classes": given.classes, "sizes": list(SIZES), "strategies": {}, "cold": {}}
    random = np.array([curve(sight, None, seed) for seed in SEEDS])
    for by in STRATEGIES:
        curves = np.array([curve(sight, by, seed) for seed in SEEDS])
        told = {"accuracy": curves.mean(axis=0).tolist(), "over_random": gain(curves, random)}
        result["strategies"][by or "random"] = told
        said = " ".join(f"{100 * value:5.1f}" for value in told["accuracy"])
        over = told["over_random"]
        print(
            f"{given.name:6}{by or 'random':12}{said}   {100 * over['mean']:+.2f} ± {100 * over['standard_error']:.2f}",
            flush=True,
        )
    strategies: tuple[By | None, ...] = (None, "diversity")
    for by in strategies:
        means = {str(count): float(np.mean([cold(sight, by, count, seed) for seed in SEEDS])) for count in COLD}
        result["cold"][by or "random"] = means
        said = "; ".join(f"{count}: {100 * value:.1f}" for count, value in means.items())
        print(f"{given.name:6}{by or 'random':12}before any label, {said}", flush=True)
    return result


def main() -> None:
    """Measure both sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    model = parser.parse_args().model
    result: dict[str, Any] = {"versions": versions(), "model": model, "seeds": len(SEEDS)}
    for name in SETS:
        result[name] = measured(material(name, model))
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()
