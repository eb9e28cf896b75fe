"""The LM head as a classifier: without training, and as the start of a probe's and a tail's head, by number of labels.

Writes bench/results/zero_shot.json. Templates and words were written once, before anything was measured. About ten
minutes on two cores; the features are computed once and kept in the cache.

    .venv/bin/python bench/zero_shot.py FOLDER
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from public_sets import Labelled, snips
from tailtune.config import NEXT_WORD, TrainConfig
from tailtune.data import catalog
from tailtune.data.chapter import chapter_split
from tailtune.data.dataset import Dataset
from tailtune.data.groups import group_rows
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Split
from tailtune.evaluate.metrics import score
from tailtune.features.backbone import Wanted
from tailtune.learn import learn
from tailtune.methods.descent import Step
from tailtune.methods.probe import SCOUT
from tailtune.preparing import make_ready, store_root
from tailtune.progress import silent
from tailtune.runs import Stopwatch, versions
from tailtune.storage import write_json

FILE = Path(__file__).resolve().parent / "results" / "zero_shot.json"
SIZES = (8, 64)
DRAWS = 3
TEST_ROWS = 300
# A tail is trained for at least so many steps: five epochs of 16 texts would be ten.
STEPS = 100
SMS = {
    "template": "Message: {text}\\nThis message is",
    "label_words": "spam=spam,advertising;ham=ordinary,personal",
}
INTENTS = {
    "template": "Request: {text}\\nThis request is about",
    "label_words": "AddToPlaylist=playlists,adding;BookRestaurant=restaurants,dining;GetWeather=weather,forecasts;"
    "PlayMusic=music,listening;RateBook=rating,reviews;SearchCreativeWork=media,works;"
    "SearchScreeningEvent=movies,cinemas",
}
STARTS: tuple[dict[str, Any], ...] = (
    {"method": "probe"},
    {"method": "probe", "head_init": "lm"},
    {"method": "tail"},
    {"method": "tail", "head_init": "lm"},
)


def drawn(dataset: Dataset, pool: Sequence[int], per_class: int, seed: int) -> list[int]:
    """Return ``per_class`` rows of each class, drawn from ``pool``."""
    order = random.Random(seed).sample(list(pool), len(pool))
    return [row for name in dataset.classes for row in [r for r in order if dataset.labels[r] == name][:per_class]]


def measured(
    dataset: Dataset, train: Sequence[int], test: Sequence[int], store: Path, **settings: Any
) -> dict[str, Any]:
    """Return accuracy and log loss on the test rows of what is learnt from the training rows alone."""
    used = dataset.take([*train, *test])
    places = np.arange(len(used))
    split = Split(
        train=places[: len(train)],
        validation=places[:0],
        test=places[len(train) :],
        unused=places[:0],
        groups=group_rows(used).ids,
        kind="given",
        seed=0,
    )
    epochs = max(5, -(-8 * STEPS // max(1, len(train))))
    fixed = {"data": "memory", "depth": "last", "precision": "fp32", "calibration": "none", "patience": None}
    config = TrainConfig(**{**fixed, "penalty": SCOUT, "epochs": epochs, **settings})
    learnt = learn(used, split, config, store=store, watch=Stopwatch())
    found = score(learnt.ids[split.test], learnt.raw(split.test), learnt.labels.names)
    steps = sum(isinstance(event, Step) for event in learnt.events)
    return {"accuracy": found.accuracy, "log_loss": found.log_loss, **({"steps": steps} if steps else {})}


def compute(dataset: Dataset, rows: Sequence[int], store: Path, made_by: dict[str, Any]) -> dict[str, int]:
    """Compute what all methods need of these rows in one pass; return their tokens, and how many they begin with."""
    start: dict[str, Any] = {"head_init": "lm", **made_by} if made_by else {}
    config = TrainConfig(data="memory", method="tail", depth="last", **start)
    ready = make_ready(dataset.take(rows), config, store=store, watch=Stopwatch(), progress=silent, say=print)
    step = max(1, round(ready.blocks / 10))
    wanted = Wanted(pooled=tuple(range(step, ready.blocks + 1, step)), states=ready.planned.wanted.states)
    tokens = ready.reading.tokens
    ready.passes.features(tokens, wanted, precision="fp32")
    return {"texts": len(tokens), "tokens": int(tokens.offsets[-1]), "shared": tokens.shared}


def untrained(dataset: Dataset, test: Sequence[int], store: Path, made_by: dict[str, Any]) -> dict[str, Any]:
    """Return what the LM head says by itself, as it is and with what it says of empty texts taken off."""
    one_each = drawn(dataset, range(len(dataset)), 1, 0)
    ways = {"as it is": False, "prior taken off": True}
    settings = {"method": "zero-shot", **made_by}
    return {
        name: measured(dataset, one_each, test, store, calibrate_prior=off, **settings) for name, off in ways.items()
    }


def starts(
    dataset: Dataset, pool: Sequence[int], test: Sequence[int], sizes: Sequence[int | None], store: Path, **made_by: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each way to start with each number of labels per class (None for all), means over the draws."""
    for settings in STARTS if made_by else STARTS[::2]:
        name = f"{settings['method']}, {'LM rows' if 'head_init' in settings else 'fresh'}"
        own = made_by if "head_init" in settings else {k: v for k, v in made_by.items() if k == "template"}
        for size in sizes:
            rows = [pool] if size is None else [drawn(dataset, pool, size, seed) for seed in range(DRAWS)]
            found = [measured(dataset, train, test, store, **settings, **own) for train in rows]
            means = {key: statistics.mean(each[key] for each in found) for key in ("accuracy", "log_loss")}
            yield f"{name}, {size or 'all'}", {"mean": means, "draws": found}


