"""The reference library as an oracle: tiny random models from its own config classes, every weight perturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tailtune.models.decoder import Decoder, Packed
from tailtune.text.packing import Batch, pack

_COMMON: dict[str, Any] = {"vocab_size": 97, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
_LLAMA: dict[str, Any] = {
    **_COMMON,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=64, **_COMMON))


def _llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(**{**_LLAMA, **changes}))


def _mistral() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**{**_LLAMA, "num_key_value_heads": 2, "sliding_window": None}))


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "gpt2": _gpt2,
    "llama": lambda: _llama(num_key_value_heads=4),
    "llama-grouped": lambda: _llama(num_key_value_heads=2, tie_word_embeddings=True, rope_theta=100000.0),
    "llama-one-key-head": lambda: _llama(num_key_value_heads=1),
    "llama-biased": lambda: _llama(num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    "llama-wide-heads": lambda: _llama(num_key_value_heads=2, head_dim=16),
    "mistral": _mistral,
}


def write_reference(name: str, folder: Path) -> Any:
    """Return a random reference model in eval mode, also saved to ``folder``.

    Norms and biases are perturbed: at their defaults of one and zero a swapped norm or a lost bias goes unseen.
    """
    torch.manual_seed(17)
    model = ARCHITECTURES[name]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def ragged(lengths: list[int], *, vocabulary: int = 97, seed: int = 5) -> list[NDArray[np.int64]]:
    """Return random token ids, one array per length."""
    random = np.random.default_rng(seed)
    return [random.integers(0, vocabulary, length) for length in lengths]


def packed(decoder: Decoder, texts: list[NDArray[np.int64]]) -> tuple[Batch, Tensor, Packed]:
    """Return the batch that packs ``texts``, their packed ids [T] and the layout."""
    batch = pack(np.arange(len(texts)), np.array([len(text) for text in texts]))
    ids = torch.from_numpy(np.concatenate([texts[i] for i in batch.texts]))
    return batch, ids, decoder.layout(batch, torch.device("cpu"))


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float((got - expected).abs().max() / expected.abs().max())
