"""Lengths in tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tiny_models import CONTEXT
from tailtune.data.lengths import length_findings
from tailtune.data.read import dataset_from_lists
from tailtune.errors import ConfigError


def test_percentiles_and_what_is_cut(tiny_llama: Path) -> None:
    """The tiny model's tokens are bytes: lengths are known; texts beyond its context are named."""
    texts = ["a" * (at + 1) for at in range(99)] + ["b" * (CONTEXT + 1)]
    lengths, cut = length_findings(dataset_from_lists(texts, ["x"] * 100), str(tiny_llama))
    assert "50 % at most 50, 90 % at most 90, 95 % at most 95, 99 % at most 99" in lengths.message
    assert f"longest {CONTEXT + 1:,}; the model reads {CONTEXT:,}" in lengths.message
    assert (cut.kind, cut.severity, cut.rows) == ("truncated_texts", "warning", (100,))
    assert cut.mend.startswith("train with --long windows")


def test_nothing_is_cut(tiny_llama: Path) -> None:
    """Short texts need no warning, and no texts no lengths."""
    assert [found.kind for found in length_findings(dataset_from_lists(["a"], ["x"]), str(tiny_llama))] == ["lengths"]
    assert length_findings(dataset_from_lists([], []), str(tiny_llama)) == ()


def test_an_unknown_model_is_refused() -> None:
    """By name."""
    with pytest.raises(ConfigError, match="no such model"):
        length_findings(dataset_from_lists(["a"], ["x"]), "no such model")
