"""A decoder of a pretrained model's shape with drawn weights: what pretraining brings is what this one lacks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tailtune.errors import ConfigError
from tailtune.models.decoder import Decoder, OnePlusRMSNorm
from tailtune.models.parts import Shape, make_part
from tailtune.models.weights import fill
from tailtune.storage import canonical_json, sha256_bytes

# As GPT-2 starts (section 2.3 of its paper, and the reference library).
_DEVIATION = 0.02
_RESIDUAL = ("attention_output", "mlp_out")
# Rises when other values are drawn for the same seed.
_SCHEME = 1


def random_part(shape: Shape, *, depth: int, seed: int, final_norm: bool = True) -> Decoder:
    """Return the lowest blocks of a decoder with drawn weights, in fp32 on the CPU, in eval mode.

    Matrices and tables are normal with deviation 0.02, those that add to the states with 0.02 / sqrt(2 L); norms are
    ones, biases zeros. Each tensor has a generator of its own, so that a cut decoder is the lower part of the whole.

    Args:
        shape: Of the model.
        depth: Blocks held.
        seed: Other seeds give other weights.
        final_norm: Hold the final norm.

    Raises:
        ConfigError: If the model has no native family.
    """
    part = make_part(shape, blocks=depth, final_norm=final_norm)
    if not isinstance(part, Decoder):
        said = f"--weights random is for native families; {getattr(shape, 'title', 'it')} runs through transformers"
        raise ConfigError(said, hint="take another model")
    tensors = {}
    for path, module in part.named_modules():
        for name, like in module.named_parameters(recurse=False):
            whole = f"{path}.{name}"
            tensors[whole] = _drawn(module, name, like, whole, blocks=shape.blocks, seed=seed)
    fill(part, tensors, where="random weights")
    return part


def _drawn(module: nn.Module, name: str, like: Tensor, whole: str, *, blocks: int, seed: int) -> Tensor:
    if name == "bias":
        return torch.zeros(like.shape)
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return torch.zeros(like.shape) if isinstance(module, OnePlusRMSNorm) else torch.ones(like.shape)
    own = int(sha256_bytes(f"{seed} {whole}".encode())[:15], 16)
    deviation = _DEVIATION / (math.sqrt(2 * blocks) if whole.split(".")[-2] in _RESIDUAL else 1.0)
    return torch.empty(like.shape).normal_(0.0, deviation, generator=torch.Generator().manual_seed(own))


def random_fingerprint(shape: Shape, seed: int) -> str:
    """Return the SHA-256 that identifies such weights; never that of a pretrained model.

    Args:
        shape: Of the model.
        seed: Of its weights.
    """
    fields = {"weights": "random", "scheme": _SCHEME, "seed": seed, "shape": shape.as_json()}
    return sha256_bytes(canonical_json(fields).encode())
