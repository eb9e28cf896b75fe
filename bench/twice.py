"""What twice the labels bring, against three guesses: half of the last gain, the same factor again, nothing more.

    TAILTUNE_DATA=DIR .venv/bin/python bench/twice.py [--model NAME]

A probe learns from 64 to 1,024 rows of SMS and SNIPS, four draws, judged on 200 rows; features are stored. Writes
bench/results/twice.json. DIR holds sms_spam/SMSSpamCollection and snips/train_*_full.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from labelled_material import SETS, Material, material
from tailtune.config import DEFAULT_MODEL
from tailtune.methods.linear import fit_linear
from tailtune.methods.probe import SCOUT
from tailtune.methods.scorers import pool
from tailtune.methods.tasks import task_of
from tailtune.runs import versions
from tailtune.storage import write_json

SIZES = (64, 128, 256, 512, 1024)
JUDGED = 200
SEEDS = range(4)
RESULTS = Path(__file__).resolve().parent / "results" / "twice.json"


def losses(given: Material, seed: int) -> list[float]:
    """Return the log loss after learning from so many rows of SIZES, each part inside the next."""
    random = np.random.default_rng(seed)
    order, judged = random.permutation(given.pool), random.permutation(given.test)[:JUDGED]
    vectors, found = pool(given.features.pooled(given.depths[2]), given.pooling), []
    for size in SIZES:
        learn = order[:size]
        linear = fit_linear(vectors[learn], given.labels[learn], penalty=SCOUT, classes=given.classes)
        scores = linear.scores(vectors[judged]).astype(np.float64)
        found.append(float(task_of(given.labels).judge(scores, given.labels[judged])[0].mean()))
    return found


def guessed(curves: list[list[float]]) -> dict[str, Any]:
    """Return how far each guess was off, how often it was too good, and how often the truth lay in the range told."""
    steps = [(curve[at], curve[at + 1], curve[at + 2]) for curve in curves for at in range(len(curve) - 2)]
    before, now, after = np.array(steps).T
    gain = before - now
    guesses = {"half of the last gain": now - gain / 2, "the same factor": now * now / before, "nothing": now}
    told = {
        name: {
            "off": float(np.abs(guess - after).mean()),
            "bias": float((guess - after).mean()),
            "too_good": int((guess < after).sum()),
        }
        for name, guess in guesses.items()
    }
    between = (np.minimum(now, now - gain) <= after) & (after <= np.maximum(now, now - gain))
    return {"steps": len(steps), "between_none_and_all_of_it": int(between.sum()), "guesses": told, "losses": curves}


def main() -> None:
    """Measure both sets and print how far the guesses were off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    model = parser.parse_args().model
    result: dict[str, Any] = {"versions": versions(), "model": model, "sizes": list(SIZES), "judged": JUDGED}
    for name in SETS:
        given = material(name, model)
        result[name] = guessed([losses(given, seed) for seed in SEEDS])
        for guess, told in result[name]["guesses"].items():
            print(f"{name:6}{guess:24}off by {told['off']:.3f}, bias {told['bias']:+.3f}, too good {told['too_good']}")
        print(f"{name:6}{result[name]['between_none_and_all_of_it']} of {result[name]['steps']} in the range told")
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()
