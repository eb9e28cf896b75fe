"""The loss that a tail descends: cross-entropy, with smoothed labels or not, or the focal loss.

Held-out rows are judged by the plain log loss whatever was descended: it alone is least for the true probabilities
(the focal loss and smoothed labels are least for flatter ones, a weighted loss for those of other class shares), and
a probe, a tail and runs with other losses can only be compared by one measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["cross-entropy", "focal"]
Reduction = Literal["mean", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """What each step makes smaller.

    Attributes:
        loss: Which.
        focal_gamma: Of the focal loss; at 0 it is the cross-entropy.
        label_smoothing: Share of each label that goes to all classes alike, in [0, 1); of the cross-entropy.
    """

    loss: Loss = "cross-entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0

    def __call__(
        self, scores: Tensor, targets: Tensor, weights: Tensor | None = None, shares: Tensor | None = None
    ) -> Tensor:
        """Return the loss of a batch, a scalar: the mean over its rows, each weighing as its class does.

        Args:
            scores: [N, C] fp32 class scores.
            targets: [N] int64 class ids; or [N, C] fp32 shares of the classes, for the cross-entropy without weights;
                or [N, C] int64 0/1 where a text can have several: the binary cross-entropy, mean over texts and labels,
                whatever else was asked for (which ``label_aims`` refuses).
            weights: [C] weights of the classes; None for equal ones.
            shares: [N] how much each row counts beside its class, 1 on average; None for alike.
        """
        if targets.ndim == 2 and not targets.is_floating_point():
            return functional.binary_cross_entropy_with_logits(scores, targets.to(scores.dtype))
        if shares is None:
            return self._reduced(scores, targets, weights, "mean")
        losses = self._reduced(scores, targets, weights, "none")
        return (losses * shares).sum() / (len(targets) if weights is None else weights[targets].sum())

    @staticmethod
    def mass(targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return what the sum over a batch is divided by, a scalar: its rows, or the sum of their classes' weights.

        The loss of several batches read as one is the mean of their losses, each weighing its mass.

        Args:
            targets: As in a call.
            weights: As in a call.
        """
        if weights is None or targets.ndim == 2:
            return torch.tensor(float(len(targets)))
        return weights[targets].sum()

    def _reduced(self, scores: Tensor, targets: Tensor, weights: Tensor | None, reduction: Reduction) -> Tensor:
        if self.loss == "focal":
            return focal_loss(scores, targets, weights, gamma=self.focal_gamma, reduction=reduction)
        return functional.cross_entropy(
            scores, targets, weight=weights, label_smoothing=self.label_smoothing, reduction=reduction
        )


def focal_loss(
    scores: Tensor, targets: Tensor, weights: Tensor | None, *, gamma: float, reduction: Reduction = "mean"
) -> Tensor:
    """Return the mean of -alpha (1 - p)^gamma ln p of the true classes (Lin et al. 2017), alpha the class weight.

    The mean is that of PyTorch's cross-entropy: divided by the sum of the weights. At gamma 0 the two are one, bit for
    bit: every ln p is multiplied by 1, and the rest is the same function.

    Args:
        scores: [N, C] class scores.
        targets: [N] int64 class ids.
        weights: [C]; None for equal ones.
        gamma: At least 0.
        reduction: "none" for the [N] losses themselves.
    """
    logs = functional.log_softmax(scores, dim=1)
    # 1 - p without cancellation; above 0, since below 1 the power has no finite slope there.
    others = (-torch.expm1(logs)).clamp_min(torch.finfo(logs.dtype).tiny)
    return functional.nll_loss(others**gamma * logs, targets, weight=weights, reduction=reduction)
