"""How the optimiser is driven: groups and their rates, batches that make one step, averages judged and kept."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from support.features import model_features
from support.texts import random_tokens
from tailtune.errors import TrainingDiverged
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features, Indices
from tailtune.methods.averages import trained_weights
from tailtune.methods.descent import Descent, Epoch, Lessons, Step, TailSettings, fit_tail, judged
from tailtune.methods.losses import Objective
from tailtune.methods.rates import parameter_groups
from tailtune.methods.scorers import TailScorer
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder
from tailtune.text.windows import Windows

TEXTS = 50
TOKENS = random_tokens(np.random.default_rng(2).integers(1, 14, TEXTS).tolist(), seed=9)
LABELS = np.random.default_rng(3).integers(0, 3, TEXTS)
SEVERAL = np.random.default_rng(4).integers(0, 2, (TEXTS, 3))
# 36 texts in groups of 16 leave one of 4: a last group smaller than a batch of 8.
TRAIN, VALIDATION = np.arange(36), np.arange(36, 50)
WEIGHTS = np.array([0.3, 2.0, 1.0], dtype=np.float32)
# Windows of a text for each of 20 texts; 50 in all.
COUNTS = np.array([1, 4, 2, 3, 2, 1, 5, 2, 3, 2, 1, 4, 2, 3, 2, 1, 5, 2, 3, 2])


@pytest.fixture
def features(tiny_llama: Path, tmp_path: Path) -> Features:
    return model_features(tiny_llama, tmp_path, TOKENS, Wanted(states=(2, 3)))


def new(model: Path, *, blocks: int = 1) -> TailScorer:
    return new_tail(load_decoder(model), blocks=blocks, depth=4, classes=3, seed=0)


def gradients(tail: TailScorer) -> Tensor:
    return torch.cat([tensor.grad.flatten() for tensor in tail.parameters() if tensor.grad is not None])


def steps_taken(
    model: Path,
    features: Features,
    settings: TailSettings,
    *,
    labels: Indices = LABELS,
    class_weights: NDArray[np.float32] | None = None,
    train: Indices = TRAIN,
) -> list[tuple[float, Tensor]]:
    """Return the loss and the gradient of every step of one epoch."""
    tail, taken = new(model), []
    for event in fit_tail(
        tail,
        features,
        labels,
        train=train,
        validation=np.empty(0, dtype=np.int64),
        settings=settings,
        class_weights=class_weights,
    ):
        if isinstance(event, Step):
            taken.append((event.loss, gradients(tail).clone()))
    return taken


@pytest.mark.parametrize(
    "objective",
    [Objective(), Objective(label_smoothing=0.2), Objective(loss="focal")],
    ids=["plain", "smooth", "focal"],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["alike", "weighted"])
@pytest.mark.parametrize("kind", ["texts", "windows", "several"])
def test_batches_of_one_step_are_one_large_batch(
    tiny_llama: Path, features: Features, kind: str, weights: NDArray[np.float32] | None, objective: Objective
) -> None:
    """Losses and gradients are those of the large batch to 1e-6, whatever rows weigh, in the last smaller group too."""
    labels, train = (SEVERAL if kind == "several" else LABELS), TRAIN
    if kind == "windows":
        offsets = np.concatenate(([0], np.cumsum(COUNTS)))
        features.windows = Windows(offsets=offsets, lengths=COUNTS, full_lengths=COUNTS, merge="mean")
        labels, train = LABELS[: len(COUNTS)], np.arange(14)
    taught: dict[str, Any] = {"labels": labels, "class_weights": weights, "train": train}
    # A rate of nearly nothing: the optimiser would blow up rounding, each gradient is compared at the same weights.
    large = TailSettings(epochs=1, batch_size=16, learning_rate=1e-12, objective=objective)
    whole = steps_taken(tiny_llama, features, large, **taught)
    for size, batches in ((8, 2), (4, 4), (1, 16)):
        settings = replace(large, batch_size=size, accumulation=batches)
        parts = steps_taken(tiny_llama, features, settings, **taught)
        assert len(parts) == len(whole) == 3
        for (loss, gradient), (expected, wanted) in zip(parts, whole, strict=True):
            assert loss == pytest.approx(expected, rel=1e-6)
            assert (gradient - wanted).norm() <= 1e-6 * wanted.norm()


def test_the_last_group_is_not_divided_by_the_full_number(tiny_llama: Path, features: Features) -> None:
    """A loop that divides each batch's loss by the number of batches gets the last, smaller group wrong by as much."""
    settings = TailSettings(epochs=1, batch_size=8, accumulation=2, learning_rate=1e-12)
    *_, (loss, gradient) = steps_taken(tiny_llama, features, settings)
    alone = replace(settings, accumulation=1)
    *_, (expected, wanted) = steps_taken(tiny_llama, features, alone)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert gradient.norm().item() == pytest.approx(wanted.norm().item(), rel=1e-5), (
        "the same four texts, alone in their group"
    )


