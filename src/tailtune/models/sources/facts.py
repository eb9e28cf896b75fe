"""What a model is, from its config, its tokenizer and the headers of its files: no weight is read."""

from __future__ import annotations

import json
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.errors import ModelError
from tailtune.models.hashes import remembered_sha256
from tailtune.models.parts import kind_of, read_shape, title_of
from tailtune.models.sources.catalog import resolve
from tailtune.models.sources.folders import TOKENIZERS
from tailtune.progress import Progress, silent
from tailtune.storage import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Shapes:
    """What the headers of a model's files declare.

    Attributes:
        parameters: Number of weights.
        blocks: Transformer layers, by their numbers in tensor names; at least 1.
        products: (rows, columns) of each matrix in the lowest of them.
    """

    parameters: int
    blocks: int
    products: tuple[tuple[int, int], ...]

    @property
    def block_weights(self) -> int:
        """Weights of the matrix products in all blocks."""
        return self.blocks * sum(rows * columns for rows, columns in self.products)


def inspect(reference: str, *, progress: Progress = silent) -> dict[str, Any]:
    """Return what a model is.

    Raises:
        ConfigError: If there is no such model.
        ModelError: If its family is not supported, or a file is damaged.
    """
    model = resolve(reference, progress=progress)
    raw = read_json(model.path / "config.json")
    shape = read_shape(raw)
    files = sorted(model.path.glob("*.safetensors"))
    shapes = read_shapes(model.path)
    return {
        "name": model.name,
        "path": str(model.path),
        "source": model.source,
        "licence": model.licence,
        "family": title_of(shape),
        "kind": kind_of(raw),
        "tokenizer": tokenizer_kind(model.path),
        "blocks": shape.blocks,
        "width": shape.width,
        "heads": shape.heads,
        "key_value_heads": shape.key_value_heads,
        "context": shape.context,
        "vocabulary": shape.vocabulary,
        "parameters": shapes.parameters,
        "bytes": sum(file.stat().st_size for file in files),
        "fp32_bytes": 4 * shapes.parameters,
        "sha256": {file.name: remembered_sha256(file) for file in files},
    }


def tokenizer_kind(folder: Path) -> str:
    """Return the kind of a folder's tokenizer and the files it is read from, as a person would say it.

    Raises:
        ModelError: If it is damaged.
    """
    found = next((parts for parts in TOKENIZERS if all((folder / part).is_file() for part in parts)), ())
    if found != ("tokenizer.json",):
        return f"BPE of bytes ({' and '.join(found)})" if found else "none"
    raw = read_json(folder / found[0])
    kind = str((raw.get("model") or {}).get("type") or "of unknown kind")
    of_bytes = '"ByteLevel"' in json.dumps([raw.get("pre_tokenizer"), raw.get("decoder")])
    return kind + (" of bytes" if of_bytes else "")


def read_shapes(folder: Path) -> Shapes:
    """Return what the headers of the safetensors files in ``folder`` declare.

    Raises:
        ModelError: If one is damaged.
    """
    tensors: dict[str, list[int]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= _header(file)
    numbered = {name: found for name in tensors if (found := re.search(r"(?:^|\.)(\d+)\.", name))}
    numbers = sorted({int(found.group(1)) for found in numbered.values()})
    lowest = [name for name, found in numbered.items() if int(found.group(1)) == numbers[0]]
    return Shapes(
        parameters=sum(math.prod(shape) for shape in tensors.values()),
        blocks=max(1, len(numbers)),
        products=tuple((shape[0], shape[1]) for name in lowest if len(shape := tensors[name]) == 2),
    )


def _header(file: Path) -> dict[str, list[int]]:
    """Name -> shape of every tensor that a safetensors header declares."""
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(stream.read(size))
        return {name: list(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(f"{file}: not a whole safetensors file: {error}", hint="download it again") from error
