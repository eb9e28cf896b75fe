"""A frozen decoder's twin that computes the same faster on the processor: its products through oneDNN, laid out.

Memory for time: a second copy of the weights. The decoder itself stays as it is, and is what gets saved.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from tailtune.models.decoder import Decoder
from tailtune.models.int8 import Int8Linear, rounded, unfilled_twin
from tailtune.models.onednn import fastest_linear, here

# Up to so many bytes of weights a second copy, laid out, is kept; above that oneDNN lays them out in each call. In fp32
# that takes 5 % longer at 2,048 rows and 15 % at 36; in int8 5 % and 60 % (docs/log.md).
COPY_LIMIT = 2**30
# What stands for 0 in unsigned activations: oneDNN's fast int8 product takes no signed ones.
_ZERO = 128


class OneDnnInt8Linear(nn.Module):
    """An Int8Linear whose weight was laid out once: the same integers are summed, so the same numbers come out.

    Args:
        layer: On the processor.
    """

    def __init__(self, layer: Int8Linear) -> None:
        super().__init__()
        # In no state dict: a decoder is saved from the layers this one stands in for.
        self._weight = torch.ops.onednn.qlinear_prepack(layer.weight, None)
        self._scale, self._bias = layer.scale, layer.bias
        self._zero_points = torch.zeros(len(layer.scale), dtype=torch.int32)

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, N] fp32 of ``x`` [rows, K] fp32."""
        rows, row_scale = rounded(x)
        unsigned = rows.view(torch.uint8) ^ _ZERO  # two's complement: the same as adding 128
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, _ZERO, self._weight, self._scale, self._zero_points),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
        out = out.mul_(row_scale)
        return out if self._bias is None else out.add_(self._bias)


@functools.cache
def int8_is_exact() -> bool:
    """Return whether this processor's product of laid out int8 weights sums without overflow.

    Those from before VNNI add pairs of products in 16 bits.
    """
    layer = Int8Linear(256, 256, bias=False)
    layer.weight.fill_(127)
    layer.scale.fill_(1.0)
    x = torch.full((2, 256), 127.0)
    x[1] *= -1
    try:
        found = OneDnnInt8Linear(layer)(x)
    except (RuntimeError, AttributeError):  # no such operator, or no kernel for it
        return False
    return torch.equal(found, layer(x))


def fastest_twin(decoder: Decoder) -> Decoder:
    """Return a backbone that computes what ``decoder`` does, through oneDNN where that is faster.

    Args:
        decoder: Frozen, of any device and precision; the twin of one on the processor shares all but the products and
            has no final norm, others are returned as they are.
    """
    exact, int8 = list(decoder.products(nn.Linear)), list(decoder.products(Int8Linear))
    weights = [layer.weight for layer in exact] + [layer.weight for layer in int8]
    if not here() or not weights or any(weight.device.type != "cpu" for weight in weights):
        return decoder
    copy = sum(weight.nbytes for weight in weights) <= COPY_LIMIT
    if not int8 and all(weight.dtype == torch.float32 for weight in weights):
        return decoder.below(len(decoder.blocks)).replace_products(
            nn.Linear, lambda layer: fastest_linear(layer, copy=copy)
        )
    if exact or not copy or not int8_is_exact():
        return decoder
    twin = unfilled_twin(decoder)
    twin.load_state_dict(decoder.state_dict(), assign=True)
    return twin.eval().requires_grad_(False).replace_products(Int8Linear, OneDnnInt8Linear)
