"""What is computed depends on the model alone; what is kept is what the held-out rows prefer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.features import first_token_task, model_features, rows_of
from support.texts import encode, messages
from tailtune.class_values import class_weights
from tailtune.errors import ConfigError, TrainingDiverged
from tailtune.features.backbone import Wanted
from tailtune.features.passes import Passes
from tailtune.labels import LabelSet
from tailtune.methods.auto import STATES_LIMIT, Depth, Fitted, Method, Plan, choose, plan, settled
from tailtune.methods.climbing import Material, climb
from tailtune.methods.descent import Epoch, Step, TailSettings
from tailtune.methods.ladder import Ladder
from tailtune.methods.probe import PENALTIES, Candidate, Rows
from tailtune.methods.scan import Limits, Scan, scan
from tailtune.methods.scorers import ProbeScorer, TailScorer
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokens

# Seven tenths of them are probed: every tenth block, tails at three, five and seven tenths.
AUTO = [
    (30, (3, 6, 9, 12, 15, 18, 21), (9, 15, 21)),
    (12, (1, 2, 3, 4, 5, 6, 7, 8), (4, 6, 8)),
    (4, (1, 2, 3), (2, 3)),
    (2, (1,), (1,)),
    (1, (1,), (1,)),
]


def test_an_encoder_is_probed_to_its_top() -> None:
    """Its last block was not made to predict the next token."""
    assert plan("auto", "auto", blocks=1, total=6, causal=False).depths == (1, 2, 3, 4, 5, 6)
    assert plan("auto", "auto", blocks=1, total=12, causal=False).tails == (4, 6, 9)


@pytest.mark.parametrize(("total", "grid", "tails"), AUTO)
def test_the_plan_without_a_depth(total: int, grid: tuple[int, ...], tails: tuple[int, ...]) -> None:
    """Depths, cuts and tails for models of usual and of tiny sizes."""
    made = plan("auto", "auto", blocks=1, total=total)
    assert (made.depths, made.cuts, made.tails) == (grid, grid, tails)
    assert made.wanted == Wanted(pooled=grid, states=tuple(depth - 1 for depth in tails))
    assert made.top == grid[-1]
    assert plan("probe", "auto", blocks=1, total=total).tails == ()
    assert plan("tail", "auto", blocks=1, total=total).wanted == made.wanted


@pytest.mark.parametrize(
    ("depth", "total", "grid"),
    [
        ("last", 30, (3, 6, 9, 12, 15, 18, 21, 24, 27, 30)),
        (10, 30, (3, 6, 9, 10)),
        (3, 30, (3,)),
        (1, 30, (1,)),
        ("last", 4, (1, 2, 3, 4)),
        (2, 2, (1, 2)),
        ("last", 1, (1,)),
    ],
)
def test_the_plan_with_a_depth(depth: Depth, total: int, grid: tuple[int, ...]) -> None:
    """The probe may read the depths on the way, but ends at the one asked for; a tail alone needs no pooled vectors."""
    made = plan("auto", depth, blocks=1, total=total)
    assert (made.depths, made.cuts, made.tails) == (grid, grid[-1:], grid[-1:])
    assert plan("probe", depth, blocks=1, total=total).wanted == Wanted(pooled=grid)
    tail = plan("tail", depth, blocks=1, total=total)
    assert (tail.depths, tail.cuts, tail.tails, tail.top) == ((), (), grid[-1:], grid[-1])
    assert tail.wanted == Wanted(states=(grid[-1] - 1,))


def test_a_tail_of_many_blocks_moves_up() -> None:
    """Tails that would begin below the embeddings are left out; where none is left the lowest possible is tried."""
    assert plan("auto", "auto", blocks=10, total=30).tails == (15, 21)
    many = plan("auto", "auto", blocks=4, total=4)
    assert (many.tails, many.top, many.wanted.states) == ((4,), 4, (0,))


@pytest.mark.parametrize(
    ("method", "depth", "blocks", "total", "message"),
    [
        ("auto", 0, 1, 30, "--depth 0: the model has 30 blocks"),
        ("probe", 31, 1, 30, "--depth 31: the model has 30 blocks"),
        ("tail", 3, 4, 30, "--blocks 4: there are only 3 blocks"),
        ("auto", "auto", 31, 30, "--blocks 31: there are only 30 blocks"),
        ("auto", "last", 2, 1, "--blocks 2: there are only 1 blocks"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(
    method: Method, depth: Depth, blocks: int, total: int, message: str
) -> None:
    """The message names the flag, its value and what the model has."""
    with pytest.raises(ConfigError, match=message):
        plan(method, depth, blocks=blocks, total=total)


def found_at(depth: int, *, wrong: int = 100) -> Scan:
    """Return a scan of 1,000 rows that found ``depth``, with so many of them wrong."""
    correct = np.arange(1000) >= wrong
    chosen = Candidate(depths=(depth,), penalty=0.3, losses=np.zeros(1000), correct=correct)
    return Scan(precision="fp32", why_precision="fp32 products, as asked for", points=(), chosen=chosen, rows=1000)


@pytest.mark.parametrize(("depth", "tail"), [(3, 9), (9, 9), (12, 15), (21, 21)])
def test_a_settled_plan_goes_no_higher_than_it_must(depth: int, tail: int) -> None:
    """The probe reads the depths up to the one found; the tail is tried at the first of its depths from there up."""
    made = plan("auto", "auto", blocks=1, total=30)
    done = settled(made, found_at(depth), validation=1000, tokens=1000, width=576)
    assert (done.depths, done.cuts, done.tails, done.open) == (tuple(range(3, depth + 1, 3)), (depth,), (tail,), False)
    assert done.wanted == Wanted(pooled=done.depths, states=(tail - 1,))


@pytest.mark.parametrize(("wrong", "validation", "tried"), [(100, 120, True), (100, 119, False), (0, 10_000, False)])
def test_no_tail_is_tried_that_could_not_be_told_apart(wrong: int, validation: int, tried: bool) -> None:
    """A tenth of 120 rows is twelve faults, half of them what McNemar needs; a tail asked for is trained anyway."""
    methods: tuple[Method, ...] = ("auto", "tail")
    for method in methods:
        made = plan(method, "auto", blocks=1, total=30)
        done = settled(made, found_at(9, wrong=wrong), validation=validation, tokens=1000, width=576)
        assert bool(done.tails) == (tried or method == "tail")
        assert ("too few to tell" in done.untried) == (not tried)


def test_many_tokens_leave_no_tail() -> None:
    """Token states must fit the store, unless the tail was asked for."""
    room = STATES_LIMIT // (4 * 576)
    cases: list[tuple[Method, int, tuple[int, ...]]]
    cases = [("auto", room, (9,)), ("auto", room + 1, ()), ("tail", room + 1, (9,))]
    for method, tokens, tails in cases:
        made = plan(method, "auto", blocks=1, total=30)
        assert settled(made, found_at(9), validation=1000, tokens=tokens, width=576).tails == tails


def test_without_room_for_a_tail_the_probe_is_kept(decide: Choose) -> None:
    """A plan of no tails trains none."""
    tokens, labels = first_token_task(40)
    fitted = decide(replace(BLIND, tails=()), tokens, rows_of(labels, train=30, validation=10))
    assert isinstance(fitted.scorer, ProbeScorer)
    assert fitted.curves == {}


def test_a_probe_does_not_mind_the_blocks_of_a_tail() -> None:
    """--blocks says nothing about a probe."""
    assert plan("probe", 2, blocks=9, total=4).depths == (1, 2)


def chosen(fitted: Fitted) -> list[dict[str, Any]]:
    return [choice for choice in fitted.choices if choice["chosen"]]


Choose = Callable[..., Fitted]


@pytest.fixture
def decide(tiny_llama: Path, tmp_path: Path) -> Choose:
    """Choose on the tiny model, for given tokens, rows and plan."""

    def run(planned: Plan, tokens: Tokens, rows: Rows, **named: Any) -> Fitted:
        decoder, found = load_decoder(tiny_llama), None
        if planned.open:
            passes = Passes(decoder, weights="tiny", store=tmp_path, device="cpu")
            found = scan(passes, tokens, rows, depths=planned.cuts, precision="fp32", pooling="last", limits=Limits())
            planned = settled(planned, found, validation=len(rows.validation), tokens=1, width=1)
        features = model_features(tiny_llama, tmp_path, tokens, planned.wanted)
        settings = named.pop("settings", TailSettings(epochs=12, learning_rate=3e-3))
        if planned.method != "auto":
            return choose(planned, decoder, features, rows, pooling="last", settings=settings, found=found, **named)
        given = Material(
            planned=planned,
            decoder=decoder,
            features=features,
            rows=rows,
            pooling="last",
            settings=settings,
            penalties=PENALTIES,
            found=found,
        )
        return climb(given, Ladder(), **named).fitted()

    return run


# Depth 0 is the embedding of the last token: where all texts end alike, such a probe knows nothing.
BLIND = Plan(method="auto", depths=(0,), cuts=(0,), tails=(2,), blocks=2)


def test_a_tail_that_wins_is_kept(decide: Choose) -> None:
    """The probe reads a last token that all texts share, the tail sees the first one, which tells the class."""
    tokens, labels = first_token_task(100)
    told: list[Step | Epoch] = []
    fitted = decide(BLIND, tokens, rows_of(labels, train=60, validation=40), happened=told.append)
    assert isinstance(fitted.scorer, TailScorer)
    assert (fitted.method, fitted.scorer.depth, fitted.scorer.cut) == ("tail", 2, 0)
    (choice,) = chosen(fitted)
    assert (choice["candidate"], choice["depth"], choice["rows"]) == ("tail", 2, 40)
    assert choice["accuracy"] >= 0.95
    probe = next(choice for choice in fitted.choices if choice["candidate"] == "probe")
    assert probe["loss"] == pytest.approx(np.log(2), abs=0.05)
    assert "a tail trained at depth 2 was better on 40 validation rows" in fitted.reason
    assert fitted.curves["steps"]["loss"] == [event.loss for event in told if isinstance(event, Step)]
    epochs = [event for event in told if isinstance(event, Epoch)]
    assert fitted.curves["epochs"]["validation_loss"] == [epoch.validation_loss for epoch in epochs]
    assert choice["loss"] == pytest.approx(min(epoch.validation_loss for epoch in epochs), rel=1e-5)


@pytest.mark.parametrize("validation", [0, 1])
def test_too_few_validation_rows_prefer_nothing(decide: Choose, validation: int) -> None:
    """The same task: without rows to judge by, or with a single one, the probe stays."""
    tokens, labels = first_token_task(61)
    fitted = decide(BLIND, tokens, rows_of(labels, train=60, validation=validation))
    assert fitted.method == "probe"
    assert f"not better with significance on {validation} validation rows" in fitted.reason
    assert ("loss" in fitted.choices[-1]) == ("validation_loss" in fitted.curves["epochs"]) == (validation == 1)
    assert [choice["candidate"] for choice in chosen(fitted)] == ["probe"]


def test_a_tail_that_did_not_learn_is_dropped(decide: Choose, tiny_llama: Path) -> None:
    """With a rate of next to nothing the tail stays a random head, and the probe that separates the texts is kept."""
    texts, names = messages(100)
    labels = np.array([name == "spam" for name in names], dtype=np.int64)
    rows = rows_of(labels, train=70, validation=30)
    settings = TailSettings(epochs=1, learning_rate=1e-9)
    fitted = decide(plan("auto", 3, blocks=1, total=4), encode(tiny_llama, texts), rows, settings=settings)
    assert isinstance(fitted.scorer, ProbeScorer)
    (choice,) = chosen(fitted)
    assert (choice["candidate"], choice["depth"]) == ("probe", fitted.scorer.depth)
    tail = fitted.choices[-1]
    assert (tail["candidate"], tail["chosen"]) == ("tail", False)
    assert tail["loss"] > choice["loss"]
    assert tail["depth"] == 3


def test_a_lead_by_chance_is_not_enough(decide: Choose) -> None:
    """With labels that nothing explains the tail is never better with significance."""
    tokens, labels = first_token_task(100)
    shuffled = np.random.default_rng(1).permutation(labels)
    for seed in range(3):
        settings = TailSettings(epochs=3, learning_rate=1e-3, seed=seed)
        fitted = decide(BLIND, tokens, rows_of(shuffled, train=60, validation=40), settings=settings)
        assert fitted.method == "probe"
        assert len(chosen(fitted)) == 1


def test_a_probe_alone_trains_no_tail(decide: Choose) -> None:
    """Every penalty is listed, one is chosen, and no step happened."""
    tokens, labels = first_token_task(100)
    told: list[Step | Epoch] = []
    planned = plan("probe", "auto", blocks=1, total=4)
    fitted = decide(planned, tokens, rows_of(labels, train=60, validation=40), happened=told.append)
    assert (fitted.method, told, fitted.curves) == ("probe", [], {})
    assert {choice["candidate"] for choice in fitted.choices} == {"probe"}
    assert [choice["depth"] for choice in chosen(fitted)] == [fitted.scorer.depth]
    assert f"a probe at depth {fitted.scorer.depth}: the shallowest of depths 1 to 3" in fitted.reason
    asked = decide(plan("probe", 2, blocks=1, total=4), tokens, rows_of(labels, train=60, validation=40))
    assert asked.reason == "a probe at depth 2, as asked for"


def test_a_tail_at_any_depth_lets_the_probe_choose_where(decide: Choose) -> None:
    """--method tail with depth auto: the tail is kept, at the first tail depth from the probe's up."""
    tokens, labels = first_token_task(100)
    rows = rows_of(labels, train=60, validation=40)
    settings = TailSettings(epochs=1, learning_rate=1e-9)
    fitted = decide(plan("tail", "auto", blocks=2, total=4), tokens, rows, settings=settings)
    probed = plan("probe", "auto", blocks=2, total=4)
    alone = decide(probed, tokens, rows)
    assert fitted.method == "tail"
    assert fitted.scorer.depth == next(depth for depth in (2, 3) if depth >= alone.scorer.depth)
    assert [choice["candidate"] for choice in chosen(fitted)] == ["tail"]
    assert len(fitted.choices) == len(alone.choices) + 1
    assert fitted.reason == f"a tail of 2 trained block(s) at depth {fitted.scorer.depth}, as asked for"


