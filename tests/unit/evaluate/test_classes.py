"""Ranking many classes: the reference's areas, intervals that cover, bounded work."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from tailtune.evaluate import classes
from tailtune.evaluate.classes import rank_classes
from tailtune.evaluate.metrics import FloatArray, IdArray


def _drawn(rows: int, seed: int) -> tuple[IdArray, FloatArray]:
    """Four classes of unequal size and a middling classifier."""
    random = np.random.default_rng(seed)
    truth = random.choice(4, rows, p=(0.1, 0.2, 0.3, 0.4))
    scores = random.normal(size=(rows, 4))
    scores[np.arange(rows), truth] += 1.2
    answers = np.exp(scores)
    return truth, answers / answers.sum(axis=1, keepdims=True)


def test_areas_equal_the_reference() -> None:
    """Macro, micro, each class; the worst one is named."""
    truth, answers = _drawn(500, 0)
    found = rank_classes(truth, answers)
    cells = np.eye(4)[truth]
    for name, score in (("auroc", reference.roc_auc_score), ("average_precision", reference.average_precision_score)):
        assert found[name] == pytest.approx(score(cells, answers, average="macro"))
        assert found["micro"][name] == pytest.approx(score(cells, answers, average="micro"))
        single = score(cells, answers, average=None)
        assert [each[name] for each in found["per_class"]] == pytest.approx(single)
    assert found["worst"]["class"] == int(np.argmin(single))
    assert [each["rows"] for each in found["per_class"]] == np.bincount(truth).tolist()
    assert found["worst"]["precision_recall"]["x"][-1] == 1


def test_intervals_of_the_means_cover() -> None:
    """Of 200 draws of 200 rows they hold the means of 200,000 in 91 to 99 % (AUROC), 88 to 98 % (precision)."""
    whole = rank_classes(*_drawn(200_000, 0))
    held = {"auroc": 0, "average_precision": 0}
    for seed in range(1, 201):
        found = rank_classes(*_drawn(200, seed))
        for name in held:
            low, high = found[f"{name}_interval"]
            held[name] += low <= whole[name] <= high
    assert 0.91 <= held["auroc"] / 200 <= 0.99
    assert 0.88 <= held["average_precision"] / 200 <= 0.98


def test_no_class_to_tell_from_others() -> None:
    """One class has all rows: nothing can be ranked; a class without rows is left out."""
    truth, answers = _drawn(50, 1)
    assert rank_classes(np.zeros(50, dtype=np.int64), answers) == {}
    truth = np.where(truth == 3, 0, truth)
    assert [each["class"] for each in rank_classes(truth, answers)["per_class"]] == [0, 1, 2]


def test_much_work_leaves_the_means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the first bound no interval of the mean precision, above the second means alone."""
    truth, answers = _drawn(60, 2)
    whole = rank_classes(truth, answers)
    monkeypatch.setattr(classes, "_MOST_DRAWN", 1.0)
    assert rank_classes(truth, answers)["average_precision_interval"] is None
    monkeypatch.setattr(classes, "MOST_CELLS", 1.0)
    found = rank_classes(truth, answers)
    assert found == {name: whole[name] for name in ("auroc", "average_precision", "classes")}