def sms() -> tuple[Dataset, list[int], list[int]]:
    """Return the messages, the chapter's training rows and its test rows."""
    dataset, split = chapter_split(catalog.locate("sms-spam").path)
    return dataset, split.train.tolist(), split.test.tolist()


def intents(folder: Path) -> tuple[Dataset, list[int], list[int]]:
    """Return 24 requests of each of seven intents to draw from, and others to test on."""
    rows: list[Labelled] = sorted(set(snips(folder)))
    dataset = dataset_from_lists(*zip(*rows, strict=True), source="snips")
    pool = drawn(dataset, range(len(dataset)), 24, 0)
    rest = sorted(set(range(len(dataset))) - set(pool))
    return dataset, pool, random.Random(0).sample(rest, TEST_ROWS)


def main() -> None:
    """Measure both sets and print every line as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of public data sets")
    given = parser.parse_args()
    result: dict[str, Any] = {"versions": versions(), "draws": DRAWS}
    data = {"SMS spam": (*sms(), SMS, (*SIZES, None)), "SNIPS": (*intents(given.folder), INTENTS, SIZES[:1])}
    with store_root(keep=True) as store:
        for name, (dataset, pool, test, made_by, sizes) in data.items():
            own = {"test_rows": len(test), "all": len(pool), **made_by}
            result[name] = {**own, "pass": compute(dataset, [*pool, *test], store, made_by)}
            result[name]["zero-shot"] = untrained(dataset, test, store, made_by)
            print(name, result[name], flush=True)
            result[name]["starts"] = {}
            for cell, found in starts(dataset, pool, test, sizes, store, **made_by):
                result[name]["starts"][cell] = found
                print(f"{name}, {cell}: {found['mean']}", flush=True)
                write_json(FILE, result)
        for name, (dataset, _, test, made_by, _) in data.items():
            found = untrained(dataset, test, store, {**made_by, "template": NEXT_WORD})
            result[name]["zero-shot, the default template"] = found
            print(name, found, flush=True)
        dataset, pool, test, _, _ = data["SMS spam"]
        result["SMS spam"]["bare texts"] = dict(starts(dataset, pool, test, SIZES[:1], store))
        print(result["SMS spam"]["bare texts"], flush=True)
        write_json(FILE, result)


if __name__ == "__main__":
    main()
