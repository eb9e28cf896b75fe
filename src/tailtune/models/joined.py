"""One product as several that are trained apart, where the reference library keeps them apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Joined(nn.Module):
    """Linear layers of the same input; their outputs lie side by side, as those of one fused product do.

    An adapter of low rank on the fused product is another one than those on its parts: it would have to share its rank
    among queries, keys and values.

    Args:
        parts: Name -> layer, in the order of the outputs.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Return [rows, outputs of all parts] of ``x`` [rows, inputs]."""
        return torch.cat([part(x) for part in self.children()], dim=-1)
