"""The public data sets under a folder as (text, label) rows, for the scripts beside this one.

The folder holds clinc150/data_small.json, snips/*.json, sms_spam/SMSSpamCollection, youtube_spam/*.csv,
goemotions/*.tsv and deepset_prompt_injections/*.parquet.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars

Labelled = tuple[str, str]


def sms_spam(root: Path) -> list[Labelled]:
    """Return the messages, ham or spam."""
    lines = (root / "sms_spam" / "SMSSpamCollection").read_text(encoding="utf-8").splitlines()
    return [(text, label) for label, _, text in (line.partition("\t") for line in lines)]


def youtube_spam(root: Path) -> list[Labelled]:
    """Return the comments, ham or spam."""
    rows = []
    for path in sorted((root / "youtube_spam").glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows += [(row["CONTENT"], ("ham", "spam")[int(row["CLASS"])]) for row in csv.DictReader(file)]
    return rows


def snips(root: Path) -> list[Labelled]:
    """Return the requests of all seven intents."""
    rows = []
    for path in sorted((root / "snips").glob("train_*_full.json")):
        content = path.read_bytes()
        try:
            parsed = json.loads(content.decode("utf-8"))
        except UnicodeDecodeError:
            parsed = json.loads(content.decode("latin-1"))
        ((name, entries),) = parsed.items()
        rows += [("".join(part["text"] for part in entry["data"]).strip(), name) for entry in entries]
    return rows


def clinc150(root: Path, part: str = "") -> list[Labelled]:
    """Return the queries of 150 intents: of one part ("train", "val", "test", "oos_test"), or all in scope."""
    parts = json.loads((root / "clinc150" / "data_small.json").read_text(encoding="utf-8"))
    named = [part] if part else ["train", "val", "test"]
    return [(text, label) for name in named for text, label in parts[name]]


def goemotions(root: Path) -> list[Labelled]:
    """Return the comments with one emotion of 28."""
    names = (root / "goemotions" / "labels.txt").read_text(encoding="utf-8").split()
    rows = []
    for part in ("train", "dev", "test"):
        for line in (root / "goemotions" / f"{part}.tsv").read_text(encoding="utf-8").split("\n"):
            text, _, rest = line.partition("\t")
            label = rest.partition("\t")[0]
            if label.isdigit():
                rows.append((text, names[int(label)]))
    return rows


def prompt_injections(root: Path) -> list[Labelled]:
    """Return the prompts, legitimate or injection."""
    frames = [polars.read_parquet(path) for path in sorted((root / "deepset_prompt_injections").glob("*.parquet"))]
    return [(text, ("legitimate", "injection")[label]) for frame in frames for text, label in frame.iter_rows()]


def written(rows: Sequence[Labelled], most: int, file: Path) -> str:
    """Write a sample of the rows as CSV and return its path."""
    drawn = random.Random(0).sample(rows, min(most, len(rows)))
    with file.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([("text", "label"), *drawn])
    return str(file)


SETS: Mapping[str, Callable[[Path], list[Labelled]]] = {
    "prompt injections": prompt_injections,
    "YouTube comments": youtube_spam,
    "SMS spam": sms_spam,
    "SNIPS": snips,
    "CLINC150": clinc150,
    "GoEmotions": goemotions,
}
