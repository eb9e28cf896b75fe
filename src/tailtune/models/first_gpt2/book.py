"""State dicts of the book's GPTModel ("Build a Large Language Model (From Scratch)") become a Hugging Face folder.

Its names say nothing about the number of heads, and the tokenizer lies elsewhere: both are given, or those of GPT-2.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ConfigError, ModelError
from tailtune.models.first_gpt2.folder import Arrays, Shape, cached_tokenizer, require_finite, write_gpt2_folder
from tailtune.models.first_gpt2.pickled import PICKLED, to_safetensors
from tailtune.progress import Progress, silent
from tailtune.text.gpt2_files import read_tokenizer

Floats = NDArray[np.float32]

# What every GPTModel has, and hardly anything else.
_OWN = ("tok_emb.weight", "trf_blocks.0.att.W_query.weight")
_ONCE = {"tok_emb.weight": "wte.weight", "pos_emb.weight": "wpe.weight"}
_ONCE |= {"final_norm.scale": "ln_f.weight", "final_norm.shift": "ln_f.bias"}
_NORMS = {"ln_1": "norm1", "ln_2": "norm2"}
_PRODUCTS = {"attn.c_proj": "att.out_proj", "mlp.c_fc": "ff.layers.0", "mlp.c_proj": "ff.layers.2"}
_ATTENTION = ("W_query", "W_key", "W_value")
# Width -> heads of GPT-2 small, medium, large and xl.
_HEADS = {768: 12, 1024: 16, 1280: 20, 1600: 25}


@dataclass(frozen=True, kw_only=True, slots=True)
class BookModel:
    """A GPTModel as arrays.

    Attributes:
        shape: Of its decoder.
        tensors: Hugging Face's name -> values, fp32, without the output head.
        head: [C, D] the output head: one row per token, or per class.
        bias: [C] of the head; None where it has none.
    """

    shape: Shape
    tensors: Arrays
    head: Floats
    bias: Floats | None


def is_book_state(path: Path) -> bool:
    """Say whether ``path`` is a state dict of the book's GPTModel, from its names alone: nothing is unpickled."""
    if not path.is_file() or path.suffix not in (".safetensors", *PICKLED):
        return False
    try:
        if path.suffix == ".safetensors":
            return set(_OWN) <= _names(path, path)
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            content = archive.open(pickles[0]).read(1 << 24) if pickles else b""
    except (ModelError, zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError):
        return False
    return all(name.encode() in content for name in _OWN)


