"""How well few labels work: 8 to 64 rows per class, five draws each, tested on 1,000 rows; features are stored.

    TAILTUNE_DATA=DIR .venv/bin/python bench/few_labels.py [METHOD ...] [--model NAME]

Prints mean accuracy and log loss and writes bench/results/few_labels.json, where the figures of methods that were not
asked for stay. A method is a function in METHODS from a set and drawn rows to the probabilities of its test rows. DIR
holds sms_spam/SMSSpamCollection and snips/train_*_full.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelled_material import SETS, Indices, Material, draw, material
from tailtune.config import DEFAULT_MODEL
from tailtune.data.split import split_dataset
from tailtune.evaluate.baselines import COUNTED, TITLES, fit_baselines
from tailtune.methods.probe import PENALTIES, SCOUT, Candidate, HeldOut, Rows, choose_probe, one_standard_error, steady
from tailtune.methods.scan import usual_depth
from tailtune.methods.scorers import probabilities, score_features
from tailtune.runs import versions
from tailtune.storage import write_json

EACH = (8, 16, 32, 64)
DRAWS = range(5)
RESULTS = Path(__file__).resolve().parent / "results" / "few_labels.json"
Doubles = NDArray[np.float64]
Method = Callable[[Material, Indices], Doubles]
Cut = Callable[[Material, HeldOut], tuple[int, ...]]


def rows_of(given: Material, drawn: Indices, *, held_out: bool) -> Rows:
    """Return the drawn rows as a fit sees them: all to learn from, or an eighth of them as a validation part."""
    empty = np.empty(0, dtype=np.int64)
    train, validation = drawn, empty
    if held_out:
        split = split_dataset(given.dataset.take(drawn.tolist()), seed=0, fractions=(0.875, 0.125, 0.0))
        train, validation = drawn[split.train], drawn[split.validation]
    return Rows(
        train=train,
        validation=validation,
        labels=given.labels,
        groups=np.arange(len(given.labels)),
        classes=given.classes,
    )


def probe(
    given: Material,
    drawn: Indices,
    *,
    held_out: bool = False,
    cut: Cut | None = None,
    penalties: Sequence[float] | None = None,
) -> Doubles:
    """Return what a probe says whose depth and penalty are chosen as in training."""
    rows = rows_of(given, drawn, held_out=held_out)
    scan = HeldOut(given.features, rows, given.pooling)
    scorer, _, _ = choose_probe(
        given.features,
        rows,
        depths=(cut or scanned)(given, scan),
        pooling=given.pooling,
        penalties=rows.penalties if penalties is None else penalties,
    )
    return probabilities(score_features(scorer, given.features, given.test))


def scanned(given: Material, scan: HeldOut) -> tuple[int, ...]:
    """Return the depths that a training run chooses."""
    return steady(_curve(given, scan), usual=usual_depth(given.shape)).depths


def shallowest(given: Material, scan: HeldOut) -> tuple[int, ...]:
    """Return the fewest depths whose loss is within one standard error of the lowest."""
    return one_standard_error(_curve(given, scan)).depths


def lowest_loss(given: Material, scan: HeldOut) -> tuple[int, ...]:
    """Return the depths with the lowest held-out loss."""
    return min(_curve(given, scan), key=lambda candidate: candidate.loss).depths


def _curve(given: Material, scan: HeldOut) -> list[Candidate]:
    return [scan.candidate(given.depths[:place], SCOUT) for place in range(1, len(given.depths) + 1)]


def fixed(given: Material, scan: HeldOut, *, place: int) -> tuple[int, ...]:
    """Return the first so many depths."""
    return given.depths[:place]


def ngrams(given: Material, drawn: Indices, *, name: str) -> Doubles:
    """Return what a regression on n-grams says."""
    texts = given.dataset.texts
    fitted = fit_baselines(
        [texts[row] for row in drawn], given.labels[drawn], classes=given.classes, weights=None, seed=0, names=(name,)
    )
    return np.asarray(fitted[name].classify([texts[row] for row in given.test]))


# Variants of a probe choose among the penalties that are tried however many rows there are.
_fixed = functools.partial(functools.partial, probe, penalties=PENALTIES)

METHODS: dict[str, Method] = {
    "probe": probe,
    "probe, an eighth held out": _fixed(held_out=True, cut=shallowest),
    "probe, shallowest within one error": _fixed(cut=shallowest),
    "probe, depth of the lowest loss": _fixed(cut=lowest_loss),
    **{f"probe, depth {place} of the scan's": _fixed(cut=functools.partial(fixed, place=place)) for place in (1, 3, 5)},
    **{
        f"probe, depth 3 of the scan's, penalty {penalty:g}": functools.partial(
            probe, cut=functools.partial(fixed, place=3), penalties=(penalty,)
        )
        for penalty in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0)
    },
    **{TITLES[name]: functools.partial(ngrams, name=name) for name in COUNTED[1:]},
}


def judged(given: Material, rows: Doubles) -> tuple[float, float]:
    """Return accuracy and mean log loss on the test rows."""
    truth = given.labels[given.test]
    right = np.maximum(rows[np.arange(len(truth)), truth], 1e-12)
    return float((rows.argmax(axis=1) == truth).mean()), float(-np.log(right).mean())


def measured(given: Material, each: int, name: str) -> dict[str, Any]:
    """Return the figures of one method: per draw, and their mean."""
    found = [judged(given, METHODS[name](given, draw(given, each, seed))) for seed in DRAWS]
    accuracies, losses = zip(*found, strict=True)
    means = {"accuracy": statistics.mean(accuracies), "log_loss": statistics.mean(losses)}
    return {**means, "accuracies": list(accuracies), "log_losses": list(losses)}


def main() -> None:
    """Measure the methods asked for and print their means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    result |= {"versions": versions(), "draws": len(DRAWS)}
    for name in given.sets:
        texts = material(name, given.model)
        kept = result.setdefault(given.model, {}).setdefault(name, {})
        for method in given.methods:
            found = {str(each): measured(texts, each, method) for each in EACH}
            kept[method] = found
            said = "; ".join(
                f"{each}: {100 * one['accuracy']:.1f} % {one['log_loss']:.3f}" for each, one in found.items()
            )
            print(f"{name:6}{method:44}{said}", flush=True)
            write_json(RESULTS, result)


if __name__ == "__main__":
    main()
