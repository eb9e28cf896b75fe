"""What ``--method auto`` reaches on six public data sets within a time, beside TF-IDF and sentence embeddings.

Each run is ``tailtune train`` with ``--time``; leak-free splits but for the chapter's. Needs TAILTUNE_DATA, and both
models in the cache. Results are kept per set and seed in bench/results/marks.json; what is there is not run again.

    TAILTUNE_DATA=DIR .venv/bin/python bench/marks.py [--sets youtube clinc150] [--seeds 0 1 2 3 4]
    .venv/bin/python bench/marks.py --table
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from public_sets import Labelled, clinc150, snips, youtube_spam
from tailtune.evaluate.intervals import mean_interval
from tailtune.resolving import resolve
from tailtune.runs import versions
from tailtune.storage import write_json
from tailtune.train import train

RESULTS = Path(__file__).resolve().parent / "results" / "marks.json"


def _file(rows: Sequence[Labelled], file: Path) -> str:
    lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(file)


def _youtube(root: Path, folder: Path) -> dict[str, Any]:
    return {"data": _file(youtube_spam(root), folder / "youtube.jsonl")}


def _snips(root: Path, folder: Path) -> dict[str, Any]:
    return {"data": _file(snips(root), folder / "snips.jsonl")}


def _clinc150(root: Path, folder: Path) -> dict[str, Any]:
    """The published parts, in scope, and the questions of no intent."""
    named = (("data", "train"), ("validation", "val"), ("test", "test"), ("out_of_scope_texts", "oos_test"))
    files = {key: _file(clinc150(root, part), folder / f"{part}.jsonl") for key, part in named}
    return {**files, "out_of_scope": True}


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One data set.

    Attributes:
        settings: From the folder of public data and one to write into to the settings of a run.
        time: The time budget.
        score: What the mark is about, a key of the test scores.
        least: The mark.
    """

    settings: Callable[[Path, Path], dict[str, Any]]
    time: str
    score: str
    least: float


MARKS = {
    "chapter": Mark(
        settings=lambda root, folder: {"data": "sms-spam", "recipe": "chapter"},
        time="10m",
        score="accuracy",
        least=0.9833,
    ),
    "sms-spam": Mark(settings=lambda root, folder: {"data": "sms-spam"}, time="10m", score="macro_f1", least=0.985),
    "youtube": Mark(settings=_youtube, time="10m", score="accuracy", least=0.96),
    "snips": Mark(settings=_snips, time="30m", score="accuracy", least=0.98),
    "clinc150": Mark(settings=_clinc150, time="30m", score="accuracy", least=0.92),
    "goemotions": Mark(settings=lambda root, folder: {"data": "goemotions"}, time="30m", score="macro_f1", least=0.45),
}


def run(name: str, seed: int, time: str | None = None) -> dict[str, Any]:
    """Return what one run reached, beside its baselines; within ``time`` where that is given."""
    mark = MARKS[name]
    budget = time or mark.time
    with tempfile.TemporaryDirectory() as folder:
        settings = mark.settings(Path(os.environ["TAILTUNE_DATA"]), Path(folder))
        given = {"method": "auto", "time": budget, "seed": seed, "out": str(Path(folder) / "run"), **settings}
        metrics = train(resolve({**given, "doubts": False, "highlights": False}).config, say=print).metrics
    test, scope = metrics["test"], metrics.get("out_of_scope", {}).get("outside", {})
    return {
        "score": test[mark.score],
        "accuracy": test.get("accuracy", test.get("subset_accuracy")),
        "rows": test["rows"],
        "time": budget,
        "baselines": {key: scores[mark.score] for key, scores in metrics["baselines"].items()},
        "reason": metrics["reason"],
        "verdict": metrics["verdict"]["text"],
        **({"auroc": scope["auroc"]} if scope else {}),
        "ladder": metrics.get("ladder"),
        "seconds": metrics["seconds"]["total"],
        "bundle_bytes": metrics["bundle_bytes"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| data | score | mark | `auto`, each seed | mean | best TF-IDF | MiniLM + LR | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, mark in MARKS.items():
        runs = [found["runs"][key] for key in sorted(found["runs"]) if key.startswith(f"{name} ")]
        if not runs:
            continue
        scores = [each["score"] for each in runs]
        others = [each["baselines"] for each in runs]
        tfidf = _mean([max(each["word_tfidf_lr"], each["char_tfidf_lr"]) for each in others])
        minilm = _mean([each["minilm_lr"] for each in others if "minilm_lr" in each])
        seconds = ", ".join(f"{each['seconds']:.0f}" for each in runs)
        said = ", ".join(f"{100 * score:.2f}" for score in scores)
        cells = (mark.score.replace("_", " "), f"{100 * mark.least:g}", said, _mean(scores), tfidf, minilm, seconds)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = 100 * sum(values) / len(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    low, high = mean_interval(values)
    return f"{mean:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def main() -> None:
    """Run what is not there yet, keep it and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="*", default=list(MARKS), choices=list(MARKS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--time", help="a shorter budget than the marks allow")
    parser.add_argument("--table", action="store_true", help="run nothing")
    given = parser.parse_args()
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"runs": {}}
    for name in [] if given.table else given.sets:
        for seed in given.seeds:
            if f"{name} {seed}" not in found["runs"]:
                found["runs"][f"{name} {seed}"] = run(name, seed, given.time)
                found["versions"] = versions()
                write_json(RESULTS, found)
    print(table(found))


if __name__ == "__main__":
    main()
