"""OpenAI's original GPT-2 files become a Hugging Face folder, without TensorFlow.

A folder holds ``checkpoint``, ``hparams.json``, ``encoder.json``, ``vocab.bpe`` and ``model.ckpt.*``; other fine-tuning
programs write the same names with other numbers behind ``model``.
"""

from __future__ import annotations

import re
from pathlib import Path

from tailtune.errors import ModelError
from tailtune.models.first_gpt2.folder import Arrays, Shape, require_finite, write_gpt2_folder
from tailtune.models.first_gpt2.tensor_bundle import TensorBundle
from tailtune.progress import Progress, silent
from tailtune.storage import read_json
from tailtune.text.gpt2_files import read_tokenizer

_HYPERPARAMETERS = "hparams.json"
# Ours -> OpenAI's.
_KEYS = {"vocabulary": "n_vocab", "context": "n_ctx", "width": "n_embd", "heads": "n_head", "blocks": "n_layer"}
# Above any GPT-2 (1,600 wide, 48 blocks), so that no list of names grows without end.
_MOST, _MOST_BLOCKS = 1_000_000, 1_000


def is_openai_checkpoint(path: Path) -> bool:
    """Say whether ``path`` is a folder of OpenAI's GPT-2 release, or of a program that writes the same."""
    return (path / _HYPERPARAMETERS).is_file() and any(path.glob("*.index"))


def convert_openai(source: Path, folder: Path, *, progress: Progress = silent) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json made from OpenAI's files.

    Args:
        source: The folder.
        folder: Exists; the four files are written into it.
        progress: Told tensors done.

    Raises:
        ModelError: If a file is missing or damaged, or the weights are not those that hparams.json describes.
        SetupError: If they cannot be written.
    """
    shape = _shape(source / _HYPERPARAMETERS)
    bundle = TensorBundle(_prefix(source))
    tokenizer = read_tokenizer(source)
    names = {name: _openai_name(name) for name in shape.tensors()}
    _require_names(bundle, set(names.values()))
    tensors: Arrays = {}
    for number, (name, size) in enumerate(shape.tensors().items(), start=1):
        record = bundle.records[names[name]]
        # Products were convolutions over one position: [1, input, output].
        if record.shape not in (size, (1, *size)):
            raise ModelError(
                f"{bundle.index}: {names[name]} has shape {list(record.shape)}, {_HYPERPARAMETERS} says {list(size)}"
            )
        tensors[name] = bundle.read(names[name]).reshape(size)
        require_finite(tensors[name], f"{source}: {names[name]}")
        progress("converting", number, len(names), "tensors")
    write_gpt2_folder(folder, shape, tensors, tokenizer)


def _shape(path: Path) -> Shape:
    found = read_json(path)
    for key in _KEYS.values():
        value, most = found.get(key), _MOST_BLOCKS if key == "n_layer" else _MOST
        if type(value) is not int or not 0 < value <= most:
            raise ModelError(f"{path}: {key} is {value!r}, expected a whole number from 1 to {most:,}")
    shape = Shape(**{ours: found[theirs] for ours, theirs in _KEYS.items()})
    if shape.width % shape.heads:
        raise ModelError(f"{path}: n_embd {shape.width} is no multiple of n_head {shape.heads}")
    return shape


def _prefix(source: Path) -> Path:
    """The common beginning of the newest checkpoint's files: ``checkpoint`` names it, where it is there."""
    said = source / "checkpoint"
    if said.is_file():
        found = re.search(r'^model_checkpoint_path: "([^"\n]+)"', said.read_text("utf-8", errors="replace"), re.M)
        if found is None:
            raise ModelError(f"{said}: names no model_checkpoint_path")
        # A folder that was moved names the place where it was: only the last part counts.
        return source / Path(found.group(1)).name
    indices = sorted(source.glob("*.index"))
    if len(indices) != 1:
        raise ModelError(f"{source}: {len(indices)} *.index files, and no file named checkpoint that says which")
    return indices[0].with_suffix("")


def _openai_name(name: str) -> str:
    """``h.0.attn.c_attn.weight`` is ``model/h0/attn/c_attn/w`` there."""
    *parts, last = re.sub(r"^h\.(\d+)", r"h\1", name).split(".")
    if parts[-1] in ("wte", "wpe"):
        return f"model/{parts[-1]}"
    norm = parts[-1].startswith("ln_")
    return "/".join(("model", *parts, "b" if last == "bias" else "g" if norm else "w"))


def _require_names(bundle: TensorBundle, needed: set[str]) -> None:
    """Refuse other weights than those; what is not below ``model/`` (counters, an optimiser's state) is not one."""
    held = {name for name in bundle.records if name.startswith("model/")}
    for what, names in (("are missing", needed - held), ("are not known in GPT-2", held - needed)):
        if names:
            some = ", ".join(sorted(names)[:4]) + (", …" if len(names) > 4 else "")
            hint = f"does {_HYPERPARAMETERS} belong to it?"
            raise ModelError(f"{bundle.index}: {len(names)} tensors {what}: {some}", hint=hint)
