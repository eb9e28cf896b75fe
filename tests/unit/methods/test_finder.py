"""A learning rate that is looked for: what is tried, which is taken, and that nothing is left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from support.features import first_token_task, model_features, rows_of
from support.tiny_models import write_tiny_llama
from tailtune.errors import TrainingDiverged
from tailtune.features.backbone import Wanted
from tailtune.features.store import Features
from tailtune.methods.averages import trained_weights
from tailtune.methods.descent import Epoch, Step, TailSettings, fit_tail
from tailtune.methods.finder import (
    APART,
    FEWEST_STEPS,
    MIDDLES,
    MOST_TRIED,
    SHARE,
    WIDTH,
    Doubles,
    Found,
    Tried,
    alike_places,
    find_rate,
    kind_of,
    search,
    settle_rate,
)
from tailtune.methods.lora import LoraSettings, add_lora
from tailtune.methods.scorers import Kind, TailScorer
from tailtune.methods.tail import new_tail
from tailtune.methods.trained import train_part
from tailtune.models.parts import Part
from tailtune.models.weights import load_decoder

TOKENS, LABELS = first_token_task(160)
TRAIN, VALIDATION = np.arange(120), np.arange(120, 160)
SETTINGS = TailSettings(epochs=8, learning_rate=None)


class Task:
    """A tiny model of some width whose tail of two blocks can learn what the first token says."""

    def __init__(self, folder: Path, width: int) -> None:
        model = write_tiny_llama(folder / "model", width=width)
        self.decoder: Part = load_decoder(model)
        self.features: Features = model_features(model, folder, TOKENS, Wanted(states=(0,)))

    def tail(self, seed: int = 0) -> TailScorer:
        return new_tail(self.decoder, blocks=2, depth=2, classes=2, seed=seed)

    def found(self, seed: int = 0, settings: TailSettings = SETTINGS) -> Found:
        settings = replace(settings, seed=seed)
        return find_rate(self.tail(seed), self.features, LABELS, train=TRAIN, settings=settings)

    def trained(self, rate: float, seed: int, *, epochs: int) -> list[Epoch]:
        settings = replace(SETTINGS, learning_rate=rate, seed=seed, epochs=epochs)
        events = fit_tail(self.tail(seed), self.features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings)
        return [event for event in events if isinstance(event, Epoch)]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Task(tmp_path_factory.mktemp("narrow"), 32)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return Task(tmp_path_factory.mktemp("wide"), 128)


@functools.cache
def rates(task: Task) -> list[float]:
    return [task.found(seed).rate for seed in range(5)]


@pytest.mark.parametrize("width", ["narrow", "wide"])
def test_the_rate_found_is_stable_and_trains(width: str, request: pytest.FixtureRequest) -> None:
    """Over five seeds it stays within a factor of 3; each learns the task, where a hundred times as much is ruin."""
    task: Task = request.getfixturevalue(width)
    found = rates(task)
    assert max(found) <= 3.0 * min(found) * (1 + 1e-9)
    coin = np.log(2)
    for seed, rate in enumerate(found):
        losses = [epoch.train_loss for epoch in task.trained(rate, seed, epochs=4)]
        assert max(losses) < coin
        assert losses[-1] < 0.05
        try:
            assert task.trained(100 * rate, seed, epochs=1)[0].train_loss > 2 * coin
        except TrainingDiverged:
            continue


def test_a_wider_model_gets_a_lower_rate(narrow: Task, wide: Task) -> None:
    """As the best rate of Adam does."""
    assert np.median(rates(narrow)) > np.median(rates(wide))


def test_the_start_is_given_back_to_the_bit(narrow: Task) -> None:
    """Weights, gradients, modes and the random numbers drawn next; and the training after it is as without."""
    tail, other = narrow.tail(), narrow.tail()
    tail.decoder.eval()
    modes = [part.training for part in tail.modules()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    find_rate(tail, narrow.features, LABELS, train=TRAIN, settings=SETTINGS)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in tail.state_dict().items())
    assert all(tensor.grad is None and tensor.requires_grad for tensor in tail.parameters())
    assert [part.training for part in tail.modules()] == modes
    settings = replace(SETTINGS, learning_rate=1e-3, epochs=1)
    first, second = (
        [
            event.loss
            for event in fit_tail(each, narrow.features, LABELS, train=TRAIN, validation=VALIDATION, settings=settings)
            if isinstance(event, Step)
        ]
        for each in (tail, other)
    )
    assert first == second


def test_the_start_is_given_back_after_a_failure(narrow: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt in the midst of it leaves no half-trained blocks behind."""
    tail = narrow.tail()
    before = {name: tensor.clone() for name, tensor in trained_weights(tail).items()}

    def interrupt(stage: str, done: int, total: int, unit: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_rate(tail, narrow.features, LABELS, train=TRAIN, settings=SETTINGS, progress=interrupt)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained_weights(tail).items())


