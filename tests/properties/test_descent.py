"""Batches that make one step are one batch, and averages are the sums that define them, whatever the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tailtune.methods.averages import LastEpochs, MovingAverage
from tailtune.methods.descent import Schedule, TailSettings, rate_factor
from tailtune.methods.losses import Objective

OBJECTIVES = st.builds(
    Objective,
    loss=st.sampled_from(["cross-entropy", "focal"]),
    focal_gamma=st.floats(0.0, 4.0),
    label_smoothing=st.floats(0.0, 0.5),
)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    objective=OBJECTIVES,
    weighted=st.booleans(),
    rows_are=st.sampled_from(["alike", "shared", "several"]),
)
def test_losses_of_parts_by_their_mass_are_the_loss_of_all(
    seed: int, sizes: list[int], objective: Objective, weighted: bool, rows_are: str
) -> None:
    """However a batch is cut: classes and rows weigh in the parts as in the whole."""
    random = np.random.default_rng(seed)
    rows, several, shared = sum(sizes), rows_are == "several", rows_are == "shared"
    scores = torch.from_numpy(3 * random.standard_normal((rows, 3)))
    targets = torch.from_numpy(random.integers(0, 2, (rows, 3)) if several else random.integers(0, 3, rows))
    weights = torch.from_numpy(random.uniform(0.1, 3.0, 3)) if weighted and not several else None
    shares = torch.from_numpy(random.uniform(0.1, 3.0, rows)) if shared else None
    whole = objective(scores, targets, weights, shares)
    split = [torch.split(tensor, sizes) for tensor in (scores, targets, torch.arange(rows))]
    total = torch.zeros((), dtype=torch.float64)
    for part, truth, places in zip(*split, strict=True):
        loss = objective(part, truth, weights, None if shares is None else shares[places])
        total += loss * objective.mass(truth, weights) / objective.mass(targets, weights)
    torch.testing.assert_close(total, whole, rtol=1e-9, atol=1e-12)


def layer(values: Tensor) -> nn.Linear:
    """Return a layer whose weights are ``values``; its bias is frozen."""
    made = nn.Linear(len(values), 1)
    made.weight.data.copy_(values[None])
    made.bias.requires_grad_(False)
    return made


@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 40),
    decay=st.floats(0.01, 0.999),
    last=st.integers(1, 6),
)
def test_averages_are_what_they_say(seed: int, steps: int, decay: float, last: int) -> None:
    """The moving one: each step's weights times decay^(steps since), over the sum of these. The other: a plain mean."""
    taken = torch.from_numpy(np.random.default_rng(seed).standard_normal((steps, 4))).float()
    moving, ends = MovingAverage(decay), LastEpochs(last)
    for values in taken:
        moving.after_step(layer(values))
        ends.after_epoch(layer(values))
    shares = decay ** torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    expected = (shares[:, None] * taken).sum(dim=0) / shares.sum()
    assert moving.weights is not None and ends.weights is not None
    assert set(moving.weights) == set(ends.weights) == {"weight"}
    torch.testing.assert_close(moving.weights["weight"][0].double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ends.weights["weight"][0], taken[-last:].mean(dim=0))


@given(
    steps=st.integers(1, 300),
    warmup=st.floats(0.0, 0.99),
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
)
def test_no_rate_is_above_the_peak_or_below_zero(steps: int, warmup: float, schedule: Schedule) -> None:
    """It rises, then never rises again."""
    how = replace(TailSettings(), schedule=schedule, warmup_fraction=warmup)
    factors = [rate_factor(step, steps, how) for step in range(steps)]
    rising = round(warmup * steps)
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert factors[:rising] == sorted(factors[:rising])
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
