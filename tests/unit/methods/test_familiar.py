"""What is remembered tells texts of no class: their vectors point elsewhere, whatever the scales and the spread."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.curves import auroc
from tailtune.evaluate.scope import marked, told_apart
from tailtune.features.store import Features
from tailtune.methods.familiar import fit_scope
from tailtune.methods.probe import Rows


class _Pooled:
    """Pooled vectors of one depth."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self._vectors = vectors

    def pooled(self, depth: int) -> NDArray[np.float32]:
        assert depth == 3
        return self._vectors


def _drawn(classes: int, per_class: int, *, seed: int, outside: int = 200) -> tuple[Any, Any, Any]:
    """Vectors [n, 2, 6] of classes, of texts of no class, and the class ids; scales differ, two directions are loud."""
    random = np.random.default_rng(seed)
    means = 2.5 * random.standard_normal((classes + 1, 12))
    scale = np.exp(random.normal(size=12))
    loud = np.r_[np.full(2, 15.0), np.ones(10)]
    ids = np.repeat(np.arange(classes), per_class)
    inside = (means[ids] + loud * random.standard_normal((len(ids), 12))) * scale + 5
    strange = (means[-1] + loud * random.standard_normal((outside, 12))) * scale + 5
    return inside.astype(np.float32).reshape(-1, 2, 6), strange.astype(np.float32).reshape(-1, 2, 6), ids


@pytest.mark.parametrize("classes", [2, 5, 20])
def test_texts_of_another_class_are_told(classes: int) -> None:
    """Far better than chance with 2, 5 and 20 classes, though loud directions say nothing; the promise holds too."""
    inside, strange, ids = _drawn(classes, 200, seed=classes)
    order = np.random.default_rng(0).permutation(len(ids))
    train, validation, test = np.split(order, [len(order) // 2, 3 * len(order) // 4])
    rows = Rows(train=train, validation=validation, labels=ids, groups=np.arange(len(ids)), classes=classes)
    scope = fit_scope(cast("Features", _Pooled(inside)), rows, 3)
    own, others = scope.strangeness(inside[test]), scope.strangeness(strange)
    told = told_apart(own, others)
    assert told["auroc"] > 0.8
    low, high = told["interval"]
    assert low < told["auroc"] < high
    said = marked(scope.unlike(own))
    assert said["interval"][0] <= 0.05
    assert marked(scope.unlike(others))["share"] > 2 * (said["share"] or 0.01)


def test_a_constant_direction_and_a_class_of_one_row_do_no_harm() -> None:
    """No division by nothing: places are finite and in range."""
    inside, strange, ids = _drawn(3, 40, seed=1)
    inside[:, 0, 2], strange[:, 0, 2] = 7.0, 8.0
    ids[0] = 3
    rows = Rows(train=np.arange(80), validation=np.arange(80, 120), labels=ids, groups=np.arange(120), classes=5)
    scope = fit_scope(cast("Features", _Pooled(inside)), rows, 3)
    places = scope.unlike(scope.strangeness(strange))
    assert np.isfinite(places).all()
    assert 0 <= places.min() <= places.max() < 1


def test_what_passes_is_counted_at_95_percent_kept() -> None:
    """By hand: of ten texts of no class three lie below the 95th percentile of the test texts."""
    inside, outside = np.arange(100.0), np.array([10.0, 20.0, 30.0, *range(200, 207)])
    told = told_apart(inside, outside)
    assert (told["passed"]["count"], told["passed"]["of"]) == (3, 10)
    assert told["auroc"] == pytest.approx(auroc(np.r_[np.ones(10), np.zeros(100)] > 0, np.r_[outside, inside]))
