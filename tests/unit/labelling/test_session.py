"""A sitting: questions in an order that learns, answers that can be taken back, and going on later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.texts import messages
from tailtune.data.read import TextRows, read_dataset
from tailtune.errors import ConfigError, DataError
from tailtune.labelling.answers_file import AnswersFile
from tailtune.labelling.session import Session, open_session
from tailtune.labelling.view import View
from tailtune.labels import LabelSet

LABELS = LabelSet(names=("spam", "ham"))


def rows(texts: list[str]) -> TextRows:
    return TextRows(texts=tuple(texts), lines=tuple(range(2, len(texts) + 2)))


def sitting(folder: Path, count: int = 40, *, every: int = 4, name: str = "a.csv") -> Session:
    """Texts "0", "1" … of which the even ones lie on one side and the odd ones on the other."""
    random = np.random.default_rng(0)
    side = np.where(np.arange(count) % 2 == 0, 2.0, -2.0)
    vectors = np.column_stack([side, random.standard_normal((count, 3))]).astype(np.float32)
    texts = [str(number) for number in range(count)]
    answers = AnswersFile(folder / name)
    return Session(texts, (), View(vectors=vectors), labels=LABELS, answers=answers, every=every)


def right(text: str) -> str:
    return "spam" if int(text) % 2 == 0 else "ham"


def test_it_learns_from_the_answers(tmp_path: Path) -> None:
    """No guess at first; after ``every`` answers with both labels the guesses are right and the order is by doubt."""
    session = sitting(tmp_path)
    for _ in range(8):
        question = session.question()
        assert question is not None
        session.answer(right(question.text))
    question = session.question()
    assert question is not None
    assert max(question.guess, key=lambda name: question.guess[name]) == right(question.text)
    assert sum(question.guess.values()) == pytest.approx(1.0)
    assert list(question.guess) == ["spam", "ham"]


def test_every_text_is_asked_once(tmp_path: Path) -> None:
    """Skipped ones too; the file holds what was answered, in order."""
    session = sitting(tmp_path)
    asked = []
    while (question := session.question()) is not None:
        assert session.question() == question
        asked.append(question.text)
        if question.text in ("3", "8"):
            session.skip()
        else:
            session.answer(right(question.text))
    assert sorted(map(int, asked)) == list(range(40))
    assert session.left == 0
    answered = [(text, right(text)) for text in asked if text not in ("3", "8")]
    assert AnswersFile(tmp_path / "a.csv").answers == answered
    assert session.counts == {"spam": 19, "ham": 19}


def test_undo_goes_back_through_answers_and_skips(tmp_path: Path) -> None:
    """Each comes back as the current text; what was learnt from an answer that is gone does not count again."""
    session = sitting(tmp_path, every=3)
    seen = []
    for number in range(7):
        question = session.question()
        assert question is not None
        seen.append(question.text)
        if number == 5:
            session.skip()
        else:
            session.answer(right(question.text))
    assert len(session.answers.answers) == 6
    for text in reversed(seen):
        assert session.undo()
        question = session.question()
        assert question is not None
        assert question.text == text
    assert not session.undo()
    assert session.answers.answers == []
    assert session.left == 40


def test_one_class_is_not_learnt(tmp_path: Path) -> None:
    """Answers of a single label leave nothing to guess."""
    session = sitting(tmp_path, every=2)
    for _ in range(6):
        assert session.question() is not None
        session.answer("ham")
    question = session.question()
    assert question is not None
    assert question.guess == {}


def test_a_later_sitting_goes_on(tmp_path: Path, tiny_llama: Path) -> None:
    """Answered texts are not asked again, nor near duplicates of them, and what they teach is used at once."""
    texts, labels = messages(60)
    truth = dict(zip(texts, labels, strict=True))
    out = tmp_path / "answers.csv"
    names = ("ham", "spam")
    first = open_session(rows(texts), out, names=names, model=str(tiny_llama), every=5)
    for _ in range(12):
        question = first.question()
        assert question is not None
        first.answer(truth[question.text])
    again = open_session(rows(texts), out, names=names, model=str(tiny_llama), every=5)
    assert again.left == 48
    asked = set()
    while (question := again.question()) is not None:
        assert question.guess
        asked.add(question.text)
        again.answer(truth[question.text])
    assert not asked & {text for text, _ in first.answers.answers}
    dataset = read_dataset(out)
    assert dict(zip(dataset.texts, dataset.labels, strict=True)) == truth
    with pytest.raises(DataError, match="no text is left to label"):
        open_session(rows(texts), out, names=names, model=str(tiny_llama))


def test_refusals(tmp_path: Path, tiny_llama: Path) -> None:
    """Too few labels, answers with others, and nothing to look with."""
    pool, out = rows(messages(20)[0]), tmp_path / "a.csv"
    for names in ((), ("ham",), ("ham", "ham")):
        with pytest.raises(ConfigError, match="two or more different labels"):
            open_session(pool, out, names=names, model=str(tiny_llama))
    with pytest.raises(ConfigError, match="neither a classifier nor a model"):
        open_session(pool, out, names=("a", "b"))
    AnswersFile(out).add("text", "other")
    with pytest.raises(DataError, match="answer 1 is 'other', which is not among the labels: ham, spam"):
        open_session(pool, out, names=("ham", "spam"), model=str(tiny_llama))
