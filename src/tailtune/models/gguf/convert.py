"""GGUF files become Hugging Face folders: weights dequantised, config and tokenizer rebuilt from the metadata.

Reading and dequantising is the ``gguf`` package's work. Weights go from file to file a piece at a time, so that the
model is never in memory whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.errors import ModelError, setup_error
from tailtune.models.families import FAMILIES, read_config
from tailtune.models.gguf.configs import CONFIGS, Found, read_sizes, rotated
from tailtune.models.gguf.metadata import Metadata, is_gguf, open_gguf
from tailtune.models.gguf.rotary import FACTORS, LONG, SHORT, rotary
from tailtune.models.gguf.tensors import LAYOUTS, Part, Sizes
from tailtune.models.gguf.tokenizer import rebuild
from tailtune.models.gguf.values import Weight, dequantised, require_readable
from tailtune.models.safetensors_stream import Kind, SafetensorsWriter, in_file_order
from tailtune.progress import Progress, silent
from tailtune.storage import canonical_json

__all__ = ["convert_gguf", "is_gguf"]

_EMBEDDING = "token_embd.weight"
_DTYPES: Mapping[Kind, str] = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def convert_gguf(source: Path, folder: Path, *, progress: Progress = silent) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json made from a GGUF file.

    Args:
        source: The GGUF file.
        folder: Exists; the four files are written into it.
        progress: Told tensors done.

    Raises:
        ModelError: If the file is damaged, or its architecture, quantisation or tokenizer is not supported.
        SetupError: If the folder cannot be written.
    """
    metadata, tensors = open_gguf(source)
    architecture = metadata.text("general.architecture")
    if architecture not in LAYOUTS:
        raise ModelError(
            f"{source}: architecture {architecture!r} is not supported; supported: {', '.join(map(repr, LAYOUTS))}"
        )
    require_readable(tensors, source)
    factors = {name: tensors.pop(name) for name in (FACTORS, LONG, SHORT) if name in tensors}
    sizes = _sizes(metadata, architecture, tensors)
    parts = _parts(source, architecture, sizes, tensors)
    weights = {
        part.name: Weight(tensor=tensors[name], part=part, sizes=sizes, source=source) for name, part in parts.items()
    }
    config = _config(metadata, architecture, sizes, weights, factors)
    tokenizer, names = rebuild(metadata, architecture, sizes.vocabulary)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": sizes.context,
        **names,
    }
    try:
        _write_weights(folder / "model.safetensors", weights, progress)
        (folder / "config.json").write_text(canonical_json(config), encoding="utf-8")
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(canonical_json(described), encoding="utf-8")
    except OSError as error:
        raise setup_error(error, f"writing {folder}") from error


def _sizes(metadata: Metadata, architecture: str, tensors: Mapping[str, Any]) -> Sizes:
    """The sizes that the metadata tell; the vocabulary is as large as the embedding, which may be padded."""
    if _EMBEDDING not in tensors:
        raise ModelError(f"{metadata.source}: tensor {_EMBEDDING!r} is missing")
    return read_sizes(metadata, architecture, int(tensors[_EMBEDDING].shape[-1]))


def _parts(source: Path, architecture: str, sizes: Sizes, tensors: Mapping[str, Any]) -> dict[str, Part]:
    """What each tensor of the file is, by its GGUF name: all that are needed, and no other."""
    if sizes.blocks > len(tensors):
        raise ModelError(f"{source}: {sizes.blocks} blocks, but only {len(tensors)} tensors")
    known = LAYOUTS[architecture].parts(sizes.blocks)
    strange = [name for name in tensors if name not in known]
    if strange:
        raise ModelError(f"{source}: tensor {strange[0]!r} is not known in the {architecture} architecture")
    groups = {known[name].group for name in tensors} | {""}
    needed = {name: part for name, part in known.items() if part.group in groups}
    missing = [name for name in needed if name not in tensors]
    if missing:
        raise ModelError(f"{source}: {len(missing)} tensors are missing, {missing[0]!r} is the first")
    return needed


def _config(
    metadata: Metadata,
    architecture: str,
    sizes: Sizes,
    weights: Mapping[str, Weight],
    factors: Mapping[str, Any],
) -> dict[str, Any]:
    rotary_factors = {name: dequantised(tensor.data, tensor.tensor_type) for name, tensor in factors.items()}
    width = rotated(metadata, architecture, sizes)
    groups = frozenset(weight.part.group for weight in weights.values())
    found = Found(
        metadata=metadata,
        architecture=architecture,
        sizes=sizes,
        rotary=rotary(metadata, architecture, rotary_factors, width),
        groups=groups,
    )
    stored = Counter[Kind]()
    for weight in weights.values():
        stored[weight.kind] += int(weight.tensor.n_elements)
    config = {
        **CONFIGS[architecture](found),
        "dtype": _DTYPES[stored.most_common(1)[0][0]],
        "tie_word_embeddings": "head" not in groups,
    }
    if any(config["model_type"] in family.model_types for family in FAMILIES.values()):
        read_config(config)
    return config


def _write_weights(path: Path, weights: Mapping[str, Weight], progress: Progress) -> None:
    planned = in_file_order([weight.planned() for weight in weights.values()])
    with SafetensorsWriter(path, planned, metadata={"format": "pt"}) as writer:
        for number, tensor in enumerate(planned, start=1):
            writer.write(tensor.name, weights[tensor.name].read())
            progress("converting", number, len(planned), "tensors")
