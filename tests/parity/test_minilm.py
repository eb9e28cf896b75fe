"""The sentence encoder of the catalogue gives the tokens and the embeddings that the reference library gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from support.default_model import catalogue_model
from support.hostile_texts import hostile_texts
from support.texts import messages
from support.tiny_models import CORPUS
from tailtune.features.backbone import Backbone, Wanted
from tailtune.methods.scorers import in_order, pool
from tailtune.models.sources.facts import read_shapes, tokenizer_kind
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokenizer

pytestmark = pytest.mark.network

TOLERANCE = 1e-5
# The last ones are longer than the 512 tokens that are read.
TEXTS = [*CORPUS, *messages(20)[0], *hostile_texts(), "word " * 510, "word " * 511, "a longer text, cut; " * 300]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The model's folder."""
    return catalogue_model("minilm-l6")


@pytest.fixture(scope="module")
def reference_ids(folder: Path) -> list[list[int]]:
    """The ids of every text; user text that spells a special token is split like any other text."""
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(folder)
    cut: dict[str, Any] = {"truncation": True, "max_length": 512, "split_special_tokens": True, "padding": False}
    return [reference(text, **cut)["input_ids"] for text in TEXTS]


def test_the_reference_library_loads_it(folder: Path) -> None:
    """No tensor missing or unexpected; the shape is the published one."""
    from transformers import AutoModel

    model, told = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "mismatched_keys"))
    assert (model.config.model_type, model.config.hidden_size) == ("bert", 384)
    assert read_shapes(folder).block_weights == 10_616_832
    assert tokenizer_kind(folder) == "WordPiece"


def test_token_ids(folder: Path, reference_ids: list[list[int]]) -> None:
    """Equal on every text, the padding and the cut at 128 that its file asks for left aside."""
    tokens = Tokenizer.of_model(folder, max_tokens=512).encode(TEXTS)
    for number, expected in enumerate(reference_ids):
        assert tokens.ids[tokens.offsets[number] : tokens.offsets[number + 1]].tolist() == expected, TEXTS[number][:80]
    assert tokens.lengths.max() == 512
    assert tokens.truncated.sum() >= 2


def test_sentence_embeddings(folder: Path, reference_ids: list[list[int]]) -> None:
    """The mean over all tokens, and its direction, which sentence encoders give out; packed, as in a pass."""
    decoder = load_decoder(folder)
    tokens = Tokenizer.of_model(folder, max_tokens=512).encode(TEXTS)
    wanted = Wanted(pooled=(decoder.config.blocks,))
    pieces = [
        (piece.batch.texts, pool(piece.pooled[decoder.config.blocks], "mean"))
        for piece in Backbone(decoder, device=torch.device("cpu")).run(tokens, wanted)
    ]
    got = in_order(pieces)
    expected = _reference_means(folder, reference_ids)
    np.testing.assert_allclose(got, expected, atol=TOLERANCE)
    np.testing.assert_allclose(_directions(got), _directions(expected), atol=TOLERANCE)


def _reference_means(folder: Path, texts: list[list[int]]) -> NDArray[np.float32]:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        means = [model(torch.tensor([ids])).last_hidden_state[0].mean(dim=0) for ids in texts]
    found: NDArray[np.float32] = torch.stack(means).numpy()
    return found


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    directions: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return directions
