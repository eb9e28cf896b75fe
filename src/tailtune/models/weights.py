"""Decoders from files: a Hugging Face folder of safetensors, or our own names out of a bundle.

Every tensor is checked for name, shape and finite values; missing and unexpected names are both told.
Pickles are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tailtune.errors import ModelError
from tailtune.models.decoder import Decoder
from tailtune.models.families import FAMILIES, read_config
from tailtune.models.family import Family, Weight
from tailtune.models.shape import DecoderConfig
from tailtune.storage import read_json, sha256_bytes, sha256_file

# How norms were called in files converted from the first TensorFlow checkpoints of BERT.
_OLD_NORM_NAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))


class SafetensorsFolder:
    """The tensors of a folder of safetensors files, by name, read only when asked for."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(
                f"{folder}: no *.safetensors file",
                hint="pickled weights (.bin, .pth) are not read: they can run code; convert them to safetensors",
            )
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            wanted = sorted(set(read_json(index).get("weight_map", {}).values()))
            absent = [name for name in wanted if not (folder / name).is_file()]
            if absent:
                raise ModelError(f"{folder}: {len(absent)} of {len(wanted)} shards are missing: {', '.join(absent)}")
            files = [folder / name for name in wanted]
        self.folder = folder
        self.files = files
        self._where = {_today(name): (file, name) for file in files for name in _names(file)}

    def names(self) -> set[str]:
        """Return the names of all tensors."""
        return set(self._where)

    def read(self, name: str) -> Tensor:
        """Return one tensor in fp32, its values checked to be finite.

        Raises:
            ModelError: If the file is damaged or holds NaN or infinite values.
        """
        file, name = self._where[name]
        try:
            with safe_open(file, framework="pt") as opened:
                tensor: Tensor = opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error
        tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{file}: {name} holds NaN or infinite values")
        return tensor


def _today(name: str) -> str:
    for old, new in _OLD_NORM_NAMES:
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: not a whole safetensors file: {error}", hint="download it again") from error


def load_decoder(folder: Path, *, depth: int | None = None) -> Decoder:
    """Return the pretrained decoder in a Hugging Face folder, in fp32 on the CPU, in eval mode.

    Args:
        folder: Holds config.json and one or more safetensors files; names with or without the family's prefix.
        depth: Read only the lowest ``depth`` blocks; default all.

    Raises:
        ModelError: If the family is not supported, or a tensor is missing, misshapen or not finite.
    """
    config = read_config(read_json(folder / "config.json"))
    family = FAMILIES[config.family]
    with torch.device("meta"):
        decoder = Decoder(config, blocks=depth)
    files = SafetensorsFolder(folder)
    prefix = _require_names(files, family, config, decoder.state_dict())
    tensors = {name: _join(_source(family, name), files, prefix, config) for name in decoder.state_dict()}
    fill(decoder, tensors, where=str(folder))
    return decoder


def _source(family: Family, name: str) -> Weight:
    """Where the tensor that we call ``name`` comes from."""
    if not name.startswith("blocks."):
        return family.weights[name]
    _, number, inner = name.split(".", 2)
    weight = family.block_weights[inner]
    return replace(weight, names=tuple(part.format(number) for part in weight.names))


def _join(weight: Weight, files: SafetensorsFolder, prefix: str, config: DecoderConfig) -> Tensor:
    parts = [files.read(prefix + name) for name in weight.names]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    if weight.interleaved and len(joined) == 3 * config.heads * config.head_width:
        joined = joined.view(config.heads, 3, config.head_width, -1).transpose(0, 1).reshape(joined.shape)
    return joined.t().contiguous() if weight.transposed else joined


def reference_tensors(decoder: Decoder, *, gradients: bool = False) -> dict[str, Tensor]:
    """Return the tensors of ``decoder`` under the reference library's names, as it stores them.

    Args:
        decoder: fp32; a part of one gives a part of the names.
        gradients: Return the gradients of those that have one instead.
    """
    config, family = decoder.config, FAMILIES[decoder.config.family]
    found: dict[str, Tensor] = {}
    tensors = {
        name: parameter.grad if gradients else parameter.detach() for name, parameter in decoder.named_parameters()
    }
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        weight = _source(family, name)
        stored = tensor.t().contiguous() if weight.transposed else tensor
        if weight.interleaved:
            stored = stored.view(3, config.heads, config.head_width, -1).transpose(0, 1).reshape(stored.shape)
        names = [family.prefix + part for part in weight.names]
        found |= dict(zip(names, torch.split(stored, _sizes(len(names), stored, config)), strict=True))
    return found


def _sizes(parts: int, stored: Tensor, config: DecoderConfig) -> list[int]:
    """Rows of each of the tensors that ours is made of."""
    if parts == 3:
        query, shared = (heads * config.head_width for heads in (config.heads, config.key_value_heads))
        return [query, shared, shared]
    return [len(stored) // parts] * parts


def _require_names(files: SafetensorsFolder, family: Family, config: DecoderConfig, wanted: Iterable[str]) -> str:
    """The prefix of the names, after checking that all wanted tensors are there and none is unknown."""
    present = files.names()
    prefix = family.prefix if any(name.startswith(family.prefix) for name in present) else ""
    needed = {prefix + part for name in wanted for part in _source(family, name).names}
    missing = sorted(needed - present)
    if missing:
        raise ModelError(f"{files.folder}: {len(missing)} tensors are missing: {_some(missing)}")
    known = {prefix + part for weight in family.weights.values() for part in weight.names}
    for weight in family.block_weights.values():
        known |= {prefix + part.format(number) for part in weight.names for number in range(config.blocks)}
    surplus = sorted(name for name in present - known if not _is_ignored(name, family, prefix))
    if surplus:
        raise ModelError(f"{files.folder}: {len(surplus)} tensors are not known in this family: {_some(surplus)}")
    return prefix


def _is_ignored(name: str, family: Family, prefix: str) -> bool:
    return any(fnmatchcase(name.removeprefix(prefix), pattern) for pattern in family.ignored)


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def fill(module: torch.nn.Module, tensors: Mapping[str, Tensor], *, where: str) -> None:
    """Give ``module`` (built on the meta device) these tensors, after checking names and shapes; set eval mode.

    Args:
        module: Its parameters are replaced.
        tensors: One per parameter, our names.
        where: Said in errors.

    Raises:
        ModelError: If names or shapes differ.
    """
    expected = module.state_dict()
    if set(expected) != set(tensors):
        missing, surplus = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
        raise ModelError(
            f"{where}: tensors missing: {_some(missing) or 'none'}; unexpected: {_some(surplus) or 'none'}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(f"{where}: {name} has shape {list(tensor.shape)}, expected {list(expected[name].shape)}")
    module.load_state_dict(dict(tensors), assign=True)
    module.eval()
    module.requires_grad_(False)


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 that identifies the weights and config in a Hugging Face folder."""
    parts = [sha256_file(folder / "config.json"), *(sha256_file(file) for file in SafetensorsFolder(folder).files)]
    return sha256_bytes("\n".join(parts).encode())