def convert_book(
    source: Path,
    folder: Path,
    *,
    tokenizer: Path | None = None,
    heads: int | None = None,
    progress: Progress = silent,
) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json made from a GPTModel's state dict.

    Args:
        source: A ``.safetensors`` file, or a ``.pth``, which is read in a process of its own.
        folder: Exists; the four files are written into it.
        tokenizer: Folder or file of the tokenizer; default: GPT-2's own, fetched when it is not in the cache.
        heads: Attention heads; default: those of GPT-2 of the same width.
        progress: Told tensors done.

    Raises:
        ModelError: If it is no GPTModel's, or damaged, or the tokenizer does not fit.
        ConfigError: If the number of heads is not known.
        SetupError: If the tokenizer cannot be fetched or the files cannot be written.
    """
    write_book_folder(read_book(source, heads=heads, progress=progress), folder, tokenizer=tokenizer, progress=progress)


def write_book_folder(
    model: BookModel, folder: Path, *, tokenizer: Path | None = None, progress: Progress = silent
) -> None:
    """Write the Hugging Face folder of a model that was read; its head is left out where it has another size.

    Args:
        model: From ``read_book``.
        folder: Exists.
        tokenizer: Folder or file of the tokenizer; default: GPT-2's own.
        progress: Told what is fetched.

    Raises:
        ModelError: If the tokenizer cannot be read or does not fit.
        SetupError: If the tokenizer cannot be fetched or the files cannot be written.
    """
    content = cached_tokenizer(progress=progress) if tokenizer is None else read_tokenizer(tokenizer)
    embedding = model.tensors["wte.weight"]
    own = model.head.shape == embedding.shape and not np.array_equal(model.head, embedding)
    write_gpt2_folder(
        folder, model.shape, {**model.tensors, **({"lm_head.weight": model.head} if own else {})}, content
    )


def read_book(source: Path, *, heads: int | None = None, progress: Progress = silent) -> BookModel:
    """Return the model in a state dict of the book's GPTModel.

    Args:
        source: A ``.safetensors`` file, or a ``.pth``, which is read in a process of its own.
        heads: Attention heads; default: those of GPT-2 of the same width.
        progress: Told tensors done.

    Raises:
        ModelError: If it is no GPTModel's, a tensor is missing, misshapen or not finite, or the file is damaged.
        ConfigError: If the number of heads is not known.
    """
    if not source.is_file():
        raise ModelError(f"{source}: no such file")
    if source.suffix == ".safetensors":
        return _Reader(source, source).model(heads, progress)
    with tempfile.TemporaryDirectory(prefix="tailtune-") as name:
        return _Reader(to_safetensors(source, Path(name)), source).model(heads, progress)


def _names(path: Path, source: Path) -> set[str]:
    """The names in a safetensors file that was made from, or is, ``source``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            return set(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{source}: not a whole safetensors file: {error}", hint="copy it again") from error


class _Reader:
    """The tensors of one safetensors file under the book's names, each checked as it is read.

    Args:
        path: The file.
        source: What people call it: the file that it was made from.
    """

    def __init__(self, path: Path, source: Path) -> None:
        from safetensors import safe_open

        self.source = source
        self.left = _names(path, source)
        self.file: Any = safe_open(path, framework="pt")

    def model(self, heads: int | None, progress: Progress) -> BookModel:
        if absent := [name for name in _OWN if name not in self.left]:
            raise ModelError(f"{self.source}: not a state dict of the book's GPTModel: it has no {absent[0]}")
        shape = self._shape(heads)
        biased = "trf_blocks.0.att.W_query.bias" in self.left
        tensors, wanted = {}, shape.tensors()
        for number, (name, size) in enumerate(wanted.items(), start=1):
            tensors[name] = self._converted(name, size, biased)
            progress("converting", number, len(wanted), "tensors")
        head = self._read("out_head.weight", (self._size("out_head.weight")[0], shape.width))
        bias = self._read("out_head.bias", head.shape[:1]) if "out_head.bias" in self.left else None
        surplus = sorted(name for name in self.left if not name.endswith(".att.mask"))
        if surplus:
            hint = "merge the LoRA layers first" if any(".lora." in name for name in surplus) else None
            raise ModelError(
                f"{self.source}: {len(surplus)} tensors are not known in the book's GPTModel: {surplus[0]}, …",
                hint=hint,
            )
        return BookModel(shape=shape, tensors=tensors, head=head, bias=bias)

    def _shape(self, heads: int | None) -> Shape:
        vocabulary, width = self._size("tok_emb.weight")
        numbers = {int(found[1]) for name in self.left if (found := re.match(r"trf_blocks\.(\d{1,4})\.", name))}
        if heads is None and width not in _HEADS:
            raise ConfigError(
                f"{self.source}: {width} wide, which GPT-2 is not, so that its number of heads is not known",
                hint="give it with --heads",
            )
        heads = _HEADS[width] if heads is None else heads
        if heads < 1 or width % heads:
            raise ConfigError(f"--heads {heads}: the model is {width} wide, which is no multiple of it")
        return Shape(
            vocabulary=vocabulary,
            context=self._size("pos_emb.weight")[0],
            width=width,
            heads=heads,
            blocks=max(numbers) + 1,
        )

    def _size(self, name: str) -> tuple[int, int]:
        """The shape of a matrix."""
        if name not in self.left:
            raise ModelError(f"{self.source}: {name} is missing")
        size = tuple(self.file.get_slice(name).get_shape())
        if len(size) != 2:
            raise ModelError(f"{self.source}: {name} has shape {list(size)}, expected a matrix")
        return size[0], size[1]

    def _converted(self, name: str, size: tuple[int, ...], biased: bool) -> Floats:
        """One tensor under Hugging Face's name: products are stored [input, output] there, [output, input] here."""
        if name in _ONCE.values():
            return self._read(next(ours for ours, theirs in _ONCE.items() if theirs == name), size)
        _, block, *inner, part = name.split(".")
        place, key = f"trf_blocks.{block}", ".".join(inner)
        if key in _NORMS:
            return self._read(f"{place}.{_NORMS[key]}.{'scale' if part == 'weight' else 'shift'}", size)
        if key in _PRODUCTS:
            values = self._read(f"{place}.{_PRODUCTS[key]}.{part}", size[::-1])
            return np.ascontiguousarray(values.T)
        if part == "bias" and not biased:
            return np.zeros(size, dtype=np.float32)
        single = (*size[:-1], size[-1] // len(_ATTENTION))
        parts = [self._read(f"{place}.att.{each}.{part}", single[::-1]).T for each in _ATTENTION]
        return np.ascontiguousarray(np.concatenate(parts, axis=-1))

    def _read(self, name: str, size: tuple[int, ...]) -> Floats:
        if name not in self.left:
            raise ModelError(f"{self.source}: {name} is missing")
        self.left.remove(name)
        values: Floats = self.file.get_tensor(name).float().numpy()
        if values.shape != size:
            raise ModelError(f"{self.source}: {name} has shape {list(values.shape)}, expected {list(size)}")
        require_finite(values, f"{self.source}: {name}")
        return values