def test_the_gradient_is_clipped_once_a_step(tiny_llama: Path, features: Features) -> None:
    """The sum over the batches is clipped, not each batch's part: the direction is that of the large batch."""
    large = TailSettings(epochs=1, batch_size=16, learning_rate=1e-12, clip_norm=0.1)
    parts = replace(large, batch_size=4, accumulation=4)
    for (_, wanted), (_, gradient) in zip(
        steps_taken(tiny_llama, features, large), steps_taken(tiny_llama, features, parts), strict=True
    ):
        assert gradient.norm().item() == pytest.approx(0.1, rel=1e-4)
        assert (gradient - wanted).norm() <= 1e-5 * wanted.norm()


def test_a_schedule_counts_steps_and_not_batches(tiny_llama: Path, features: Features) -> None:
    """36 texts in groups of 16 are 3 steps an epoch; the linear rate ends with the last of them."""
    settings = TailSettings(epochs=2, batch_size=4, accumulation=4, learning_rate=6e-3, schedule="linear")
    events = fit_tail(new(tiny_llama), features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings)
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.learning_rate for step in steps] == pytest.approx([6e-3, 5e-3, 4e-3, 3e-3, 2e-3, 1e-3])
    assert {step.steps for step in steps} == {6}


def first_moves(model: Path, features: Features, settings: TailSettings) -> dict[str, float]:
    """Return how far the first step moved each tensor: Adam's first step is the rate itself, without weight decay."""
    tail = new(model, blocks=2)
    before = {name: tensor.detach().clone() for name, tensor in tail.named_parameters()}
    for event in fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings):
        assert isinstance(event, Step)
        assert event.learning_rate == pytest.approx(max(1.0, settings.head_factor) * 1e-3)
        break
    after = dict(tail.named_parameters())
    return {name: (after[name] - value).abs().max().item() for name, value in before.items()}


def test_lower_blocks_and_the_head_have_rates_of_their_own(tiny_llama: Path, features: Features) -> None:
    """Each block learns at so much of the rate above it; final norm and head at the top's, the head by its factor."""
    settings = TailSettings(learning_rate=1e-3, weight_decay=0.0, layer_decay=0.5, head_factor=4.0)
    moved = first_moves(tiny_llama, features, settings)
    for name, by in moved.items():
        share = 4.0 if name.startswith("head") else 0.5 if ".blocks.2." in name else 1.0
        assert by == pytest.approx(share * 1e-3, rel=2e-2), name
    assert {name.split(".")[2] for name in moved if ".blocks." in name} == {"2", "3"}


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2", "tiny_bert"])
def test_embeddings_are_below_the_lowest_block(family: str, request: pytest.FixtureRequest) -> None:
    """One step more of decay than it, positions and their norm too; every trained tensor is in one group."""
    decoder = load_decoder(request.getfixturevalue(family))
    tail = new_tail(decoder, blocks=4, depth=4, classes=3, seed=0, embeddings=True, kind="full")
    groups = parameter_groups(tail, rate=1.0, layer_decay=0.5, head_factor=3.0, weight_decay=0.1, decayed="all")
    rates = {id(tensor): group["lr"] for group in groups for tensor in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups) == len(list(tail.parameters()))
    for name, tensor in tail.named_parameters():
        if name.startswith("head"):
            expected = 3.0
        elif ".blocks." in name:
            expected = 0.5 ** (3 - int(name.split(".")[2]))
        else:
            expected = 1.0 if "final_norm" in name else 0.5**4
        assert rates[id(tensor)] == expected, name


