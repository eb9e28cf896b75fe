"""Reading weights: names with or without prefix, shards, half precision; damage is one line that names the tensor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from support.architectures import ARCHITECTURES
from support.reference import write_reference
from support.tiny_models import write_tiny_gpt2, write_tiny_llama
from tailtune.errors import ModelError
from tailtune.models.weights import fingerprint, load_decoder

Edit = Callable[[dict[str, Tensor]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model", seed=1)


def edit(folder: Path, change: Edit) -> None:
    """Rewrite the weights after ``change``."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def edit_config(folder: Path, **changes: Any) -> None:
    """Rewrite config.json with these keys."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def equal(one: Path, other: Path) -> bool:
    """Say whether two folders hold the same decoder."""
    first, second = load_decoder(one).state_dict(), load_decoder(other).state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("write", [write_tiny_llama, write_tiny_gpt2])
def test_bare_and_prefixed_names_are_the_same_model(write: Callable[..., Path], tmp_path: Path) -> None:
    """Files of base models lack the prefix that language models put before every name."""
    one, other = write(tmp_path / "one", seed=1), write(tmp_path / "other", seed=1)
    prefix = "model." if write is write_tiny_llama else "transformer."

    def strip(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix(prefix)] = tensors.pop(name)

    edit(other, strip)
    assert equal(one, other)


def test_shards_are_joined(folder: Path, tmp_path: Path) -> None:
    """The index names the shards; a missing one is told."""
    other = write_tiny_llama(tmp_path / "other", seed=1)
    tensors = load_file(other / "model.safetensors")
    (other / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, other / file)
    weight_map = {name: file for file, part in shards.items() for name in part}
    (other / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert equal(folder, other)
    (other / "b.safetensors").unlink()
    with pytest.raises(ModelError, match=r"1 of 2 shards are missing: b\.safetensors"):
        load_decoder(other)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_fp32(folder: Path, dtype: torch.dtype) -> None:
    """Features are computed in fp32 whatever the file holds."""

    def halve(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()})

    edit(folder, halve)
    assert {tensor.dtype for tensor in load_decoder(folder).state_dict().values()} == {torch.float32}


def _drop(tensors: dict[str, Tensor]) -> None:
    del tensors["model.layers.2.mlp.up_proj.weight"]


def _misshape(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.self_attn.o_proj.weight"] = torch.zeros(3, 3)


def _poison(tensors: dict[str, Tensor]) -> None:
    tensors["model.norm.weight"][3] = float("nan")


def _double(tensors: dict[str, Tensor]) -> None:
    tensors["model.norm.weight"] *= 2


def _add(tensors: dict[str, Tensor]) -> None:
    tensors["model.layers.1.self_attn.sinks"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop, r"1 tensors are missing: model\.layers\.2\.mlp\.up_proj\.weight"),
        (_misshape, r"layers\.1\.self_attn\.o_proj\.weight has shape \[3, 3\], expected \[32, 32\]"),
        (_poison, r"model\.norm\.weight holds NaN or infinite values"),
        (_add, r"1 tensors are not known in this family: model\.layers\.1\.self_attn\.sinks"),
    ],
)
def test_wrong_tensors_are_named(folder: Path, change: Edit, said: str) -> None:
    """Missing, misshapen, unknown or not finite: one line with the name."""
    edit(folder, change)
    with pytest.raises(ModelError, match=said):
        load_decoder(folder)


def test_a_cut_reads_only_its_blocks(folder: Path) -> None:
    """Damage above the cut does not matter."""
    edit(folder, _drop)
    assert len(load_decoder(folder, depth=2).blocks) == 2


@pytest.mark.parametrize("keep", [4, 100, -5])
def test_a_truncated_file_is_said(folder: Path, keep: int) -> None:
    """Cut in the length, in the header or in the data."""
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load_decoder(folder)


def test_pickles_are_refused_with_the_way_out(folder: Path) -> None:
    """A folder with only pytorch_model.bin is not read."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="convert them to safetensors"):
        load_decoder(folder)


def test_names_of_the_first_bert_files_are_read(tmp_path: Path) -> None:
    """gamma and beta of norms, as the oldest files of BERT call them, are weight and bias."""
    write_reference(ARCHITECTURES["bert"], tmp_path)
    first = load_decoder(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    ends = {".LayerNorm.weight": ".LayerNorm.gamma", ".LayerNorm.bias": ".LayerNorm.beta"}
    old = {}
    for name, tensor in tensors.items():
        end = next((end for end in ends if name.endswith(end)), "")
        old[f"bert.{name.removesuffix(end)}{ends.get(end, '')}"] = tensor
    save_file(old, tmp_path / "model.safetensors")
    again = load_decoder(tmp_path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.state_dict().items())


def test_the_fingerprint_follows_weights_and_config(folder: Path) -> None:
    """Any change of either is another backbone."""
    first = fingerprint(folder)
    assert fingerprint(folder) == first
    edit_config(folder, rms_norm_eps=1e-3)
    second = fingerprint(folder)
    edit(folder, _double)
    assert len({first, second, fingerprint(folder)}) == 3
