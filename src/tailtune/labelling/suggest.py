"""The texts to label next: uncertain to a classifier and unlike each other, or, without one, typical of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.bundle import Bundle
from tailtune.data.read import TextRows
from tailtune.errors import ConfigError
from tailtune.labelling.choosing import By, Measure, choose, directions, uncertainty
from tailtune.labelling.known import Known, classifier_of, known_of
from tailtune.labelling.pool import pool_of
from tailtune.labelling.view import View, classifier_view, model_view
from tailtune.labels import LabelSet
from tailtune.preparing import store_root
from tailtune.progress import Progress, Say, ignore, silent

COUNT = 50
_MEASURES: dict[str, Measure] = {"uncertainty": "uncertainty", "entropy": "entropy"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """One text to label.

    Attributes:
        text: As it came.
        line: 1-based line of its source where it starts.
        stands_for: Near duplicates of it in the source, itself included.
        uncertainty: From 0 to 1; None without a classifier.
        guess: What the classifier says: one label, or any number; None without one.
        probabilities: Label -> probability; empty without a classifier.
    """

    text: str
    line: int
    stands_for: int
    uncertainty: float | None = None
    guess: tuple[str, ...] | None = None
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float | None:
        """The probability of the likeliest label."""
        return max(self.probabilities.values(), default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestions:
    """Texts to label, the first first.

    Attributes:
        rows: The texts.
        labels: Of the classifier; None without one.
        by: How they were chosen.
        source: Name of the run, or of the model without a classifier.
    """

    rows: tuple[Suggestion, ...]
    labels: LabelSet | None
    by: By
    source: str


def suggest(
    texts: TextRows,
    *,
    classifier: str | Path | None = None,
    model: str | None = None,
    labelled: Sequence[str] = (),
    count: int = COUNT,
    by: By | None = None,
    seed: int = 0,
    progress: Progress = silent,
    say: Say = ignore,
) -> Suggestions:
    """Return which of ``texts`` to label next.

    Texts that the run has seen, near duplicates of labelled ones and blank ones are left out; of near duplicates among
    the rest one is asked.

    Args:
        texts: The pool.
        classifier: A run or bundle; None where there is none yet.
        model: The pretrained model whose vectors are compared, without a classifier.
        labelled: Texts with a label beside those of the run.
        count: How many, at least 1.
        by: See ``choosing.choose``; default: ``both`` with a classifier, else ``diversity``.
        seed: The same texts, classifier and seed give the same suggestions.
        progress: Told tokens read.
        say: Told what was left out.

    Raises:
        ConfigError: If ``count`` is below 1, or ``by`` needs a classifier and there is none.
        DataError: If nothing is left to label.
        BundleError: If the classifier cannot be used.
    """
    if count < 1:
        raise ConfigError(f"--count {count}: expected 1 or more")
    if classifier is None and by not in (None, "diversity"):
        raise ConfigError(f"--by {by}: nothing knows any label yet", hint="give a run or bundle, or --by diversity")
    bundle = None if classifier is None else classifier_of(Path(classifier))
    known = Known(marks=frozenset()) if classifier is None else known_of(Path(classifier), progress=progress)
    pool = pool_of(texts.texts, labelled=(*known.texts, *labelled), seen=known.marks)
    if note := pool.note():
        say(note)
    chosen_by: By = by or ("diversity" if bundle is None else "both")
    # What is labelled already is looked at only where it counts.
    also = [text for text in (*known.texts, *labelled) if text.strip()] if chosen_by == "diversity" else []
    view = _view(bundle, model, [*(texts.texts[place] for place in pool.places), *also], progress)
    doubt, near, last = doubt_of(view, by), directions(view.vectors), len(pool.places)
    uncertain = None if doubt is None else doubt[:last]
    chosen = choose(chosen_by, count, vectors=near[:last], uncertain=uncertain, seed=seed, known=near[last:])
    name = view.source if bundle is None else Path(str(classifier)).resolve().name
    rows = []
    for at in chosen.tolist():
        place = int(pool.places[at])
        answer = None if view.probabilities is None or doubt is None else (view.probabilities[at], float(doubt[at]))
        rows.append(_suggestion(texts.texts[place], texts.lines[place], int(pool.sizes[at]), answer, bundle))
    return Suggestions(rows=tuple(rows), labels=view.labels, by=chosen_by, source=name)


def _view(bundle: Bundle | None, model: str | None, texts: Sequence[str], progress: Progress) -> View:
    with store_root(keep=True) as store:
        if bundle is not None:
            return classifier_view(bundle, texts, store=store, progress=progress)
        if model is None:
            raise ConfigError("neither a classifier nor a model to compare texts with", hint="name one with --model")
        return model_view(model, texts, store=store, progress=progress)


def doubt_of(view: View, by: By | None) -> NDArray[np.float64] | None:
    """Return [texts] how uncertain the classifier of ``view`` is, in the measure that ``by`` asks for; None without."""
    if view.probabilities is None or view.labels is None:
        return None
    # ``both`` goes by the margin: with seven classes it chose better than the two others (docs/log.md).
    measure = _MEASURES.get(by or "both", "margin")
    return uncertainty(view.probabilities, measure, several=view.labels.several)


def _suggestion(
    text: str, line: int, stands_for: int, answer: tuple[NDArray[np.float64], float] | None, bundle: Bundle | None
) -> Suggestion:
    """One text; ``answer`` are its probabilities and how uncertain they are."""
    if bundle is None or answer is None:
        return Suggestion(text=text, line=line, stands_for=stands_for, probabilities={})
    row, doubt = answer
    decided, names = bundle.rules.decide(row[None])[0], bundle.labels.names
    several = bundle.labels.several
    return Suggestion(
        text=text,
        line=line,
        stands_for=stands_for,
        uncertainty=doubt,
        guess=tuple(name for name, given in zip(names, decided, strict=True) if given)
        if several
        else (names[decided],),
        probabilities=dict(zip(names, row.tolist(), strict=True)),
    )