def test_equal_seeds_find_equal_rates(narrow: Task) -> None:
    """Whatever drew random numbers before."""
    first = narrow.found(1)
    torch.manual_seed(99)
    assert narrow.found(1) == first


def test_only_training_rows_are_read(narrow: Task) -> None:
    """Other labels of all other rows change nothing: neither validation nor test are looked at."""
    labels = LABELS.copy()
    labels[VALIDATION] = 1 - labels[VALIDATION]
    found = find_rate(narrow.tail(), narrow.features, labels, train=TRAIN, settings=SETTINGS)
    assert found == narrow.found()


@pytest.mark.parametrize("epochs", [1, 8, 200])
def test_the_cost_is_bounded(narrow: Task, epochs: int) -> None:
    """At most that share of the training's steps, or a hundred steps in all where that is more."""
    found = narrow.found(settings=replace(SETTINGS, epochs=epochs))
    planned = epochs * 15
    assert found.share == pytest.approx(len(found.tried) * found.steps / planned)
    assert len(found.tried) <= MOST_TRIED
    assert len(found.tried) * found.steps <= max(SHARE * planned, MOST_TRIED * FEWEST_STEPS)
    assert found.rows == 30


@pytest.mark.parametrize("settings", [TailSettings(learning_rate=3e-4), SETTINGS], ids=["given", "to be found"])
def test_a_given_rate_is_not_looked_for(narrow: Task, settings: TailSettings) -> None:
    """Settings with a rate come back as they are; others with the one found, and nothing else changed."""
    told: list[int] = []
    settled, found = settle_rate(
        narrow.tail(),
        narrow.features,
        LABELS,
        train=TRAIN,
        settings=settings,
        progress=lambda stage, done, total, unit: told.append(done),
    )
    if settings.learning_rate is not None:
        assert (settled, found, told) == (settings, None, [])
        return
    assert found is not None
    assert settled == replace(settings, learning_rate=found.rate)
    assert told == list(range(1, len(found.tried) + 1))


def bowl(best: float, ruined: int | None = None) -> Callable[[int], Doubles | None]:
    """Losses of ten rows that grow with the distance from ``best``; from the place ``ruined`` up they diverge."""

    def run(place: int) -> Doubles | None:
        if ruined is not None and place >= ruined:
            return None
        return np.full(10, 0.1 + 0.2 * abs(place - best)) + np.linspace(-0.01, 0.01, 10)

    return run


@pytest.mark.parametrize(
    ("best", "ruined", "expected"),
    [
        (0.2, None, [0, -1, 1]),
        (1.2, None, [0, -1, 1, 2]),
        (9.0, None, [0, -1, 1, 2, 3]),
        (-1.0, None, [0, -1, 1, -2]),
        (-9.0, None, [0, -1, 1, -2, -3]),
        (9.0, 1, [0, -1, 1]),
        (9.0, 2, [0, -1, 1, 2]),
        (9.0, 0, [0, -1, -2]),
        (9.0, -2, [0, -1, -2, -3, -4]),
    ],
)
def test_the_search_goes_where_the_loss_falls(best: float, ruined: int | None, expected: list[int]) -> None:
    """From the middle outwards until the best is not the outermost; above a rate that diverged nothing is tried."""
    tried: list[int] = []

    def run(place: int) -> Doubles | None:
        tried.append(place)
        return bowl(best, ruined)(place)

    search(run)
    assert tried == expected


def runs_of(means: dict[int, float | None]) -> dict[int, Doubles | None]:
    spread = np.linspace(-0.01, 0.01, 50)
    return {place: None if mean is None else mean + spread for place, mean in means.items()}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ({-1: 0.5, 0: 0.3, 1: 0.4}, [0]),
        ({-1: 0.36, 0: 0.3, 1: 0.36}, [-1, 0, 1]),  # 1.0 - 0.3 gained: 0.37 is still as good
        ({-1: 0.38, 0: 0.3, 1: 0.36}, [0, 1]),
        ({-2: 0.3, -1: 0.5, 0: 0.3 - 1e-6, 1: 0.4}, [0]),  # what lies behind a worse one is chance
        ({0: 0.3, 1: None}, [0]),
        ({-1: 1.4, 0: 1.2, 1: 1.5}, [0]),  # nothing gained at all: the least bad one
    ],
)
def test_rates_as_good_as_the_best(means: dict[int, float | None], expected: list[int]) -> None:
    """Around it, worse by a tenth of what it gained at most."""
    assert alike_places(runs_of(means), np.full(50, 1.0)) == expected


