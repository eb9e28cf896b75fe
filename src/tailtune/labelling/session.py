"""One sitting of labelling: which text comes next, what is guessed, what was answered. Shows nothing, reads no keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tailtune.bundle import Bundle
from tailtune.data.read import TextRows
from tailtune.errors import ConfigError, DataError
from tailtune.labelling.answers_file import AnswersFile
from tailtune.labelling.choosing import By, choose, directions, uncertainty
from tailtune.labelling.known import Known, classifier_of, known_of
from tailtune.labelling.pool import pool_of
from tailtune.labelling.view import View, classifier_view, model_view
from tailtune.labels import LabelSet
from tailtune.methods.linear import fit_linear
from tailtune.methods.probe import SCOUT
from tailtune.methods.scorers import probabilities
from tailtune.preparing import store_root
from tailtune.progress import Progress, Say, ignore, silent

EVERY = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One text to label.

    Attributes:
        text: As it came.
        guess: Label -> probability; empty while nothing can be guessed.
    """

    text: str
    guess: Mapping[str, float]


class Session:
    """Texts in the order in which their labels teach most, asked one by one.

    Args:
        texts: To ask, no two of them near duplicates.
        known: (text, label) that are labelled already, those of the file of answers among them.
        view: How ``known`` and then ``texts`` look; its probabilities, if any, are used until the first refit.
        labels: That may be given, in the order of their keys.
        answers: Where answers go.
        every: After so many answers a probe is fitted to all that is known and the rest is ordered anew; 0 for never.
        seed: Of the order.
    """

    def __init__(
        self,
        texts: Sequence[str],
        known: Sequence[tuple[str, str]],
        view: View,
        *,
        labels: LabelSet,
        answers: AnswersFile,
        every: int = EVERY,
        seed: int = 0,
    ) -> None:
        self.labels = labels
        self.answers = answers
        self._texts = (*(text for text, _ in known), *texts)
        self._label = {place: label for place, (_, label) in enumerate(known)}
        self._free = list(range(len(known), len(self._texts)))
        self._vectors = view.vectors
        self._near = directions(view.vectors)
        self._guesses = _in_order_of(labels, view)
        self._every = every
        self._seed = seed
        self._since = 0
        self._queue: list[int] = []
        self._past: list[tuple[int, bool]] = []  # place, and whether it was answered or skipped

    @property
    def left(self) -> int:
        """Texts that were neither answered nor skipped."""
        return len(self._free)

    @property
    def counts(self) -> Counter[str]:
        """Label -> answers in the file."""
        return Counter(label for _, label in self.answers.answers)

    def question(self) -> Question | None:
        """Return the next text; the same one until it is answered or skipped; None when all have been."""
        if not self._free:
            return None
        if not self._queue:
            self._order()
        place = self._queue[0]
        row = None if self._guesses is None else self._guesses[place]
        guess = {} if row is None else dict(zip(self.labels.names, row.tolist(), strict=True))
        return Question(text=self._texts[place], guess=guess)

    def answer(self, label: str) -> None:
        """Write down the label of the current text.

        Raises:
            SetupError: If the disk refuses; the text stays the current one.
        """
        place = self._queue[0]
        self.answers.add(self._texts[place], label)
        self._label[place] = label
        self._pass(place, answered=True)
        self._since += 1
        if self._every and self._since >= self._every:
            self._since = 0
            self.learn()

    def skip(self) -> None:
        """Leave the current text; it is asked again in another sitting."""
        self._pass(self._queue[0], answered=False)

    def _pass(self, place: int, *, answered: bool) -> None:
        self._queue.pop(0)
        self._free.remove(place)
        self._past.append((place, answered))

    def undo(self) -> bool:
        """Bring back the last text of this sitting, its answer taken out of the file; return whether there was one."""
        if not self._past:
            return False
        place, answered = self._past[-1]
        if answered:
            self.answers.undo()
            del self._label[place]
            self._since = max(0, self._since - 1)
        self._past.pop()
        self._free.append(place)
        self._queue.insert(0, place)
        return True

    def _order(self) -> None:
        """Fill the queue: as many as come before the next refit, or all that are left."""
        places = np.array(sorted(self._free))
        count = self._every or len(places)
        doubt = None if self._guesses is None else uncertainty(self._guesses[places])
        by: By = "diversity" if doubt is None else "both"
        known = self._near[sorted(self._label)]
        chosen = choose(by, count, vectors=self._near[places], uncertain=doubt, seed=self._seed, known=known)
        self._queue = places[chosen].tolist()

    def learn(self) -> None:
        """Fit a probe to all that is known and order the rest anew; one class is too few to tell anything apart."""
        places = np.array(sorted(self._label))
        ids = self.labels.ids(self._label[place] for place in places.tolist())
        self._queue = []
        if len(np.unique(ids)) < 2:
            return
        linear = fit_linear(self._vectors[places], ids, penalty=SCOUT, classes=len(self.labels))
        self._guesses = probabilities(linear.scores(self._vectors))


