"""Random weights: of the shape, by the seed, and never taken for pretrained ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from support.architectures import ARCHITECTURES
from support.generic_models import write_generic
from support.reference import write_reference
from support.tiny_models import write_tiny_bert, write_tiny_gpt2, write_tiny_llama
from tailtune.errors import ConfigError
from tailtune.models.parts import load_part, read_shape
from tailtune.models.random_weights import random_fingerprint, random_part
from tailtune.models.weights import fingerprint
from tailtune.storage import read_json

WRITERS: dict[str, Callable[..., Path]] = {"llama": write_tiny_llama, "gpt2": write_tiny_gpt2, "bert": write_tiny_bert}


@pytest.mark.parametrize("family", WRITERS)
def test_names_and_shapes_are_those_of_the_model(family: str, tmp_path: Path) -> None:
    """Matrices and tables have deviation 0.02, those that add to the states 0.02 / sqrt(2 L); gains 1, biases 0."""
    model = WRITERS[family](tmp_path, seed=0, width=64)
    shape = read_shape(read_json(model / "config.json"))
    drawn, read = random_part(shape, depth=4, seed=3).state_dict(), load_part(model).state_dict()
    assert {name: tensor.shape for name, tensor in drawn.items()} == {name: t.shape for name, t in read.items()}
    for name, tensor in drawn.items():
        if name.endswith("bias"):
            assert not tensor.any()
        elif "norm" in name or "after" in name:
            assert torch.equal(tensor, torch.ones_like(tensor))
        else:
            scaled = "attention_output" in name or "mlp_out" in name
            expected = 0.02 / (math.sqrt(2 * 4) if scaled else 1.0)
            tolerance = 5 / math.sqrt(2 * tensor.numel())
            assert tensor.std().item() == pytest.approx(expected, rel=tolerance), name
            assert abs(tensor.mean().item()) < 5 * expected / math.sqrt(tensor.numel()), name


def test_gains_stored_from_one_are_zero(tmp_path: Path) -> None:
    """Gemma's norms multiply by one plus their weight."""
    write_reference(ARCHITECTURES["gemma2"], tmp_path)
    shape = read_shape(read_json(tmp_path / "config.json"))
    norm = random_part(shape, depth=1, seed=0).final_norm
    assert norm is not None
    assert not norm.weight.any()


def test_the_seed_decides(tiny_llama: Path) -> None:
    """The same seed draws the same, another one another; a cut decoder is the lower part of the whole; no two alike."""
    shape = read_shape(read_json(tiny_llama / "config.json"))
    one, same, other = (random_part(shape, depth=4, seed=seed).state_dict() for seed in (1, 1, 2))
    cut = random_part(shape, depth=2, seed=1, final_norm=False).state_dict()
    for name, tensor in one.items():
        assert torch.equal(tensor, same[name])
        assert "norm" in name or not torch.equal(tensor, other[name])
        assert name not in cut or torch.equal(tensor, cut[name])
    assert len(cut) < len(one)
    matrices = [tensor.flatten()[:50].tolist() for name, tensor in one.items() if "norm" not in name]
    assert len({tuple(values) for values in matrices}) == len(matrices)


def test_they_are_never_taken_for_pretrained_ones(tiny_llama: Path, tiny_gpt2: Path) -> None:
    """Another key for every seed and shape, none that of the files."""
    llama, gpt2 = (read_shape(read_json(model / "config.json")) for model in (tiny_llama, tiny_gpt2))
    keys = [random_fingerprint(llama, 0), random_fingerprint(llama, 1), random_fingerprint(gpt2, 0)]
    assert len({*keys, fingerprint(tiny_llama), fingerprint(tiny_gpt2)}) == 5
    assert random_fingerprint(llama, 0) == keys[0]


def test_models_without_a_family_are_refused(tmp_path: Path) -> None:
    """In one line."""
    shape = load_part(write_generic("falcon", tmp_path)).config
    with pytest.raises(ConfigError, match="--weights random is for native families; falcon runs through"):
        random_part(shape, depth=1, seed=0)
