"""The LM head as a classifier: without training, and as the start of a probe's and a tail's head, by number of labels.

Writes bench/results/zero_shot.json. Templates and words were written once, before anything was measured. Half an
hour on two cores that other work shares; the features are computed once and kept in the cache.

    .venv/bin/python bench/zero_shot.py FOLDER [--again | --table]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """A set: its rows to draw from and to test on, and how its texts are made."""

    dataset: Dataset
    pool: list[int]
    test: list[int]
    made_by: dict[str, str]


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


def compute(data: Data, store: Path) -> dict[str, int]:
    """Compute what all methods need of these rows in one pass; return their tokens, and how many they begin with."""
    config = TrainConfig(data="memory", method="tail", depth="last", template=data.made_by["template"])
    dataset = data.dataset.take([*data.pool, *data.test])
    ready = make_ready(dataset, config, store=store, watch=Stopwatch(), progress=silent, say=print)
    step = max(1, round(ready.blocks / 10))
    wanted = Wanted(pooled=tuple(range(step, ready.blocks + 1, step)), states=ready.planned.wanted.states)
    tokens = ready.reading.tokens
    ready.passes.features(tokens, wanted, precision="fp32")
    return {"texts": len(tokens), "tokens": int(tokens.offsets[-1]), "shared": tokens.shared}


def untrained(dataset: Dataset, test: Sequence[int], store: Path, made_by: dict[str, str]) -> dict[str, Any]:
    """Return what the LM head says by itself, as it is and with what it says of empty texts taken off."""
    one_each = drawn(dataset, range(len(dataset)), 1, 0)
    ways = {"as it is": False, "prior taken off": True}
    settings = {"method": "zero-shot", **made_by}
    return {
        name: measured(dataset, one_each, test, store, calibrate_prior=off, **settings) for name, off in ways.items()
    }


def started(data: Data, method: str, start: str, size: int | None, store: Path) -> dict[str, Any]:
    """Return means over the draws of so many labels per class (None: all once), of a head that starts so.

    Args:
        data: The set.
        method: probe or tail.
        start: "fresh", "LM rows", or "fresh, bare texts" without a template.
        size: Labels per class.
        store: Of features.
    """
    settings: dict[str, Any] = {} if start.endswith("bare texts") else {"template": data.made_by["template"]}
    if start == "LM rows":
        settings = {"head_init": "lm", **data.made_by}
    rows = [data.pool] if size is None else [drawn(data.dataset, data.pool, size, seed) for seed in range(DRAWS)]
    found = [measured(data.dataset, train, data.test, store, method=method, **settings) for train in rows]
    means = {key: statistics.mean(each[key] for each in found) for key in ("accuracy", "log_loss")}
    return {"mean": means, "draws": found}


def sms() -> Data:
    """Return the messages: the chapter's training rows to draw from, its test rows."""
    dataset, split = chapter_split(catalog.locate("sms-spam").path)
    return Data(dataset=dataset, pool=split.train.tolist(), test=split.test.tolist(), made_by=SMS)


def intents(folder: Path) -> Data:
    """Return requests of seven intents: 24 of each to draw from, and others to test on."""
    rows: list[Labelled] = sorted(set(snips(folder)))
    dataset = dataset_from_lists(*zip(*rows, strict=True), source="snips")
    pool = drawn(dataset, range(len(dataset)), 24, 0)
    rest = sorted(set(range(len(dataset))) - set(pool))
    return Data(dataset=dataset, pool=pool, test=random.Random(0).sample(rest, TEST_ROWS), made_by=INTENTS)


def cells() -> Iterator[tuple[str, str, str, int | None]]:
    """Yield (set, method, start, labels per class) of everything that is trained, the quick ones first."""
    for name, sizes in (("SMS spam", (*SIZES, None)), ("SNIPS", SIZES[:1])):
        yield from ((name, "probe", start, size) for start in ("fresh", "LM rows") for size in sizes)
        yield from ((name, "tail", start, size) for size in SIZES if size in sizes for start in ("fresh", "LM rows"))
    yield "SMS spam", "probe", "fresh, bare texts", SIZES[0]
    yield from (("SMS spam", "tail", start, None) for start in ("fresh", "LM rows"))


def table(result: dict[str, Any]) -> str:
    """Return what was measured as a table in Markdown: accuracy in percent and log loss in nats."""

    def cell(found: dict[str, Any]) -> str:
        return f"{100 * found['accuracy']:.1f} % ({found['log_loss']:.3f})"

    lines = ["| | 0 | 8 | 64 | all |", "|---|---|---|---|---|"]
    for name in ("SMS spam", "SNIPS"):
        for key in [key for key in result[name] if key.startswith("zero-shot")]:
            for way, found in result[name][key].items():
                lines.append(f"| {name}, {key}, {way} | {cell(found)} | | | |")
        starts = result[name]["starts"]
        for start in dict.fromkeys(each.rpartition(", ")[0] for each in starts):
            means = [starts.get(f"{start}, {size}", {}).get("mean") for size in (*SIZES, "all")]
            lines.append(f"| {name}, {start} | | {' | '.join(cell(mean) if mean else '' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure what the file does not hold yet, and print every line as it comes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of public data sets")
    parser.add_argument("--again", action="store_true", help="measure what the file holds too")
    parser.add_argument("--table", action="store_true", help="print what the file holds and leave")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(FILE.read_text(encoding="utf-8"))))
        return
    data = {"SMS spam": sms(), "SNIPS": intents(given.folder)}
    kept = {} if given.again or not FILE.is_file() else json.loads(FILE.read_text(encoding="utf-8"))
    result: dict[str, Any] = {**kept, "versions": versions(), "draws": DRAWS}
    for name, one in data.items():
        own = {"test_rows": len(one.test), "all": len(one.pool), **one.made_by}
        result[name] = {"starts": {}, **result.get(name, {}), **own}
    with store_root(keep=True) as store:
        for name, method, start, size in cells():
            of_set, cell = result[name], f"{method}, {start}, {size or 'all'}"
            if "zero-shot" not in of_set:
                of_set["pass"] = compute(data[name], store)
                of_set["zero-shot"] = untrained(data[name].dataset, data[name].test, store, data[name].made_by)
                print(name, of_set["zero-shot"], flush=True)
            if cell not in of_set["starts"]:
                of_set["starts"][cell] = started(data[name], method, start, size, store)
                print(f"{name}, {cell}: {of_set['starts'][cell]['mean']}", flush=True)
                write_json(FILE, result)
        for name, one in data.items():
            if (title := "zero-shot, the default template") not in result[name]:
                plain = {**one.made_by, "template": NEXT_WORD}
                result[name][title] = untrained(one.dataset, one.test, store, plain)
                print(name, result[name][title], flush=True)
                write_json(FILE, result)
    print(table(result))


if __name__ == "__main__":
    main()
