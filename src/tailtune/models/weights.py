"""Decoders from files: a Hugging Face folder of safetensors, or our own names out of a bundle.

Every tensor is checked for name, shape and finite values; missing and unexpected names are both told.
Pickles are not read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tailtune.errors import ModelError, TailtuneError
from tailtune.models.decoder import Decoder
from tailtune.models.families import FAMILIES, DecoderConfig, Family, Weight, read_config
from tailtune.storage import sha256_bytes, sha256_file

# Known in every family and not needed: LM and class heads, masks and angles that the maths gives.
_SURPLUS = ("lm_head.weight", "score.weight", ".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


def read_json(path: Path, error: type[TailtuneError] = ModelError) -> dict[str, Any]:
    """Return the JSON object in ``path``.

    Raises:
        TailtuneError: Of the given class, if the file is missing or holds no JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as missing:
        raise error(f"{path}: no such file") from missing
    except ValueError as broken:
        raise error(f"{path}: not valid JSON: {broken}") from broken
    if not isinstance(value, dict):
        raise error(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


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
        self._where = {name: file for file in files for name in _names(file)}

    def names(self) -> set[str]:
        """Return the names of all tensors."""
        return set(self._where)

    def read(self, name: str) -> Tensor:
        """Return one tensor in fp32, its values checked to be finite.

        Raises:
            ModelError: If the file is damaged or holds NaN or infinite values.
        """
        file = self._where[name]
        try:
            with safe_open(file, framework="pt") as opened:
                tensor: Tensor = opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file}: cannot be read: {error}") from error
        tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise ModelError(f"{file}: {name} holds NaN or infinite values")
        return tensor


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
    names = files.names()
    prefix = family.prefix if any(name.startswith(family.prefix) for name in names) else ""
    sources = {name: _source(family, name) for name in decoder.state_dict()}
    needed = {prefix + part for weight in sources.values() for part in weight.names}
    _require_names(folder, needed=needed, present=names, known=_known(family, config, prefix))
    fill(decoder, {name: _join(weight, files, prefix) for name, weight in sources.items()}, where=str(folder))
    return decoder


def _source(family: Family, name: str) -> Weight:
    if not name.startswith("blocks."):
        return family.weights[name]
    _, number, inner = name.split(".", 2)
    weight = family.block_weights[inner]
    return Weight(names=tuple(part.format(number) for part in weight.names), transposed=weight.transposed)


def _join(weight: Weight, files: SafetensorsFolder, prefix: str) -> Tensor:
    parts = [files.read(prefix + name) for name in weight.names]
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    return joined.t().contiguous() if weight.transposed else joined


def _known(family: Family, config: DecoderConfig, prefix: str) -> set[str]:
    known = {prefix + part for weight in family.weights.values() for part in weight.names}
    for weight in family.block_weights.values():
        known |= {prefix + part.format(number) for part in weight.names for number in range(config.blocks)}
    return known


def _require_names(folder: Path, *, needed: set[str], present: set[str], known: set[str]) -> None:
    missing = sorted(needed - present)
    if missing:
        raise ModelError(f"{folder}: {len(missing)} tensors are missing: {_some(missing)}")
    surplus = sorted(name for name in present - known if not name.endswith(_SURPLUS))
    if surplus:
        raise ModelError(f"{folder}: {len(surplus)} tensors are not known in this family: {_some(surplus)}")


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
