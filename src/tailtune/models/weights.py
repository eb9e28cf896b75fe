"""Decoders from files: a Hugging Face folder of safetensors, or our own names out of a bundle.

Every tensor is checked for name, shape and finite values; missing and unexpected names are both told.
Pickles are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor

from tailtune.errors import ModelError
from tailtune.models.decoder import Decoder
from tailtune.models.families import FAMILIES, read_config
from tailtune.models.family import Family, Weight
from tailtune.models.hashes import remembered_sha256
from tailtune.models.mapped import MappedDecoder, memory_bytes
from tailtune.models.shape import DecoderConfig
from tailtune.models.tensor_files import SafetensorsFolder
from tailtune.storage import read_json, sha256_bytes, sha256_file

_LARGEST_SIZE = 2**28


def load_decoder(
    folder: Path, *, depth: int | None = None, final_norm: bool = True, map_above: int | None = None
) -> Decoder:
    """Return the pretrained decoder in a Hugging Face folder, in fp32 on the CPU, in eval mode.

    Args:
        folder: Holds config.json and one or more safetensors files; names with or without the family's prefix.
        depth: Read only the lowest ``depth`` blocks; default all. With an index, shards that hold none of their tensors
            are not opened and may be missing or damaged.
        final_norm: Read the final norm, where the family has one; it is what a tail needs, and lies in the last shard.
        map_above: Bytes of fp32 weights above which they stay in the files, and each block is read when it computes;
            default half of this machine's memory.

    Raises:
        ModelError: If the family is not supported, or a tensor is missing, misshapen or not finite.
    """
    raw = read_json(folder / "config.json")
    try:
        config = read_config(raw)
    except ModelError as error:
        raise ModelError(f"{folder}: {error.message}", hint=error.hint) from error
    _require_sizes(config, folder)
    source = _Source.of(SafetensorsFolder(folder), config, depth)
    with torch.device("meta"):
        decoder = Decoder(config, blocks=depth, final_norm=final_norm)
    wanted = decoder.state_dict()
    source.require(wanted)
    limit = memory_bytes() // 2 if map_above is None else map_above
    if sum(tensor.nbytes for tensor in wanted.values()) > limit:
        for name in wanted:
            source.require_finite(name)
        return MappedDecoder(config, source, blocks=len(decoder.blocks), final_norm=final_norm)
    tensors = {}
    for name, like in wanted.items():
        source.require_finite(name)
        tensors[name] = source.tensor(name, like).float()
    fill(decoder, tensors, where=str(folder))
    return decoder


def _require_sizes(config: DecoderConfig, folder: Path) -> None:
    """Refuse sizes whose products PyTorch cannot count, far above those of any model."""
    largest = max(config.vocabulary, config.width, config.mlp_width, config.heads * config.head_width, config.context)
    if largest > _LARGEST_SIZE:
        raise ModelError(f"{folder / 'config.json'}: a size of {largest}, expected at most {_LARGEST_SIZE}")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """The tensors of a model folder under our names."""

    files: SafetensorsFolder
    family: Family
    config: DecoderConfig
    prefix: str

    @classmethod
    def of(cls, files: SafetensorsFolder, config: DecoderConfig, depth: int | None) -> _Source:
        """Return that of ``files``, after checking that they hold as many blocks as the config says, or the cut needs.

        Before a decoder is built: one of a billion blocks never would be.
        """
        family, present = FAMILIES[config.family], files.names()
        prefix = family.prefix if any(name.startswith(family.prefix) for name in present) else ""
        held = _blocks_in(present, family, prefix)
        if held > config.blocks or held < (config.blocks if depth is None else depth):
            raise ModelError(f"{files.folder}: the weights are of {held} blocks, config.json says {config.blocks}")
        return cls(files=files, family=family, config=config, prefix=prefix)

    def names(self, name: str) -> list[str]:
        """The reference's names of the tensors that ours is made of."""
        return [self.prefix + part for part in weight_of(self.family, name).names]

    def require(self, wanted: Mapping[str, Tensor]) -> None:
        """Open the files of all wanted tensors; check that each is there and of its shape, and that none is unknown."""
        needed = {name for ours in wanted for name in self.names(ours)}
        missing = sorted(needed - self.files.names())
        if missing:
            raise ModelError(f"{self.files.folder}: {len(missing)} tensors are missing: {_some(missing)}")
        self.files.require(needed)
        surplus = sorted(name for name in self.files.names() - self._known() if not self._is_ignored(name))
        if surplus:
            raise ModelError(
                f"{self.files.folder}: {len(surplus)} tensors are not known in this family: {_some(surplus)}"
            )
        for ours, like in wanted.items():
            places = self._places(weight_of(self.family, ours), like)
            for name, place in zip(self.names(ours), places, strict=True):
                if (got := self.files.read(name).shape) != place.shape:
                    where = f"{self.files.file(name)}: {name}"
                    raise ModelError(f"{where} has shape {list(got)}, expected {list(place.shape)}")

    def require_finite(self, name: str) -> None:
        """Check every value of the tensor that we call ``name``."""
        for part in self.names(name):
            self.files.require_finite(part)

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """Return one tensor: a view of the mapped file where it lies there as we want it, else made from its parts."""
        weight = weight_of(self.family, name)
        if len(weight.names) == 1 and not (weight.transposed or weight.interleaved):
            return self.files.read(self.names(name)[0])
        out = torch.empty(like.shape, dtype=torch.float32)
        self.put(name, out)
        return out

    def put(self, name: str, out: Tensor) -> None:
        """Read one tensor into ``out``, straight from the mapped files."""
        weight = weight_of(self.family, name)
        parts = [self.files.read(part) for part in self.names(name)]
        if weight.interleaved:
            heads, width = self.config.heads, self.config.head_width
            out.view(3, heads, width, -1).copy_(parts[0].view(heads, 3, width, -1).transpose(0, 1))
            return
        for place, part in zip(self._places(weight, out), parts, strict=True):
            place.copy_(part)

    def _places(self, weight: Weight, ours: Tensor) -> tuple[Tensor, ...]:
        """The parts of one of our tensors, each of the shape in which the reference stores it."""
        stored = ours.t() if weight.transposed else ours
        return torch.split(stored, _sizes(len(weight.names), stored, self.config))

    def _known(self) -> set[str]:
        known = {self.prefix + part for weight in self.family.weights.values() for part in weight.names}
        for weight in self.family.block_weights.values():
            for number in range(self.config.blocks):
                known |= {self.prefix + part.format(number) for part in weight.names}
        return known

    def _is_ignored(self, name: str) -> bool:
        return any(fnmatchcase(name.removeprefix(self.prefix), pattern) for pattern in self.family.ignored)