def test_norms_and_biases_can_be_spared_decay(tiny_gpt2: Path, tmp_path: Path) -> None:
    """With a gradient of nothing but decay: matrices shrink, and of one dimension all or none."""
    features = model_features(tiny_gpt2, tmp_path, TOKENS, Wanted(states=(3,)))
    shrunk = {}
    for decayed in ("all", "matrices"):
        settings = TailSettings(learning_rate=1e-2, weight_decay=1.0, decayed=decayed)
        tail = new(tiny_gpt2)
        lessons = Lessons(tail, features, LABELS, train=TRAIN, objective=Objective(), class_weights=None)
        descent = Descent(lessons, settings, steps=1)
        for tensor in tail.parameters():
            tensor.grad = torch.zeros_like(tensor)
        before = {name: tensor.detach().clone() for name, tensor in tail.named_parameters()}
        descent._optimizer.step()
        shrunk[decayed] = {
            name: not torch.equal(tensor, before[name])
            for name, tensor in tail.named_parameters()
            if before[name].any()
        }
        for name, tensor in tail.named_parameters():
            if shrunk[decayed].get(name):
                torch.testing.assert_close(tensor.detach(), 0.99 * before[name])
    assert all(shrunk["all"].values())
    flat = {name for name, tensor in new(tiny_gpt2).named_parameters() if tensor.ndim == 1}
    assert {name for name, moved in shrunk["matrices"].items() if not moved} == flat
    assert len(flat) > 5


def after_each_step(
    model: Path, features: Features, settings: TailSettings
) -> tuple[TailScorer, list[dict[str, Tensor]], list[Epoch]]:
    """Return the tail as it ends, its weights after every step, and the epochs."""
    tail, seen, epochs = new(model), [], []
    for event in fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings):
        if isinstance(event, Step):
            seen.append({name: tensor.clone() for name, tensor in trained_weights(tail).items()})
        else:
            epochs.append(event)
    return tail, seen, epochs


AVERAGED = TailSettings(epochs=6, batch_size=8, learning_rate=3e-3, seed=6)


@pytest.mark.parametrize("given", [{"ema": 0.8}, {"average_last": 3}], ids=["ema", "last"])
@pytest.mark.parametrize("patience", [None, 1])
def test_what_is_judged_is_what_is_kept(
    tiny_llama: Path, features: Features, given: dict[str, float], patience: int | None
) -> None:
    """The kept weights are the average at the best epoch, and score what was reported; the steps go on as ever."""
    settings = replace(AVERAGED, patience=patience)
    _, plain_steps, _ = after_each_step(tiny_llama, features, replace(AVERAGED, epochs=12))
    tail, steps, epochs = after_each_step(tiny_llama, features, replace(settings, epochs=12, **given))  # type: ignore[arg-type]
    for name in steps[0]:
        assert all(torch.equal(a[name], b[name]) for a, b in zip(steps, plain_steps, strict=False))
    best = max(epoch.epoch for epoch in epochs if epoch.best)
    assert len(epochs) == (12 if patience is None else best + patience)
    loss, accuracy = (float(part.mean()) for part in judged(tail, features, LABELS, VALIDATION))
    assert (loss, accuracy) == (epochs[best - 1].validation_loss, epochs[best - 1].validation_accuracy)
    each = math.ceil(len(TRAIN) / 8)
    if "ema" in given:
        shares = 0.8 ** np.arange(best * each)[::-1]
        among = steps[: best * each]
    else:
        among = steps[each - 1 : best * each : each][-3:]
        shares = np.ones(len(among))
    for name, tensor in tail.named_parameters():
        expected = sum(share * weights[name].double() for share, weights in zip(shares, among, strict=True))
        torch.testing.assert_close(tensor.double(), expected / shares.sum(), rtol=1e-5, atol=1e-6)


