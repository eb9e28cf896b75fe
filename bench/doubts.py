"""How many labels turned around on purpose are found: 50 of the training rows of SMS Spam Collection, five times.

    python bench/doubts.py [--rows 50] [--seeds 5] [--like RUN]

Features come from the store after the first training; texts are read once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

import numpy as np

from tailtune.data.split import without_unused
from tailtune.doubts import Doubts, find_doubts
from tailtune.learn import learn
from tailtune.parts import prepare
from tailtune.preparing import store_root
from tailtune.resolving import resolve
from tailtune.runs import Stopwatch


def measured(turned: set[int], doubts: Doubts, seconds: float) -> dict[str, float]:
    """Return how many of the ``turned`` positions are found."""
    issues = set(doubts.at[doubts.issue].tolist())
    first = {f"in_first_{count}": len(turned & set(doubts.at[:count].tolist())) for count in (len(turned), 100)}
    return {
        **first,
        "issues": len(issues),
        "turned_among_issues": len(issues & turned),
        "rows": len(doubts),
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Print one JSON line per draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--like", default=None)
    given = parser.parse_args()
    config = resolve({"data": "sms-spam", "like": given.like}).config
    dataset, split = without_unused(*prepare(config))
    with store_root(keep=True) as store:
        learnt = learn(dataset, split, config, store=store, watch=Stopwatch())
        for seed in range(given.seeds):
            turned = np.random.default_rng(seed).choice(split.train, given.rows, replace=False)
            ids = learnt.ids.copy()
            ids[turned] = 1 - ids[turned]
            started = time.perf_counter()
            wrong = dataclasses.replace(learnt, ids=ids)
            doubts = find_doubts(split, wrong)
            found = measured(set(turned.tolist()), doubts, time.perf_counter() - started)
            print(json.dumps({"seed": seed, **found}), flush=True)


if __name__ == "__main__":
    main()
