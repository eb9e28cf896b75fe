"""The frozen products of a decoder in 8-bit integers: a quarter of the bytes, and about four times the speed where the
processor multiplies int8.

Weights are rounded once, one scale per output; each row (token) is rounded as it comes, with a scale of its own, so no
text's numbers depend on its neighbours. Sums are exact 32-bit integers (``torch._int_mm``: oneDNN on x86, the product
that torchao calls too, without its layers above). Norms, rotation, attention and the residual stream stay fp32.

Shape letters as in ``tailtune.models.decoder``; K inputs and N outputs of a product.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from tailtune.errors import ConfigError
from tailtune.models.decoder import Decoder
from tailtune.models.mapped import tensors_of
from tailtune.models.onednn import fastest_linear
from tailtune.models.parts import Part

Precision = Literal["fp32", "int8"]

_LARGEST = 127
# Below this gain in the products alone int8 is not worth another set of features: about a third of a pass is not
# products.
WORTH = 1.5
# Narrower models spend their time elsewhere than in products.
_SMALLEST = 256
_TRIAL_ROWS = 256
# Values rounded at once: 16 MB of fp32.
_PIECE = 2**22
_TRIALS = 10


def rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the int8 rows nearest to ``x`` [rows, K] and their scales [rows, 1]: x = rows * scales, about."""
    scale = x.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny * _LARGEST) / _LARGEST
    return (x / scale).round_().to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer without gradients: int8 weights, activations rounded row by row.

    Args:
        inputs: K.
        outputs: N.
        bias: Whether it has one, in fp32.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(outputs))
        self.register_buffer("bias", torch.empty(outputs) if bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, N] fp32 of ``x`` [rows, K] fp32."""
        rows, row_scale = rounded(x)
        out = torch._int_mm(rows, self.weight.t()).float().mul_(self.scale).mul_(row_scale)
        return out if self.bias is None else out.add_(self.bias)


class Int8Embedding(nn.Module):
    """A table of rows in int8 with one scale each.

    Args:
        rows: How many.
        width: D.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(rows, width, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(rows))

    def forward(self, ids: Tensor) -> Tensor:
        """Return [T, D] fp32 of ``ids`` [T]."""
        return self.weight[ids].float().mul_(self.scale[ids].unsqueeze(1))


def int8_twin(decoder: Part) -> Decoder:
    """Replace every product and the embedding inside ``decoder`` by an unfilled int8 one; return it.

    Learned positions stay fp32: a small table with few, large outliers.

    Args:
        decoder: Built on the meta device; filled afterwards.

    Raises:
        ConfigError: If it is not native.
    """
    decoder = _native(decoder)
    if decoder.embedding is not None:
        decoder.embedding = Int8Embedding(decoder.config.vocabulary, decoder.config.width)
    return decoder.replace_products(
        nn.Linear, lambda layer: Int8Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    )


def to_int8(decoder: Part) -> Decoder:
    """Return a frozen decoder of the same blocks with its products in int8; it shares the tensors that stay fp32.

    Args:
        decoder: fp32, without final norm: a backbone. Of a mapped one a tensor at a time is read.

    Raises:
        ConfigError: If it is not native.
    """
    decoder = _native(decoder)
    twin = unfilled_twin(decoder)
    wanted, given = twin.state_dict(), tensors_of(decoder)
    state: dict[str, Tensor] = {}
    for name, tensor in wanted.items():
        if tensor.dtype == torch.int8:
            state[name], state[name.removesuffix("weight") + "scale"] = _rounded_in_pieces(given[name])
        elif name in given:
            state[name] = given[name].float()
    twin.load_state_dict(state, assign=True)
    return twin.eval().requires_grad_(False)


def unfilled_twin(decoder: Decoder) -> Decoder:
    """Return a decoder of the same blocks with int8 products, on the meta device."""
    with torch.device("meta"):
        return int8_twin(
            Decoder(
                decoder.config,
                first=decoder.first,
                blocks=len(decoder.blocks),
                embeddings=decoder.embedding is not None,
                final_norm=decoder.final_norm is not None,
            )
        )


def _native(decoder: Part) -> Decoder:
    if not isinstance(decoder, Decoder):
        raise ConfigError("int8 is for native models, this one runs through transformers", hint="--precision fp32")
    return decoder


def _rounded_in_pieces(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The int8 rows and their scales [rows], without temporaries of the weight's size."""
    rows = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    scales = torch.empty(len(weight), device=weight.device)
    step = max(1, _PIECE // weight.shape[1])
    for piece, into, scale in zip(*(torch.split(whole, step) for whole in (weight, rows, scales)), strict=True):
        values, found = rounded(piece.float())
        into.copy_(values), scale.copy_(found.flatten())
    return rows, scales


def int8_is_faster(width: int, mlp_width: int) -> bool:
    """Return whether this processor's int8 product of an MLP's shape beats its fastest fp32 one by WORTH; takes 0.1 s.

    Args:
        width: D.
        mlp_width: F.
    """
    if width < _SMALLEST:
        return False
    layer = nn.Linear(width, mlp_width, bias=False).requires_grad_(False)
    exact, x = fastest_linear(layer), torch.rand(_TRIAL_ROWS, width)
    rows, _ = rounded(x)
    weight, _ = rounded(layer.weight)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for each other wherever other programs use the machine too
    try:
        trials = [
            (_seconds(lambda: exact(x)), _seconds(lambda: torch._int_mm(rows, weight.t()))) for _ in range(_TRIALS)
        ]
    finally:
        torch.set_num_threads(threads)
    fp32, int8 = (min(seconds) for seconds in zip(*trials, strict=True))
    return bool(fp32 > WORTH * int8)


def _seconds(product: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    product()
    return time.perf_counter() - started
