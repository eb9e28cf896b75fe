"""The frozen fp32 products through oneDNN, their weights laid out as it wants them: same sums, another order.

PyTorch hands fp32 products to MKL, which keeps its best kernels for its maker's processors: on two cores of an AMD EPYC
oneDNN gives 160 to 220 GFLOP/s for this project's shapes at 36 rows and 205 to 220 at 2,048, MKL 115 and 150 to 200
(docs/log.md). These are the operators that ``torch.compile`` puts into frozen models, called without its compiler.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Rows that the layout is chosen for; at 36 rows the same layout is as fast as one chosen for 36.
_ROWS = 2048
# Narrower products end before the choice of kernel matters.
_SMALLEST = 256


class OneDnnLinear(nn.Module):
    """A linear layer without gradients.

    Args:
        layer: Whose weight and bias it takes, fp32 on the processor.
        copy: Keep a copy of the weight in oneDNN's layout.
    """

    def __init__(self, layer: nn.Linear, *, copy: bool) -> None:
        super().__init__()
        weight = layer.weight.detach()
        # In no state dict: a decoder is saved from the layers this one stands in for.
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS) if copy else weight
        self._bias = None if layer.bias is None else layer.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, N] of ``x`` [rows, K]."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out


def fastest_linear(layer: nn.Linear, *, copy: bool = True) -> nn.Module:
    """Return what computes a frozen fp32 layer fastest on the processor: a OneDnnLinear, or the layer itself.

    Args:
        layer: fp32, on the processor.
        copy: As for OneDnnLinear.
    """
    narrow = min(layer.in_features, layer.out_features) < _SMALLEST
    return layer if narrow or not here() else OneDnnLinear(layer, copy=copy)


def here() -> bool:
    """Return whether this build of PyTorch has oneDNN."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
