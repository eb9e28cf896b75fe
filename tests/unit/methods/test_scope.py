"""Strange texts are told by their direction; the share promised of familiar ones holds; a damaged file is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle, tail_bundle, with_scope
from support.texts import messages
from tailtune.bundle import Bundle, read_bundle
from tailtune.errors import BundleError, DataError
from tailtune.methods.familiar import FEWEST, require_rows
from tailtune.methods.scope import Scope
from tailtune.predict import Predictor


def _scope(reference: list[float], width: int = 4) -> Scope:
    centres = np.eye(2 * width, dtype=np.float32)[:2]
    middle, weight = np.zeros(2 * width, dtype=np.float32), np.eye(2 * width, dtype=np.float32)
    held_out = np.array(sorted(reference), dtype=np.float32)
    return Scope(depth=1, middle=middle, weight=weight, centres=centres, reference=held_out)


def test_only_the_direction_counts() -> None:
    """Along a class mean 0 however far, at a right angle to both 1, against both more; without a direction 1."""
    vectors = np.zeros((4, 2, 4), dtype=np.float32)
    vectors[0, 0, 0], vectors[1, 1, 2], vectors[2, 0, :2] = 70.0, 3.0, -1.0
    assert _scope([0.5]).strangeness(vectors) == pytest.approx([0.0, 1.0, 1 + 0.5**0.5, 1.0], abs=1e-6)


def test_the_place_among_held_out_texts_rises_and_stays_below_the_count() -> None:
    """Monotone from 0 to n / (n + 1), never above the share of held-out texts that are less strange; ties count low."""
    reference = [0.1, 0.2, 0.2, 0.2, 0.4, 0.8]
    scope, asked = _scope(reference), np.linspace(0, 3, 400)
    places = scope.unlike(asked)
    assert (np.diff(places) >= 0).all()
    assert (places[0], places[-1]) == (0.0, pytest.approx(6 / 7))
    below = (np.array(reference)[None] < asked[:, None] - 1e-7).sum(axis=1)
    assert (places <= below / 7 + 1e-6).all()
    assert scope.unlike(np.array([0.2], dtype=np.float32).astype(np.float64))[0] == pytest.approx(1 / 7)


@pytest.mark.parametrize("rows", [FEWEST, 100, 500])
def test_familiar_texts_are_marked_no_more_often_than_said(rows: int) -> None:
    """Texts like the held-out ones: over 2,000 draws of both, a share of 0.05 and 0.2 is not exceeded."""
    random = np.random.default_rng(rows)
    for share in (0.05, 0.2):
        hits = [
            float(
                (_scope(random.exponential(size=rows).tolist()).unlike(random.exponential(size=5)) >= 1 - share).mean()
            )
            for _ in range(2000)
        ]
        assert np.mean(hits) <= share + 3 * np.std(hits) / 2000**0.5


@pytest.mark.parametrize("make", [probe_bundle, tail_bundle])
def test_a_text_is_as_strange_alone_as_in_any_batch(make: Callable[[Path], Bundle], tiny_llama: Path) -> None:
    """Alone, together and in another order the places agree, with a probe and with a tail."""
    predictor = Predictor(with_scope(make(tiny_llama)), device="cpu")
    texts = [*messages(12)[0], "", "😀 " * 40]
    together = [answer.out_of_scope for answer in predictor.predict(texts)]
    assert len(set(together)) > 5
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = predictor.predict([texts[at] for at in order])
    assert [answer.out_of_scope for answer in shuffled] == pytest.approx([together[at] for at in order], abs=1e-4)
    alone = [predictor.predict([text])[0].out_of_scope for text in texts]
    assert alone == pytest.approx(together, abs=1e-4)
    assert predictor.predict([]) == []


def test_a_saved_scope_answers_the_same_and_costs_the_format(tiny_llama: Path, tmp_path: Path) -> None:
    """Format 4 with a scope; without one the format stays, nothing is told and asking is refused."""
    predictor = Predictor(with_scope(probe_bundle(tiny_llama)), device="cpu")
    predictor.save(tmp_path / "with")
    texts = messages(6)[0]
    loaded = Predictor.load(tmp_path / "with", device="cpu")
    assert loaded.predict(texts) == predictor.predict(texts)
    assert loaded.strangeness(texts) == pytest.approx(predictor.strangeness(texts))
    plain = Predictor(probe_bundle(tiny_llama), device="cpu")
    plain.save(tmp_path / "without")
    formats = [(tmp_path / name / "bundle.json").read_text() for name in ("with", "without")]
    assert '"format_version": 4' in formats[0]
    assert '"format_version": 2' in formats[1]
    assert plain.predict(texts)[0].out_of_scope is None
    with pytest.raises(BundleError, match="cannot tell strange texts"):
        plain.strangeness(texts)


def test_a_scope_that_does_not_fit_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """Arrays of other shapes are no scope."""
    bundle = with_scope(probe_bundle(tiny_llama))
    assert bundle.scope is not None
    arrays = bundle.scope.arrays()
    with pytest.raises(ValueError, match="do not fit"):
        Scope.of(3, {**arrays, "middle": arrays["middle"][:-1]})
    with pytest.raises(ValueError, match="do not fit"):
        Scope.of(3, {**arrays, "reference": arrays["reference"][:0]})
    Predictor(bundle, device="cpu").save(tmp_path / "saved")
    (tmp_path / "saved" / "scope.safetensors").unlink()
    with pytest.raises(BundleError, match=r"scope\.safetensors: is missing"):
        read_bundle(tmp_path / "saved")


def test_too_few_held_out_texts_are_refused() -> None:
    """Nineteen places do not hold the strangest twentieth."""
    require_rows(FEWEST)
    with pytest.raises(DataError, match="needs at least 20, got 19"):
        require_rows(FEWEST - 1)