def test_rates_that_rows_cannot_tell_apart() -> None:
    """Where little was gained, the standard error of the paired difference counts, below the best and not above it."""
    best = np.full(100, 1.0)
    noisy = best + 0.004 + np.linspace(-0.1, 0.1, 100)  # an error of 0.0058
    certain = best + 0.004 + np.linspace(-0.01, 0.01, 100)
    before = np.full(100, 1.02)
    assert alike_places({-1: noisy, 0: best}, before) == [-1, 0]
    assert alike_places({0: best, 1: noisy}, before) == [0]
    assert alike_places({-1: certain, 0: best}, before) == [0]


def test_when_every_rate_diverges_training_does() -> None:
    """One line that says what to give."""
    with pytest.raises(TrainingDiverged, match="every learning rate that was tried") as caught:
        alike_places({0: None, -1: None}, np.ones(3))
    assert caught.value.hint is not None
    assert "--learning-rate" in caught.value.hint


def test_a_start_that_cannot_be_trained_says_so(narrow: Task) -> None:
    """Weights that are not finite are no matter of the rate."""
    tail = narrow.tail()
    tail.head.weight.data.fill_(np.inf)
    with pytest.raises(TrainingDiverged, match="every learning rate that was tried"):
        find_rate(tail, narrow.features, LABELS, train=TRAIN, settings=SETTINGS)


def test_what_is_trained_says_where_to_start(narrow: Task) -> None:
    """A head alone, adapters beside frozen weights, some blocks, all of them."""
    tail = narrow.tail()
    assert kind_of(tail) == "tail"
    add_lora(tail, LoraSettings(), seed=0)
    tail.kind = "lora"
    assert kind_of(tail) == "lora"
    tail.decoder.requires_grad_(False)
    assert kind_of(tail) == "head"
    whole = new_tail(narrow.decoder, blocks=4, depth=4, classes=2, seed=0, embeddings=True, kind="full")
    assert kind_of(whole) == "full"
    assert MIDDLES["full"] < MIDDLES["tail"] < MIDDLES["lora"] < MIDDLES["head"]


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_every_method_finds_its_rate(narrow: Task, kind: Kind) -> None:
    """Through one call: adapters with dropout and a whole model with its embeddings, and the result is trained so."""
    rows = rows_of(LABELS, train=120, validation=40)
    trained, again = (
        train_part(
            kind,
            narrow.decoder,
            narrow.features,
            rows,
            first=0,
            depth=2,
            pooling="last",
            settings=replace(SETTINGS, epochs=4),
            lora=LoraSettings(dropout=0.1),
        )
        for _ in range(2)
    )
    assert trained.rate is not None
    assert trained.rate == again.rate
    middle = MIDDLES[kind] * WIDTH / 32
    assert any(one.rate == pytest.approx(middle) for one in trained.rate.tried)
    assert trained.curves["epochs"]["train_loss"][-1] < 0.2
    assert trained.curves == again.curves


def test_a_head_alone_gets_a_rate_too(narrow: Task) -> None:
    """Frozen blocks stay frozen, and the search starts higher."""
    tail = narrow.tail()
    tail.decoder.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in tail.decoder.state_dict().items()}
    found = find_rate(tail, narrow.features, LABELS, train=TRAIN, settings=SETTINGS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in tail.decoder.state_dict().items())
    assert found.tried[0].rate > narrow.found().tried[0].rate


def test_what_is_recorded_says_what_and_why() -> None:
    """Choices tried, chosen and the reason, in JSON and in words."""
    tried = (Tried(rate=1e-4, loss=0.5, alike=False), Tried(rate=3e-4, loss=0.2, alike=True))
    ruined = Tried(rate=9e-4, loss=None, alike=False)
    found = Found(rate=3e-4, tried=(*tried, ruined), before=0.9, steps=20, share=0.1, rows=64)
    assert found.reason == "the best of 3 rates tried, 20 steps each; 0.0009 diverged"
    told = found.as_json()
    assert (told["chosen"], told["tried"][2]) == (3e-4, {"rate": 9e-4, "loss": None, "alike": False})
    both = replace(found, tried=(replace(tried[0], alike=True), tried[1]), rate=3e-4 / APART**0.5)
    assert both.reason == "the middle of 0.0001 to 0.0003, which are about as good on 64 rows, 20 steps each"
