"""The losses of a tail are the published ones: PyTorch's cross-entropy, smoothed or not, and the focal loss by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tailtune.methods.losses import Objective

WEIGHTS = torch.tensor([0.4, 1.0, 3.5])


def batch(*, rows: int = 40, spread: float = 3.0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return scores that want a gradient, some confidently right and some confidently wrong, and the classes."""
    random = np.random.default_rng(5)
    scores = torch.from_numpy(spread * random.standard_normal((rows, 3))).to(dtype)
    return scores.requires_grad_(True), torch.from_numpy(random.integers(0, 3, rows))


def focal_by_hand(scores: Tensor, targets: Tensor, weights: Tensor | None, gamma: float) -> Tensor:
    """Return the formula of Lin et al. 2017 as it is printed, one text after the other, in double precision."""
    terms, total = [], 0.0
    for row, target in zip(scores.double(), targets.tolist(), strict=True):
        p = row.exp()[target] / row.exp().sum()
        alpha = 1.0 if weights is None else float(weights[target])
        terms.append(-alpha * (1 - p) ** gamma * p.log())
        total += alpha
    return torch.stack(terms).sum() / total


def gradient(loss: Tensor, scores: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss, scores)
    return found


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_cross_entropy_is_pytorchs(weights: Tensor | None, smoothing: float) -> None:
    """Loss and gradient equal Szegedy's smoothing written out: each label is (1 - e) of its class and e / C of each."""
    scores, targets = batch(dtype=torch.float64)
    own = Objective(label_smoothing=smoothing)(scores, targets, None if weights is None else weights.double())
    of_class = torch.ones(3, dtype=torch.float64) if weights is None else weights.double()
    smoothed = (1 - smoothing) * functional.one_hot(targets, 3) + smoothing / 3
    by_hand = -(smoothed * of_class * scores.log_softmax(1)).sum() / of_class[targets].sum()
    theirs = functional.cross_entropy(
        scores, targets, weight=None if weights is None else of_class, label_smoothing=smoothing
    )
    assert torch.equal(own, theirs)
    torch.testing.assert_close(own, by_hand)
    torch.testing.assert_close(gradient(own, scores), gradient(by_hand, scores))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_the_published_formula(weights: Tensor | None, gamma: float) -> None:
    """Value and gradient, in fp32, against the formula in double precision."""
    scores, targets = batch()
    own = Objective(loss="focal", focal_gamma=gamma)(scores, targets, weights)
    by_hand = focal_by_hand(scores, targets, weights, gamma)
    torch.testing.assert_close(own.double(), by_hand, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(gradient(own, scores), gradient(by_hand, scores), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gamma_zero_is_cross_entropy_bit_for_bit(weights: Tensor | None) -> None:
    """Loss and gradient are the same numbers, however sure the scores are, 1 - p = 0 among them."""
    for spread in (0.1, 3.0, 60.0):
        scores, targets = batch(spread=spread)
        focal = Objective(loss="focal", focal_gamma=0.0)(scores, targets, weights)
        plain = functional.cross_entropy(scores, targets, weight=weights)
        assert torch.equal(focal, plain)
        assert torch.equal(gradient(focal, scores), gradient(plain, scores))


@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 2.0])
def test_focal_gradients_are_finite_where_a_class_is_certain(gamma: float) -> None:
    """In fp32 p is 1 from a lead of 17 nats on, where (1 - p)^gamma has no slope; right and wrong texts alike."""
    scores = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 0.0], [17.0, 0.0, -5.0]], requires_grad=True)
    targets = torch.tensor([0, 0, 0])
    loss = Objective(loss="focal", focal_gamma=gamma)(scores, targets)
    found = gradient(loss, scores)
    assert loss.item() == pytest.approx(200 / 3, rel=1e-4)
    assert torch.isfinite(found).all()
    assert found[0].abs().max() < 1e-6
    np.testing.assert_allclose(found[1], [-1 / 3, 1 / 3, 0.0], atol=1e-4)


def test_sure_texts_have_less_say() -> None:
    """What the focal loss is for: the say of a text that is right at 0.9 falls from a sixth to under a twentieth."""
    scores = torch.tensor([[math.log(9.0), 0.0], [0.0, 0.0]], requires_grad=True)
    shares = []
    for gamma in (0.0, 2.0):
        loss = Objective(loss="focal", focal_gamma=gamma)(scores, torch.tensor([0, 0]))
        lengths = gradient(loss, scores).norm(dim=1)
        shares.append(float(lengths[0] / lengths.sum()))
    assert shares[0] == pytest.approx(0.1 / 0.6)
    assert shares[1] < 0.05


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (Objective(), 0.9),
        (Objective(label_smoothing=0.2), 0.82),
        (Objective(loss="focal", focal_gamma=2.0), None),
    ],
)
def test_what_the_losses_do_to_probabilities(objective: Objective, expected: float | None) -> None:
    """Of rows that are of a class nine times in ten, plain cross-entropy says 0.9; the other two say less.

    Smoothed labels say (1 - e) 0.9 + e / 2. That is why held-out rows are judged by the plain log loss.
    """
    targets = torch.tensor([0] * 9 + [1])
    chances = np.linspace(0.5, 0.99, 491)
    losses = [objective(torch.tensor([[math.log(p / (1 - p)), 0.0]] * 10), targets).item() for p in chances]
    best = float(chances[int(np.argmin(losses))])
    if expected is None:
        assert 0.5 < best < 0.8
    else:
        assert best == pytest.approx(expected, abs=2e-3)