def test_a_tail_at_a_given_depth_tries_no_probe(decide: Choose) -> None:
    """--method tail --depth last: one candidate, chosen, whatever its loss; progress counts its steps."""
    tokens, labels = first_token_task(100)
    told: list[tuple[str, int, int, str]] = []
    fitted = decide(
        plan("tail", "last", blocks=1, total=4),
        tokens,
        rows_of(labels, train=60, validation=40),
        settings=TailSettings(epochs=2, batch_size=30, learning_rate=1e-9),
        progress=lambda stage, done, total, unit: told.append((stage, done, total, unit)),
    )
    assert [(choice["candidate"], choice["depth"], choice["chosen"]) for choice in fitted.choices] == [
        ("tail", 4, True)
    ]
    assert told == [("tail", step, 4, "steps") for step in (1, 2, 3, 4)]


def test_balance_by_weights_reaches_the_tail(decide: Choose) -> None:
    """Class weights change the losses where classes are unequal, and change nothing where they are equal."""
    tokens, labels = first_token_task(100)
    planned, settings = plan("tail", 2, blocks=1, total=4), TailSettings(epochs=1, batch_size=60)
    unequal = np.where(np.arange(100) % 5 == 0, labels, 0)
    losses = {
        (name, weights is not None): decide(
            planned, tokens, rows_of(ids, train=60, validation=40, weights=weights), settings=settings
        ).curves["steps"]["loss"]
        for name, ids in (("equal", labels), ("unequal", unequal))
        for weights in (None, class_weights("auto", LabelSet(names=("a", "b")), ids[:60]))
    }
    assert losses["equal", True] == pytest.approx(losses["equal", False], rel=1e-6)
    assert losses["unequal", True] != pytest.approx(losses["unequal", False], rel=1e-3)


def test_a_tail_that_diverges_leaves_the_probe(decide: Choose) -> None:
    """What the probe has learnt is not lost to a learning rate; a tail that was asked for is an error."""
    tokens, labels = first_token_task(40)
    rows = rows_of(labels, train=30, validation=10)
    settings = TailSettings(epochs=2, learning_rate=1e30)
    fitted = decide(BLIND, tokens, rows, settings=settings)
    assert isinstance(fitted.scorer, ProbeScorer)
    assert "a tail at depth 2 could not be trained: the " in fitted.reason
    with pytest.raises(TrainingDiverged):
        decide(plan("tail", 2, blocks=1, total=4), tokens, rows, settings=settings)