def _blocks_in(present: Iterable[str], family: Family, prefix: str) -> int:
    """One more than the highest number of a block that one of these names has."""
    patterns = {part for weight in family.block_weights.values() for part in weight.names}
    alternatives = (r"([0-9]{1,9})".join(map(re.escape, part.split("{}"))) for part in sorted(patterns))
    block = re.compile(f"{re.escape(prefix)}(?:{'|'.join(alternatives)})")
    found = (block.fullmatch(name) for name in present)
    return max((int(next(filter(None, match.groups()))) + 1 for match in found if match), default=0)


def weight_of(family: Family, name: str) -> Weight:
    """Return where the tensor that we call ``name`` comes from.

    Args:
        family: Of the decoder.
        name: Ours, such as "blocks.3.mlp_out.weight".
    """
    if not name.startswith("blocks."):
        return family.weights[name]
    _, number, inner = name.split(".", 2)
    weight = family.block_weights[inner]
    return replace(weight, names=tuple(part.format(number) for part in weight.names))


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
        weight = weight_of(family, name)
        stored = tensor.t().contiguous() if weight.transposed else tensor
        if weight.interleaved:
            stored = head_by_head(stored, config)
        names = [family.prefix + part for part in weight.names]
        found |= dict(zip(names, torch.split(stored, _sizes(len(names), stored, config)), strict=True))
    return found


def head_by_head(rows: Tensor, config: DecoderConfig) -> Tensor:
    """Return the outputs of a query/key/value product in the order in which some families store them.

    Args:
        rows: [3 H W, any], or as a bias [3 H W], all queries first.
        config: Of the decoder.
    """
    return rows.view(3, config.heads, config.head_width, -1).transpose(0, 1).reshape(rows.shape)


def _sizes(parts: int, stored: Tensor, config: DecoderConfig) -> list[int]:
    """Rows of each of the tensors that ours is made of."""
    if parts == 3:
        query, shared = (heads * config.head_width for heads in (config.heads, config.key_value_heads))
        return [query, shared, shared]
    return [len(stored) // parts] * parts


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
    """Return the SHA-256 that identifies the config and weights in a Hugging Face folder, of all files that are there.

    Those of large files are remembered, see ``tailtune.models.hashes``.
    """
    weights = [remembered_sha256(file) for file in SafetensorsFolder(folder).files]
    return sha256_bytes("\n".join([sha256_file(folder / "config.json"), *weights]).encode())
