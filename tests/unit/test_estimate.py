"""About how long a model takes: operations counted against those of the decoder itself, and texts that are counted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from support.tiny_models import CONTEXT, CORPUS, write_tiny_gpt2, write_tiny_llama
from tailtune.errors import DataError, ModelError
from tailtune.estimate import (
    CHARACTERS_PER_TOKEN,
    distinct_texts,
    estimate_entry,
    estimate_folder,
    speed,
)
from tailtune.features.backbone import Backbone, Wanted
from tailtune.models.sources.catalog import find_entry
from tailtune.models.sources.kept import write_manifest
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokenizer


@pytest.mark.parametrize("write", [write_tiny_llama, write_tiny_gpt2])
def test_operations_are_those_of_the_pass(write: object, tmp_path: Path) -> None:
    """What PyTorch counts in a real pass is what is estimated, and the half of attention that no mask hides."""
    assert callable(write)
    folder = write(tmp_path / "model", width=64, heads=4)
    texts = list(CORPUS)
    tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=CONTEXT).encode(texts)
    backbone = Backbone(load_decoder(folder), device=torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        list(backbone.run(tokens, Wanted(states=(backbone.depth,))))
    estimate = estimate_folder(folder, texts, 1.0)
    assert estimate.tokens == int(tokens.lengths.sum())
    attention = sum(2 * backbone.depth * 64 * int(length) ** 2 for length in tokens.lengths)
    # The counter leaves attention out; the pass asks for 0.79 of the speed of plain products.
    assert 0.79 * estimate.pass_seconds == pytest.approx(counter.get_total_flops() + attention, rel=1e-6)


def test_texts_beyond_the_context_cost_no_more(tiny_llama: Path) -> None:
    """What is cut is not computed."""
    long = estimate_folder(tiny_llama, ["word " * 2000], 1e9)
    assert (long.tokens, long.texts, long.counted) == (CONTEXT, 1, True)


def test_twice_the_texts_take_twice_as_long(tiny_llama: Path) -> None:
    """And half as long on a machine of twice the speed."""
    one = estimate_folder(tiny_llama, CORPUS, 1e9)
    both = estimate_folder(tiny_llama, [*CORPUS, *CORPUS], 1e9)
    fast = estimate_folder(tiny_llama, CORPUS, 2e9)
    assert both.pass_seconds == pytest.approx(2 * one.pass_seconds)
    assert fast.pass_seconds == pytest.approx(one.pass_seconds / 2)


def test_a_model_that_is_not_here_is_estimated_from_the_catalogue() -> None:
    """Tokens from characters, and it says so; more weights take longer."""
    texts = ["x" * 360] * 50
    found = {}
    for name in ("pythia-14m", "gpt2", "gpt2-xl"):
        entry = find_entry(name)
        assert entry is not None
        found[name] = estimate_entry(entry, texts, 1e11)
    assert not any(estimate.counted for estimate in found.values())
    assert found["gpt2"].tokens == 50 * (1 + round(360 / CHARACTERS_PER_TOKEN))
    seconds = [found[name].pass_seconds for name in ("pythia-14m", "gpt2", "gpt2-xl")]
    assert seconds == sorted(seconds)
    assert seconds[1] == pytest.approx(2 * 84_934_656 * 50 * 101 / (0.79 * 1e11), rel=0.05)


def test_a_model_in_the_cache_counts_with_its_own_tokenizer(tiny_llama: Path, own_home: Path) -> None:
    """Also one whose config is not understood: the catalogue knows its shape."""
    for name in ("gpt2", "minilm-l6"):
        folder = Path(shutil.copytree(tiny_llama, own_home / "models" / name))
        if name == "minilm-l6":
            (folder / "config.json").write_text('{"model_type": "unheard-of"}', encoding="utf-8")
        write_manifest(folder, {"name": name})
        entry = find_entry(name)
        assert entry is not None
        estimate = estimate_entry(entry, CORPUS, 1e9)
        tokens = Tokenizer.load(folder / "tokenizer.json", max_tokens=CONTEXT).encode(CORPUS)
        assert (estimate.counted, estimate.tokens) == (True, int(tokens.lengths.sum()))
    with pytest.raises(ModelError, match="unheard-of"):
        estimate_folder(folder, CORPUS, 1e9)


def test_speed_is_a_speed() -> None:
    """Any processor does more than 0.1 and less than 100,000 GFLOP/s."""
    assert 1e8 < speed(256) < 1e14


@pytest.mark.parametrize("labels", [True, False])
def test_texts_are_read_with_and_without_labels(tmp_path: Path, labels: bool) -> None:
    """Each once; blank ones are none."""
    rows = [("one", "a"), ("two", "b"), ("one", "a"), ("  ", "b")]
    lines = [f"{text},{label}" if labels else text for text, label in rows]
    file = tmp_path / "rows.csv"
    file.write_text("\n".join(["text,label" if labels else "text", *lines]) + "\n", encoding="utf-8")
    assert distinct_texts(str(file)) == ["one", "two"]


def test_a_file_without_texts_is_refused(tmp_path: Path) -> None:
    """There is nothing to estimate."""
    file = tmp_path / "rows.csv"
    file.write_text('text,label\n" ",a\n', encoding="utf-8")
    with pytest.raises(DataError):
        distinct_texts(str(file))