def _in_order_of(labels: LabelSet, view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """The probabilities of ``view`` by ``labels``; those of labels that its classifier does not know are 0."""
    if view.probabilities is None or view.labels is None:
        return None
    rows = np.zeros((len(view.probabilities), len(labels)))
    for number, name in enumerate(labels.names):
        if name in view.labels.names:
            rows[:, number] = view.probabilities[:, view.labels.names.index(name)]
    return rows


def open_session(
    texts: TextRows,
    out: Path,
    *,
    names: Sequence[str] = (),
    classifier: str | Path | None = None,
    model: str | None = None,
    every: int = EVERY,
    seed: int = 0,
    progress: Progress = silent,
    say: Say = ignore,
) -> Session:
    """Return a sitting that goes on where the file of answers ends.

    Args:
        texts: To label.
        out: The file of answers.
        names: Labels that may be given; default: those of the classifier.
        classifier: A run or bundle that guesses; None where there is none yet.
        model: The pretrained model whose vectors order the texts without one.
        every: See ``Session``.
        seed: See ``Session``.
        progress: Told tokens read.
        say: Told what was left out, and whether guesses can improve.

    Raises:
        ConfigError: If there are no two different labels, or the classifier is for texts with several.
        DataError: If ``out`` holds something else or other labels, or nothing is left to label.
        BundleError: If the classifier cannot be used.
    """
    bundle = None if classifier is None else classifier_of(Path(classifier))
    labels = _labels(names, bundle)
    answers = AnswersFile(out)
    _require_known(answers, labels)
    run = Known(marks=frozenset()) if classifier is None else known_of(Path(classifier), progress=progress)
    done = [text for text, _ in answers.answers]
    pool = pool_of(texts.texts, labelled=(*run.texts, *done), seen=run.marks)
    if note := pool.note():
        say(note)
    asked = [texts.texts[place] for place in pool.places]
    known = [*_learnt(run, labels, set(done)), *answers.answers]
    # Without the rows that the classifier learnt from, a fit to the answers alone would know less than it does.
    if bundle is not None and run.learnt is None and every:
        say("the data of the run cannot be read: its guesses stay as they are, the order follows them")
        every = 0
    with store_root(keep=True) as store:
        whole = [*(text for text, _ in known), *asked]
        if bundle is not None:
            view = classifier_view(bundle, whole, store=store, progress=progress)
        elif model is not None:
            view = model_view(model, whole, store=store, progress=progress)
        else:
            raise ConfigError("neither a classifier nor a model to order texts by", hint="name one with --model")
    session = Session(asked, known, view, labels=labels, answers=answers, every=every, seed=seed)
    if answers.answers and every:
        session.learn()
    return session


def _labels(names: Sequence[str], bundle: Bundle | None) -> LabelSet:
    if bundle is not None and bundle.labels.several:
        raise ConfigError("texts with any number of labels are not labelled here", hint="use --format label-studio")
    given = tuple(names) if names else bundle.labels.names if bundle is not None else ()
    if len(given) < 2 or len(set(given)) != len(given):
        raise ConfigError("expected two or more different labels", hint="name them: --labels spam,ham")
    return LabelSet(names=given)


def _require_known(answers: AnswersFile, labels: LabelSet) -> None:
    for number, (_, label) in enumerate(answers.answers, start=1):
        if label not in labels.names:
            message = f"answer {number} is {label!r}, which is not among the labels: {', '.join(labels.names)}"
            raise DataError(message, path=answers.path, hint="name all labels, or another file with --out")


def _learnt(run: Known, labels: LabelSet, answered: AbstractSet[str]) -> list[tuple[str, str]]:
    """The rows that the run learnt from, but those answered here, where their labels are among those to give."""
    if run.learnt is None:
        return []
    pairs = zip(run.learnt.texts, run.learnt.labels, strict=True)
    return [(text, label) for text, label in pairs if label in labels.names and text not in answered]
