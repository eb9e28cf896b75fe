"""The reference library as an oracle: tiny random models from its own config classes, every weight perturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from support.architectures import Architecture
from tailtune.models.decoder import Decoder, Packed
from tailtune.text.packing import Batch, pack


def write_reference(architecture: Architecture, folder: Path) -> Any:
    """Return a random reference model in eval mode, also saved to ``folder``.

    Norms and biases are perturbed: at their defaults of one and zero a swapped norm or a lost bias goes unseen.
    """
    torch.manual_seed(17)
    model = architecture.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def ragged(lengths: list[int], *, vocabulary: int = 97, seed: int = 5) -> list[NDArray[np.int64]]:
    """Return random token ids, one array per length; 0 and 1 are left out, they are pads in some models."""
    random = np.random.default_rng(seed)
    return [random.integers(2, vocabulary, length) for length in lengths]


def packed(decoder: Decoder, texts: list[NDArray[np.int64]]) -> tuple[Batch, Tensor, Packed]:
    """Return the batch that packs ``texts``, their packed ids [T] and the layout."""
    batch = pack(np.arange(len(texts)), np.array([len(text) for text in texts]))
    ids = torch.from_numpy(np.concatenate([texts[i] for i in batch.texts]))
    return batch, ids, decoder.layout(batch, torch.device("cpu"))


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected value."""
    return float((got - expected).abs().max() / expected.abs().max())
