"""Training a tail on stored states is training the whole model with its lower blocks frozen, step by step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from support.features import first_token_task, model_features
from support.texts import backbone, random_tokens
from tailtune.errors import TrainingDiverged
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features
from tailtune.methods.descent import Epoch, Schedule, Step, TailSettings, fit_tail, rate_factor
from tailtune.methods.scorers import TailScorer, score_features
from tailtune.methods.tail import new_tail
from tailtune.models.decoder import Decoder
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokens

TEXTS = 48
LENGTHS = np.random.default_rng(2).integers(1, 14, TEXTS)
TOKENS = random_tokens(LENGTHS.tolist(), seed=9)
LABELS = np.random.default_rng(3).integers(0, 3, TEXTS)
TRAIN, VALIDATION = np.arange(32), np.arange(32, 48)
TWENTY_STEPS = TailSettings(epochs=5, batch_size=8, learning_rate=1e-3, seed=6)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order, so that equal runs are equal to the bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def features(tiny_llama: Path, tmp_path: Path) -> Features:
    return model_features(tiny_llama, tmp_path, TOKENS, Wanted(states=(2, 3)))


def trained(
    model: Path,
    features: Features,
    settings: TailSettings,
    *,
    blocks: int = 1,
    validation: Sequence[int] | np.ndarray[Any, np.dtype[np.int64]] = VALIDATION,
    class_weights: np.ndarray[Any, np.dtype[np.float32]] | None = None,
) -> tuple[TailScorer, list[Step], list[Epoch]]:
    tail = new_tail(load_decoder(model), blocks=blocks, depth=4, classes=3, seed=settings.seed)
    events = list(
        fit_tail(
            tail,
            features,
            LABELS,
            train=TRAIN,
            validation=np.asarray(validation, dtype=np.int64),
            settings=settings,
            class_weights=class_weights,
        )
    )
    return tail, [e for e in events if isinstance(e, Step)], [e for e in events if isinstance(e, Epoch)]


def whole_model_losses(
    logits: Callable[[Tensor], Tensor], trainable: list[nn.Parameter], settings: TailSettings
) -> list[float]:
    """Return the losses of the plainest loop there is: one text at a time through every block, mean loss, AdamW.

    Args:
        logits: [L] token ids -> [C] scores.
        trainable: What the optimizer gets.
        settings: Batch size, rates and the seed of the order.
    """
    assert settings.learning_rate is not None
    optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    order, losses = np.random.default_rng(settings.seed), []
    for _ in range(settings.epochs):
        shuffled = order.permutation(TRAIN)
        for start in range(0, len(shuffled), settings.batch_size):
            batch = shuffled[start : start + settings.batch_size]
            scores = torch.stack([logits(torch.from_numpy(TOKENS.take(np.array([text])).ids).long()) for text in batch])
            loss = functional.cross_entropy(scores, torch.from_numpy(LABELS[batch]))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if settings.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(trainable, settings.clip_norm)
            optimizer.step()
            losses.append(loss.item())
    return losses


def reference_classifier(model: Path, blocks: int, head: Tensor) -> tuple[Any, list[nn.Parameter]]:
    """Return the reference library's classifier with our head, and what is trained: top blocks, final norm, head."""
    from transformers import AutoModelForSequenceClassification

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = AutoModelForSequenceClassification.from_pretrained(model, num_labels=3).eval()
    classifier.requires_grad_(False)
    classifier.score.weight.copy_(head)
    body = classifier.base_model
    layers, norm = (body.h, body.ln_f) if hasattr(body, "h") else (body.layers, body.norm)
    parts = [*layers[-blocks:], norm, classifier.score]
    trainable = [parameter for part in parts for parameter in part.parameters()]
    for parameter in trainable:
        parameter.requires_grad_(True)
    return classifier, trainable


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_twenty_steps_equal_the_reference_library(
    family: str, blocks: int, clip_norm: float | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Losses follow those of the reference classifier that computes all tokens through all blocks, to 1e-5."""
    model: Path = request.getfixturevalue(family)
    settings = TailSettings(epochs=5, batch_size=8, learning_rate=1e-3, clip_norm=clip_norm, seed=6)
    features = model_features(model, tmp_path, TOKENS, Wanted(states=(4 - blocks,)))
    start = new_tail(load_decoder(model), blocks=blocks, depth=4, classes=3, seed=settings.seed)
    classifier, trainable = reference_classifier(model, blocks, start.head.weight.detach())
    expected = whole_model_losses(lambda ids: classifier(ids[None]).logits[0], trainable, settings)
    _, steps, _ = trained(model, features, settings, blocks=blocks)
    assert len(steps) == 20
    np.testing.assert_allclose([step.loss for step in steps], expected, rtol=1e-5)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_twenty_steps_equal_our_decoder_in_full(family: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The same with our own decoder: stored states and one row of the last block change nothing."""
    model: Path = request.getfixturevalue(family)
    features = model_features(model, tmp_path, TOKENS, Wanted(states=(3,)))
    start = new_tail(load_decoder(model), blocks=1, depth=4, classes=3, seed=TWENTY_STEPS.seed)
    lower, upper = backbone(model), start.decoder

    def logits(ids: Tensor) -> Tensor:
        length = np.array([len(ids)])
        alone = Tokens(ids=ids.numpy().astype(np.int32), offsets=np.append(0, length), full_lengths=length)
        (piece,) = lower.run(alone, Wanted(states=(3,)))
        states = torch.from_numpy(piece.states[3])
        *_, (_, states) = upper.climb(states, upper.layout(piece.batch, states.device))
        assert upper.final_norm is not None
        scores: Tensor = start.head(upper.final_norm(states))[-1]
        return scores

    expected = whole_model_losses(logits, list(start.parameters()), TWENTY_STEPS)
    _, steps, _ = trained(model, features, TWENTY_STEPS)
    np.testing.assert_allclose([step.loss for step in steps], expected, rtol=1e-5)


def state_bytes(module: nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


def test_the_backbone_is_not_touched(tiny_llama: Path, features: Features) -> None:
    """After a fit every byte of the pretrained decoder is as before, and the optimizer never held a tensor of it."""
    given: list[Tensor] = []
    decoder = load_decoder(tiny_llama)
    before = state_bytes(decoder)
    tail = new_tail(decoder, blocks=2, depth=4, classes=3, seed=0)
    at_first = state_bytes(tail)
    hook = register_optimizer_step_pre_hook(
        lambda optimizer, arguments, named: given.extend(p for group in optimizer.param_groups for p in group["params"])
    )
    try:
        list(fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=TWENTY_STEPS))
    finally:
        hook.remove()
    assert state_bytes(decoder) == before
    assert {id(tensor) for tensor in given} == {id(tensor) for tensor in tail.parameters()}
    assert not {tensor.data_ptr() for tensor in given} & {tensor.data_ptr() for tensor in decoder.parameters()}
    assert all(value != at_first[name] for name, value in state_bytes(tail).items()), "every tensor of a tail learns"
    assert tail.decoder.embedding is None


def test_a_new_tail_holds_the_blocks_below_its_depth(tiny_llama: Path) -> None:
    """A tail that ends at depth 3 holds copies of blocks 1 and 2, and a head in ±1/sqrt(D) that the seed decides."""
    decoder: Decoder = load_decoder(tiny_llama)
    tail, same, other = (new_tail(decoder, blocks=2, depth=3, classes=3, seed=seed) for seed in (0, 0, 1))
    assert (tail.cut, tail.depth, list(tail.decoder.blocks)) == (1, 3, ["1", "2"])
    source = decoder.state_dict()
    for name, value in tail.decoder.state_dict().items():
        assert torch.equal(value, source[name])
    assert torch.equal(tail.head.weight, same.head.weight)
    assert not torch.equal(tail.head.weight, other.head.weight)
    assert 0.5 / math.sqrt(32) < tail.head.weight.abs().max() <= 1 / math.sqrt(32)
    assert [name for name, _ in tail.head.named_parameters()] == ["weight"]
    assert all(parameter.requires_grad for parameter in tail.parameters())


@pytest.mark.usefixtures("one_thread")
def test_the_seed_decides_everything(tiny_llama: Path, features: Features) -> None:
    """One thread, one seed: the same curve and weights to the bit, whatever drew random numbers in between."""
    settings = TailSettings(epochs=2, learning_rate=1e-3, seed=1)
    first, steps, epochs = trained(tiny_llama, features, settings)
    torch.manual_seed(99)
    np.random.default_rng().standard_normal(3)
    again, steps_again, epochs_again = trained(tiny_llama, features, settings)
    assert (steps_again, epochs_again) == (steps, epochs)
    assert state_bytes(again) == state_bytes(first)
    _, others, _ = trained(tiny_llama, features, TailSettings(epochs=2, learning_rate=1e-3, seed=2))
    assert [step.loss for step in others] != [step.loss for step in steps]


@pytest.mark.usefixtures("one_thread")
def test_evaluation_does_not_touch_training(tiny_llama: Path, features: Features) -> None:
    """With and without validation texts the steps are the same to the bit; only what is reported differs."""
    _, steps, epochs = trained(tiny_llama, features, TWENTY_STEPS)
    last, steps_without, epochs_without = trained(tiny_llama, features, TWENTY_STEPS, validation=[])
    assert steps_without == steps
    assert [epoch.train_loss for epoch in epochs_without] == [epoch.train_loss for epoch in epochs]
    assert all(math.isnan(epoch.validation_loss) and epoch.best for epoch in epochs_without)
    assert not any(parameter.requires_grad for parameter in last.parameters())


def validation_loss(tail: TailScorer, features: Features) -> float:
    logits = torch.from_numpy(score_features(tail, features, VALIDATION)).double()
    return functional.cross_entropy(logits, torch.from_numpy(LABELS[VALIDATION])).item()


def test_the_tail_ends_at_its_best_epoch(tiny_llama: Path, features: Features) -> None:
    """Random labels are learnt by heart and validation gets worse; the best epoch's weights come back."""
    tail, steps, epochs = trained(tiny_llama, features, TailSettings(epochs=8, learning_rate=3e-3, seed=6))
    losses = [epoch.validation_loss for epoch in epochs]
    assert len(epochs) == 8
    assert int(np.argmin(losses)) < 7, "the last epoch being best, this would show nothing"
    assert validation_loss(tail, features) == pytest.approx(min(losses), rel=1e-6)
    assert [epoch.best for epoch in epochs] == [loss < min([math.inf, *losses[:i]]) for i, loss in enumerate(losses)]
    by_epoch = np.array([step.loss for step in steps]).reshape(8, 4).mean(axis=1)
    np.testing.assert_allclose([epoch.train_loss for epoch in epochs], by_epoch)
    assert [step.step for step in steps] == list(range(1, 33))
    assert {step.steps for step in steps} == {32}


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_after_patience_epochs(tiny_llama: Path, features: Features, patience: int) -> None:
    """So many epochs without a better validation loss and it ends, with the best weights restored."""
    settings = TailSettings(epochs=40, learning_rate=3e-3, patience=patience, seed=6)
    tail, _, epochs = trained(tiny_llama, features, settings)
    best = max(epoch.epoch for epoch in epochs if epoch.best)
    assert len(epochs) == best + patience < 40
    assert validation_loss(tail, features) == pytest.approx(epochs[best - 1].validation_loss, rel=1e-6)


def test_the_gradient_is_clipped(tiny_llama: Path, features: Features) -> None:
    """With clip_norm no step uses a gradient longer than that; without, it does."""
    norms: dict[float | None, list[float]] = {0.25: [], None: []}
    for clip_norm, seen in norms.items():
        tail = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0)
        settings = TailSettings(epochs=1, clip_norm=clip_norm)
        for event in fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings):
            if isinstance(event, Step):
                gradients = [parameter.grad for parameter in tail.parameters() if parameter.grad is not None]
                seen.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))
    assert len(norms[0.25]) == len(norms[None]) == 4
    assert max(norms[0.25]) == pytest.approx(0.25, rel=1e-4)
    assert min(norms[None]) > 0.25


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 0.0, [1.0] * 8),
        ("constant", 0.25, [1 / 3, 2 / 3, *[1.0] * 6]),
        ("linear", 0.0, [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("linear", 0.5, [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", 0.5, [0.2, 0.4, 0.6, 0.8, 1.0, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5]),
    ],
)
def test_the_rate_warms_up_and_decays(schedule: Schedule, warmup: float, expected: list[float]) -> None:
    """It rises from above 0 to the peak, then follows its schedule; linear and cosine reach 0 after the last step."""
    settings = TailSettings(schedule=schedule, warmup_fraction=warmup)
    assert [rate_factor(step, 8, settings) for step in range(8)] == pytest.approx(expected)
    assert rate_factor(8, 8, settings) == pytest.approx(1.0 if schedule == "constant" else 0.0)


def test_steps_say_the_rate_they_used(tiny_llama: Path, features: Features) -> None:
    """The rate reported is peak times factor, and the one the optimizer used: a tenth of it moves weights less."""
    settings = TailSettings(epochs=2, learning_rate=1e-2, schedule="linear", warmup_fraction=0.25)
    _, steps, _ = trained(tiny_llama, features, settings)
    assert [s.learning_rate for s in steps] == pytest.approx([1e-2 * rate_factor(i, 8, settings) for i in range(8)])
    start = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0).head.weight
    moved = []
    for warmup in (0.0, 0.9):  # one step; in the second case the rate is halfway up
        one = TailSettings(
            epochs=1, batch_size=32, learning_rate=1e-3, weight_decay=0.0, warmup_fraction=warmup, seed=0
        )
        moved.append((trained(tiny_llama, features, one)[0].head.weight - start).abs().max().item())
    assert moved == pytest.approx([1e-3, 0.5e-3], rel=1e-2)


def test_class_weights_enter_the_loss(tiny_llama: Path, features: Features) -> None:
    """The first loss is the weighted mean of the first batch's cross-entropies; equal weights change nothing."""
    weights = np.array([0.5, 2.0, 1.0], dtype=np.float32)
    settings = TailSettings(epochs=1, batch_size=32)
    tail = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0)
    logits = torch.from_numpy(score_features(tail, features, TRAIN))
    each = functional.cross_entropy(logits, torch.from_numpy(LABELS[TRAIN]), reduction="none").numpy()
    of_rows = weights[LABELS[TRAIN]]
    _, (step,), _ = trained(tiny_llama, features, settings, class_weights=weights)
    assert step.loss == pytest.approx(float((each * of_rows).sum() / of_rows.sum()), rel=1e-5)
    _, (plain,), _ = trained(tiny_llama, features, settings)
    _, (equal,), _ = trained(tiny_llama, features, settings, class_weights=np.full(3, 3.0, dtype=np.float32))
    assert equal.loss == pytest.approx(plain.loss, rel=1e-6)
    assert plain.loss == pytest.approx(float(each.mean()), rel=1e-5)


