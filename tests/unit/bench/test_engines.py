"""One classifier through every engine gives the same probabilities: what is compared in speed is the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailtune.bench import export
from tailtune.bench.engines import BATCH, ENGINES, Engine, run
from tailtune.bench.material import load_material

pytest.importorskip("transformers", reason="the reference library's pipeline is measured")

# From a word to what nearly fills the context, more than two batches of them and the last one not full.
CHARACTERS = (4, 160, 9, 11, 44, 480, 28, 76, 5, 360, 16, 20, 132, 8, 240, 32, 6, 100, 12)
TEXTS = [("WINNER claim your prize see you at home " * 12)[:length] for length in CHARACTERS]


@pytest.fixture(scope="module")
def ours(asked: dict[str, Any], work: Path) -> Engine:
    return ENGINES["tailtune-equal"](load_material(asked), work)


def require_alike(engine: Engine, ours: Engine) -> None:
    """Check that both answer alike: all texts together, batches of two sizes, and a text alone."""
    for texts in (TEXTS, TEXTS[: BATCH - 3], TEXTS[5:6]):
        found = engine(texts)
        assert found.shape == (len(texts), 2)
        np.testing.assert_allclose(found, ours(texts), atol=1e-4)


def test_texts_are_told_apart(ours: Engine) -> None:
    """Else equal answers would say nothing."""
    found = ours(TEXTS)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-6)
    assert found[:, 0].max() - found[:, 0].min() > 0.05


def test_the_pipeline_answers_alike(asked: dict[str, Any], work: Path, ours: Engine) -> None:
    """The weights fine-tuned here, under the reference library's names, are the same classifier, class by class."""
    require_alike(ENGINES["pipeline"](load_material(asked), work), ours)


@pytest.mark.filterwarnings("ignore")  # the exporter that needs no package beside onnx gives a dozen, of three kinds
def test_onnxruntime_answers_alike(asked: dict[str, Any], work: Path, ours: Engine) -> None:
    """The exported file is open in the number of texts and of tokens; int8 is smaller and near."""
    pytest.importorskip("onnx", reason="the exporter needs it")
    pytest.importorskip("onnxruntime", reason="it is measured")
    answer = export.run({**asked, "work": str(work)})
    assert answer["bytes"]["int8"] < answer["bytes"]["fp32"]
    material = load_material(asked)
    require_alike(ENGINES["onnx-fp32"](material, work), ours)
    np.testing.assert_allclose(ENGINES["onnx-int8"](material, work)(TEXTS), ours(TEXTS), atol=0.1)


def test_a_run_answers_what_it_was_asked_for(asked: dict[str, Any], work: Path) -> None:
    """So many texts together, those between the bounds one by one, and their score."""
    answer = run({**asked, "engine": "tailtune-equal", "work": str(work), "texts": 10, "singles": [3, 7]})
    assert len(answer["single_seconds"]) == 4
    assert answer["texts"] == answer["score"]["tests"] == len(answer["probabilities"]) == 10
    material = load_material(asked)
    assert answer["tokens"] == material.tokenizer().encode(material.test_texts[:10]).offsets[-1]