def test_without_validation_the_last_average_is_kept(tiny_llama: Path, features: Features) -> None:
    """No row chooses: the mean over the last two epochs is the classifier."""
    tail, ends = new(tiny_llama), []
    settings = replace(AVERAGED, average_last=2)
    nobody = np.empty(0, dtype=np.int64)
    for event in fit_tail(tail, features, LABELS, train=TRAIN, validation=nobody, settings=settings):
        if isinstance(event, Epoch):
            ends.append(tail.head.weight.detach().clone())
    torch.testing.assert_close(tail.head.weight.detach(), (ends[-1] + ends[-2]) / 2)
    assert not torch.equal(tail.head.weight, ends[-1])


class Dropping(TailScorer):
    """A tail that drops some of its states in training."""

    def forward(self, states_TD: Tensor, layout: object) -> Tensor:
        dropped = nn.functional.dropout(states_TD, 0.5, training=self.training)
        return super().forward(dropped, layout)  # type: ignore[arg-type]


def test_evaluation_drops_nothing_and_draws_nothing(tiny_llama: Path, features: Features) -> None:
    """With something that drops out: scores are those in use, and the numbers drawn in training are as without them."""
    losses = {}
    for rows in (VALIDATION, VALIDATION[:0]):
        torch.manual_seed(5)
        tail = Dropping(new(tiny_llama).decoder, 3)
        start = new(tiny_llama)
        tail.load_state_dict(start.state_dict())
        events = list(fit_tail(tail, features, LABELS, train=TRAIN, validation=rows, settings=AVERAGED))
        losses[len(rows)] = [event.loss for event in events if isinstance(event, Step)]
        if len(rows):
            best = min(event.validation_loss for event in events if isinstance(event, Epoch))
            assert float(judged(tail, features, LABELS, rows)[0].mean()) == best
    assert losses[0] == losses[len(VALIDATION)]
    plain = fit_tail(new(tiny_llama), features, LABELS, train=TRAIN, validation=VALIDATION, settings=AVERAGED)
    assert losses[0] != [event.loss for event in plain if isinstance(event, Step)]


def test_what_is_frozen_stays_and_is_in_no_group(tiny_llama: Path, features: Features) -> None:
    """Of a tail that is trained in part, the rest keeps its bytes; the head alone still learns."""
    tail = new(tiny_llama)
    tail.decoder.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in tail.decoder.state_dict().items()}
    start = tail.head.weight.detach().clone()
    settings = replace(AVERAGED, ema=0.9)
    list(fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tail.decoder.state_dict().items())
    assert not torch.equal(tail.head.weight, start)


def test_loss_and_weights_are_single_precision(tiny_llama: Path, features: Features) -> None:
    """Head, scores, loss and what the optimiser keeps."""
    tail = new(tiny_llama)
    lessons = Lessons(tail, features, LABELS, train=TRAIN, objective=Objective(), class_weights=WEIGHTS)
    assert lessons.loss(TRAIN[:8]).dtype == torch.float32
    descent = Descent(lessons, TailSettings(), steps=1)
    descent.step(TRAIN[:8])
    kept = [value for state in descent._optimizer.state.values() for value in state.values()]
    assert {tensor.dtype for tensor in (*tail.parameters(), *kept)} == {torch.float32}


def test_a_rate_that_is_still_to_be_found_trains_nothing(tiny_llama: Path, features: Features) -> None:
    """Forgetting to look for it is a mistake in the code, and must not pass for a rate."""
    with pytest.raises(ValueError, match="learning rate is to be found first"):
        list(
            fit_tail(
                new(tiny_llama),
                features,
                LABELS,
                train=TRAIN,
                validation=VALIDATION,
                settings=TailSettings(learning_rate=None),
            )
        )


def test_a_part_of_a_step_that_blows_up_is_told(tiny_llama: Path, features: Features) -> None:
    """The sum over the batches of a step is what is looked at."""
    tail = new(tiny_llama)
    tail.head.weight.data.fill_(math.inf)
    settings = TailSettings(batch_size=4, accumulation=3)
    with pytest.raises(TrainingDiverged, match="in step 1 "):
        list(fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings))