def test_a_loss_that_blows_up_is_one_line(tiny_llama: Path, features: Features) -> None:
    """The step is named and a lower rate advised; steps before it were told."""
    steps: list[int] = []
    tail = new_tail(load_decoder(tiny_llama), blocks=1, depth=4, classes=3, seed=0)
    settings = TailSettings(epochs=3, learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"the training loss became (nan|inf) in step \d+") as caught:
        for event in fit_tail(tail, features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings):
            if isinstance(event, Step):
                steps.append(event.step)
    assert f"in step {len(steps) + 1}" in str(caught.value)
    assert "--learning-rate" in str(caught.value)


def test_a_validation_loss_that_blows_up_is_no_best_epoch(tiny_llama: Path, features: Features) -> None:
    """The last step alone can ruin the weights: then training has failed, and nothing is passed on as the best."""
    settings = TailSettings(epochs=1, batch_size=32, learning_rate=1e30)
    with pytest.raises(TrainingDiverged, match=r"the validation loss became (nan|inf) in step 1 "):
        trained(tiny_llama, features, settings)


def test_a_tail_learns_what_its_last_token_cannot_show(tiny_llama: Path, tmp_path: Path) -> None:
    """Classes told by the first token alone are learnt through the keys and values of the earlier tokens."""
    tokens, labels = first_token_task(80)
    features = model_features(tiny_llama, tmp_path, tokens, Wanted(states=(0,)))
    tail = new_tail(load_decoder(tiny_llama), blocks=2, depth=2, classes=2, seed=0)
    settings = TailSettings(epochs=12, learning_rate=3e-3)
    train, validation = np.arange(60), np.arange(60, 80)
    events = list(fit_tail(tail, features, labels, train=train, validation=validation, settings=settings))
    last = events[-1]
    assert isinstance(last, Epoch)
    assert max(event.validation_accuracy for event in events if isinstance(event, Epoch)) >= 0.95
