"""Rows run one after another, those that are done already left out; a session that is killed loses one row at most.

Rows that read the same tokens share a pass: what they all want of it is asked for at once. The model is read once, its
texts under each split after another.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tailtune.bench.machine import describe
from tailtune.errors import ConfigError, TrainingDiverged
from tailtune.experiments import results
from tailtune.experiments.models import Absent, Pretrained, Shelf, drawn, reference_of
from tailtune.experiments.reading import Read, read_texts
from tailtune.experiments.results import Result
from tailtune.experiments.settings import Row, Size, SplitName
from tailtune.experiments.splits import Texts, load_texts
from tailtune.experiments.training import Outcome, blocks_of, fit, judged, outcome
from tailtune.experiments.words import fit_words
from tailtune.features.backbone import Wanted
from tailtune.models.generic.config import GenericConfig
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.runs import Stopwatch

_ADVICE = "`tailtune experiments list` shows on which"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to run.

    Attributes:
        rows: In the order of the table.
        model: The small size: catalogue name, folder, file or hub id.
        data: File or name of labelled texts.
        splits: Of them.
        seeds: Of head and order of texts.
        out: Folder of the results.
        sizes: Other sizes that are not those of the catalogue.
        fetch: Whether weights that are not here are fetched, gigabytes for the larger sizes.
    """

    rows: tuple[Row, ...]
    model: str
    data: str
    splits: tuple[SplitName, ...]
    seeds: tuple[int, ...]
    out: Path
    sizes: dict[Size, str] = field(default_factory=dict)
    fetch: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One row on one split with one seed.

    Attributes:
        row: Which.
        asked: Name of the small model, whatever this row runs on.
        texts: Under the split.
        seed: Of head and order.
        model: That it runs on, or why it cannot.
        depends_on: All that the result depends on; empty where it cannot run.
        done: Its result, where there is one.
    """

    row: Row
    asked: str
    texts: Texts
    seed: int
    model: Pretrained | Absent
    depends_on: dict[str, Any]
    done: Path | None

    @property
    def key(self) -> str:
        """Equal for equal results."""
        return results.key_of(self.depends_on)

    @property
    def needs_no_model(self) -> bool:
        """Whether words are counted and no model is asked."""
        return self.row.setting.trained == "words"

    @property
    def absence(self) -> str:
        """Why it cannot be run, and what to do about that; empty where it can."""
        if isinstance(self.model, Pretrained):
            return ""
        return f"row {self.row.number} {self.row.name}: {self.model.why} ({self.model.mend})"

    @property
    def title(self) -> str:
        """What people are told of it."""
        return f"row {self.row.number} {self.row.name}, {self.texts.name} split, seed {self.seed}"


def plan(order: Order, shelf: Shelf, progress: Progress = silent) -> list[Job]:
    """Return every job, in the order in which they are best run: model by model, what takes long at the end.

    Raises:
        ConfigError: If a row and a split have nothing to do with each other.
        TailtuneError: If data or the small model cannot be had.
    """
    texts = {name: load_texts(order.data, name, progress) for name in order.splits}
    jobs = [
        _job(order, row, texts[name], seed, shelf)
        for name in order.splits
        for row in order.rows
        if name in row.splits
        for seed in order.seeds
    ]
    if not jobs:
        raise ConfigError(f"no row asked for runs on the split {', '.join(order.splits)}", hint=_ADVICE)
    models = list(dict.fromkeys(job.model.name for job in jobs if isinstance(job.model, Pretrained)))

    def place(job: Job) -> tuple[int, bool]:
        return (models.index(job.model.name) if isinstance(job.model, Pretrained) else len(models), _is_long(job.row))

    return sorted(jobs, key=place)


def _is_long(row: Row) -> bool:
    """Whether it takes an hour where others take minutes: all blocks in every step, or a thousand pads in a text."""
    return row.setting.trained in ("all", "lora") or row.setting.limit == 1024


def _job(order: Order, row: Row, texts: Texts, seed: int, shelf: Shelf) -> Job:
    model = _model(order, row, shelf)
    depends_on: dict[str, Any] = {}
    done = None
    if isinstance(model, Pretrained):
        weights = "" if row.setting.trained == "words" else model.weights
        depends_on = results.identity(row, texts, weights, seed)
        done = results.find(order.out, results.key_of(depends_on))
    asked = Path(order.model).name
    return Job(row=row, asked=asked, texts=texts, seed=seed, model=model, depends_on=depends_on, done=done)


def _model(order: Order, row: Row, shelf: Shelf) -> Pretrained | Absent:
    reference = reference_of(row, order.model, order.sizes)
    if isinstance(reference, Absent):
        return reference
    given = reference == order.model or reference in order.sizes.values()
    model = shelf.look_up(reference, fetch=order.fetch or given)
    return model if isinstance(model, Absent) else _unfit(row, model) or model


def _unfit(row: Row, model: Pretrained) -> Absent | None:
    """Why a row makes no sense on a model; None where it does."""
    setting = row.setting
    if not setting.causal and not model.shape.causal:
        return Absent(why=f"{model.name} has no causal mask", mend="take a decoder")
    if setting.trained == "lora" and importlib.util.find_spec("peft") is None:
        return Absent(why="low-rank updates need the package peft", mend="pip install 'tailtune[lora]'")
    whole = setting.trained in ("all", "lora") or drawn(setting)
    if isinstance(model.shape, GenericConfig) and (whole or not setting.causal):
        return Absent(why=f"{model.name} runs on the reference library, which is not changed", mend="a native family")
    return None


def run(
    jobs: Sequence[Job], out: Path, shelf: Shelf, *, say: Say = ignore, progress: Progress = silent
) -> Iterator[Result]:
    """Yield the result of every job that can be run, as soon as it is written; of those done before, at once.

    A row whose training diverges has none, and is told.

    Args:
        jobs: From ``plan``.
        out: Folder of the results.
        shelf: That they were planned with.
        say: Told what people should know.
        progress: Told how far a pass is.
    """
    told: set[str] = set()
    for job in jobs:
        if isinstance(job.model, Absent):
            if job.absence not in told:
                say(job.absence)
            told.add(job.absence)
            continue
        # Looked for again: the same setting may have been run under another name a moment ago.
        known = results.find(out, job.key)
        if known is not None:
            yield results.read(known)
            continue
        say(f"running {job.title}")
        try:
            result = _run(job, wanted_of(jobs, job), shelf, progress)
        except TrainingDiverged as error:  # one row's rate is no reason to leave the others undone
            say(f"  no result: {error}")
            continue
        results.write(out, job.row, result)
        yield result


def _run(job: Job, wanted: Wanted, shelf: Shelf, progress: Progress) -> dict[str, Any]:
    watch = Stopwatch()
    parts, about = _by_words(job, watch) if job.needs_no_model else _by_model(job, wanted, shelf, watch, progress)
    right = parts["test"].right
    return {
        "key": job.key,
        "depends_on": job.depends_on,
        "asked": {"model": job.asked, "named": job.row.model},
        "split": job.texts.name,
        "seed": job.seed,
        "data": {"name": job.texts.source, "sha256": job.texts.dataset.sha256},
        **{part: found.as_json() for part, found in parts.items()},
        "test_wrong": (~right).nonzero()[0].tolist(),
        "copies": _copies(job.texts, right),
        **about,
        "seconds": watch.as_json(),
        "machine": describe(torch.get_num_threads()),
    }


Scored = tuple[dict[str, Outcome], dict[str, Any]]


def _by_words(job: Job, watch: Stopwatch) -> Scored:
    with watch.stage("training"):
        words = fit_words(job.texts)
    with watch.stage("scoring"):
        parts = {}
        for part, rows in job.texts.parts.items():
            given = words.probabilities([job.texts.dataset.texts[row] for row in rows])
            parts[part] = judged(given, job.texts, rows)
    about: dict[str, Any] = {
        "model": None,
        "losses": [],
        "learning_rate": None,
        "tried": [],
        "trained_weights": words.trained,
    }
    return parts, {**about, "tokens": {"read": None, "real": None}}


def _by_model(job: Job, wanted: Wanted, shelf: Shelf, watch: Stopwatch, progress: Progress) -> Scored:
    model, setting = job.model, job.row.setting
    assert isinstance(model, Pretrained)
    with watch.stage("model"):
        passes = shelf.passes(model, setting, job.seed)
    with watch.stage("tokens"):
        read = read_job(job)
    with watch.stage("pass"):
        features = passes.features(read.tokens, wanted, precision="fp32", progress=progress)
    with watch.stage("training"):
        fitted = fit(setting, passes.decoder, features, job.texts, job.seed, progress=progress)
    with watch.stage("scoring"):
        parts = {part: outcome(fitted.scorer, features, job.texts, rows) for part, rows in job.texts.parts.items()}
    about = {
        "model": {"name": Path(model.name).name, "blocks": model.shape.blocks, "width": model.shape.width},
        "losses": list(fitted.losses),
        "learning_rate": fitted.rate,
        "tried": [{"rate": rate, "validation_loss": _finite(loss)} for rate, loss in fitted.tried.items()],
        "trained_weights": fitted.trained,
        "tokens": {**read.as_json(), "computed": features.computed_tokens, "computed_blocks": wanted.depth},
    }
    return parts, about


def _finite(loss: float) -> float | None:
    return loss if loss < float("inf") else None


def _copies(texts: Texts, right: Any) -> dict[str, Any]:
    """How the test texts fare that are no copies of training texts."""
    others = ~texts.copied
    rows = int(others.sum())
    return {"copied": int(texts.copied.sum()), "rows": rows, "correct": int(right[others].sum())}


def read_job(job: Job) -> Read:
    """Return the tokens of all texts as the row of ``job`` reads them; its model is at hand."""
    assert isinstance(job.model, Pretrained)
    shape, setting = job.model.shape, job.row.setting
    causal = shape.causal and setting.causal
    return read_texts(job.texts, job.model.folder, setting, context=shape.context, causal=causal)


def wanted_of(jobs: Sequence[Job], job: Job) -> Wanted:
    """Return what all rows that read the same tokens want of their pass, so that it is run once.

    Where all blocks are trained nothing is wanted but the token ids, which are no business of a pass.

    Args:
        jobs: All of the session; what is done wants nothing any more.
        job: One that can be run.
    """
    if job.needs_no_model:
        return Wanted()
    assert isinstance(job.model, Pretrained)
    blocks = job.model.shape.blocks
    own = blocks - blocks_of(job.row.setting, blocks)
    if not own:
        return Wanted(states=(0,))
    same = [other for other in jobs if other.done is None and pass_of(other) == pass_of(job)]
    depths = {blocks - blocks_of(other.row.setting, blocks) for other in same}
    return Wanted(states=tuple(sorted({own, *depths} - {0})))


def pass_of(job: Job) -> tuple[object, ...]:
    """Return what is equal for jobs that read the same tokens of the same model."""
    if isinstance(job.model, Absent) or job.needs_no_model:
        return ()
    setting = job.row.setting
    first = setting.position == "first"
    # Limits that come from the texts differ by split; 1,024 or none is the same for all.
    by_split = job.texts.name if setting.limit == "longest" else ""
    seed = job.seed if drawn(setting) else None
    return (job.model.name, setting.weights, seed, setting.causal, setting.pads, first, setting.limit, by_split)
