"""Which rung is reached where the language model, n-grams, both together, or neither for sure, tell the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.features import Indices, first_token_task, model_features, pooled_features
from tailtune.features.backbone import Wanted
from tailtune.methods.auto import Fitted, Plan
from tailtune.methods.climbing import Material, climb
from tailtune.methods.descent import Epoch, Step, TailSettings
from tailtune.methods.entrants import Counted, Entrant, Price
from tailtune.methods.ladder import Budget, Ladder
from tailtune.methods.mixing import OWN, Party, joined
from tailtune.methods.probe import PENALTIES, Rows
from tailtune.methods.scan import Limits
from tailtune.methods.scorers import NoScorer, ProbeScorer, TailScorer
from tailtune.models.parts import Part
from tailtune.models.weights import load_decoder

PLAN = Plan(method="auto", depths=(1,), cuts=(1,), tails=(), blocks=1)
WORDS = (("meadow", "river"), ("invoice", "ledger"))


def rows_of(labels: Indices, *, validation: int) -> Rows:
    count = len(labels) * 4 // 5
    return Rows(
        train=np.arange(count - validation),
        validation=np.arange(count - validation, count),
        labels=labels,
        groups=np.arange(len(labels)),
        classes=2,
    )


def made(count: int, *, model: float, words: float, seed: int = 0) -> tuple[Any, list[str], Indices]:
    """Return features, texts and labels: the shares of rows whose features, and whose words, tell the class."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    shown = np.where(random.random(count) < model, labels, random.integers(0, 2, count))
    vectors = random.standard_normal((count, 6)).astype(np.float32)
    vectors[:, 0] += 6 * (shown - 0.5)
    spoken = np.where(random.random(count) < words, labels, random.integers(0, 2, count))
    texts = [f"{WORDS[told][random.integers(2)]} number {random.integers(50)}" for told in spoken]
    return pooled_features({1: vectors}), texts, labels


def climbed(
    features: Any,
    texts: list[str],
    labels: Indices,
    *,
    validation: int = 80,
    decoder: Part | None = None,
    ladder: Ladder | None = None,
    happened: Any = lambda event: None,
    **more: Any,
) -> tuple[Party, Ladder]:
    rows, ladder = rows_of(labels, validation=validation), ladder or Ladder()
    counted: list[Entrant] = [Counted(kind="word", texts=texts, rows=rows, seed=0)]
    given: dict[str, Any] = {
        "planned": PLAN,
        "decoder": decoder,
        "features": features,
        "rows": rows,
        "pooling": "last",
        "settings": TailSettings(epochs=12, learning_rate=3e-3),
        "penalties": PENALTIES[:1],
        "counted": counted,
        **more,
    }
    return climb(Material(**given), ladder, happened=happened), ladder


def outcome(ladder: Ladder) -> dict[str, bool]:
    return {rung.name: rung.taken for rung in ladder.rungs}


def right(fitted: Fitted, features: Any, rows: Rows, texts: Indices) -> float:
    return float((fitted.scores(features, texts).argmax(axis=1) == rows.labels[texts]).mean())


def loss(fitted: Fitted, features: Any, rows: Rows, texts: Indices) -> float:
    return float(rows.task.judge(fitted.scores(features, texts), rows.labels[texts])[0].mean())


def test_where_the_model_alone_knows_it_stays_alone() -> None:
    """The words say nothing: neither they nor a blend with them are taken, and no blend is shipped."""
    features, texts, labels = made(1000, model=0.9, words=0.0)
    party, ladder = climbed(features, texts, labels)
    assert outcome(ladder) == {"probe": True, "word": False, "blend": False, "tail": False}
    fitted = party.fitted()
    assert (fitted.method, fitted.blend) == ("probe", None)
    assert isinstance(fitted.scorer, ProbeScorer)


def test_where_words_alone_know_they_are_shipped_alone() -> None:
    """The features say nothing: n-grams take over, and the model has no part in the answer."""
    features, texts, labels = made(1000, model=0.0, words=0.95)
    party, ladder = climbed(features, texts, labels)
    assert outcome(ladder) == {"probe": True, "word": True, "blend": False, "tail": False}
    fitted = party.fitted()
    assert fitted.method == "ngrams"
    assert isinstance(fitted.scorer, NoScorer)
    assert isinstance(fitted.reads, ProbeScorer)
    assert fitted.blend is not None
    assert (fitted.blend.own, fitted.parts) == (False, ("word",))
    assert [choice["candidate"] for choice in fitted.choices if choice["chosen"]] == ["word"]
    assert "word n-grams alone: better on 800 held-out rows" in fitted.reason
    unseen = np.arange(800, 1000)
    assert right(fitted, features, party.rows, unseen) > 0.9


def test_where_each_knows_a_part_their_blend_is_shipped() -> None:
    """Seven rows in ten told by features, seven by words: together they are right more often than either."""
    features, texts, labels = made(2000, model=0.7, words=0.7)
    party, ladder = climbed(features, texts, labels)
    taken = outcome(ladder)
    assert (taken["probe"], taken["blend"]) == (True, True)
    fitted = party.fitted()
    assert fitted.method == "blend"
    assert fitted.blend is not None
    assert all(weight > 0.2 for weight in fitted.blend.weights)
    unseen = np.arange(1600, 2000)
    alone = joined(Fitted(scorer=fitted.scorer), {OWN: 1.0}, {}, party.rows, features)
    assert loss(fitted, features, party.rows, unseen) < 0.95 * loss(alone, features, party.rows, unseen)
    rung = next(rung for rung in ladder.rungs if rung.name == "blend")
    assert rung.gain is not None
    assert rung.gain[0] > 2 * rung.gain[1] > 0
    assert (rung.kind, rung.rows) == ("folds", 1600)


def test_few_rows_prefer_nothing() -> None:
    """The same data, sixty rows of it: no weights are looked for, and the probe stays."""
    features, texts, labels = made(75, model=0.7, words=0.7)
    party, ladder = climbed(features, texts, labels, validation=12)
    assert party.mix.names == (OWN,)
    blend = next(rung for rung in ladder.rungs if rung.name == "blend")
    assert (blend.judged, blend.why) == (None, "weights need 100 held-out rows, there are 60")


def test_n_grams_that_are_as_good_are_shipped_for_their_price() -> None:
    """Features that hold nothing but what the words say: there is no gain to be had, and the model can go."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 4000)
    spoken = np.where(random.random(4000) < 0.9, labels, 1 - labels)
    texts = ["meadow" if told else "invoice" for told in spoken]
    features = pooled_features({1: (2.0 * spoken[:, None] - 1).astype(np.float32).repeat(2, axis=1)})
    party, ladder = climbed(features, texts, labels)
    assert outcome(ladder) == {"probe": True, "word": False, "blend": False, "tail": False, "word-spared": True}
    assert party.fitted().method == "ngrams"
    assert "as good" in ladder.rungs[-1].why
    kept, said = climbed(features, texts, labels, needs_model="--out-of-scope needs the language model")
    assert kept.mix.names == (OWN,)
    assert "word-spared" not in outcome(said)


def test_limits_hold_for_all_parts_together() -> None:
    """A blend that would help is not taken where the bundle would grow beyond what was asked for."""
    features, texts, labels = made(2000, model=0.7, words=0.7)
    for most, taken in ((10_000_000, True), (1_000_000, False)):
        limits, price = Limits(bytes=most), Price(milliseconds=1.0, bytes=999_900)
        party, ladder = climbed(features, texts, labels, limits=limits, price=price)
        assert (OWN in party.mix.names and len(party.mix.names) == 2) == taken
        why = next(rung.why for rung in ladder.rungs if rung.name == "blend")
        assert ("beyond the limits: 1.0 ms for one text and 1 MB" in why) != taken


def test_rows_that_judge_themselves_prefer_nothing() -> None:
    """Without a validation part, and with a class of one group, nothing can be held out."""
    features, texts, labels = made(50, model=0.7, words=0.7)
    rows = Rows(
        train=np.arange(50),
        validation=np.arange(0),
        labels=labels,
        groups=labels.copy(),
        classes=2,
    )
    counted: list[Entrant] = [Counted(kind="word", texts=texts, rows=rows, seed=0)]
    ladder = Ladder()
    given = Material(
        planned=PLAN,
        decoder=None,  # type: ignore[arg-type]
        features=features,
        rows=rows,
        pooling="last",
        settings=TailSettings(),
        penalties=PENALTIES,
        counted=counted,
    )
    assert climb(given, ladder).mix.names == (OWN,)
    assert {rung.name: rung.why for rung in ladder.rungs}["word"] == "no rows are held out"


@pytest.fixture
def told_by_the_first_token(tiny_llama: Path, tmp_path: Path) -> dict[str, Any]:
    """A task that a tail of two blocks learns, and that a probe at depth 0, which reads the last token, cannot."""
    tokens, labels = first_token_task(600)
    features = model_features(tiny_llama, tmp_path, tokens, Wanted(pooled=(0,), states=(1,)))
    return {
        "features": features,
        "texts": ["nothing"] * 600,
        "labels": labels,
        "decoder": load_decoder(tiny_llama),
        "planned": Plan(method="auto", depths=(0,), cuts=(0,), tails=(2,), blocks=1),
        "counted": (),
        "validation": 200,
        "states": lambda first: model_features(
            tiny_llama, tmp_path, tokens, Wanted(pooled=(0,), states=(first,) if first else ())
        ),
        "settings": TailSettings(epochs=6, learning_rate=3e-3, batch_size=16),
    }


class Clock:
    """A clock that goes on by so many seconds each time it is read."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_without_a_time_one_tail_is_tried(told_by_the_first_token: dict[str, Any]) -> None:
    """The upper rungs are not even told."""
    _, ladder = climbed(**told_by_the_first_token)
    assert [rung.name for rung in ladder.rungs] == ["probe", "tail"]


def test_within_a_time_every_rung_is_tried_that_fits(told_by_the_first_token: dict[str, Any]) -> None:
    """With hours all are tried, each against what stands; what could not be told apart any more is left."""
    ladder = Ladder(budget=Budget(seconds=1e6, clock=Clock(0.01)))
    party, _ = climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 1e6)
    names = [rung.name for rung in ladder.rungs]
    assert names == ["probe", "tail", "tail-more", "lora", "full"]
    assert isinstance(party.own.scorer, TailScorer)
    won = [rung for rung in ladder.rungs if rung.taken][-1]
    assert won.name in ("tail", "tail-more", "lora", "full")
    assert won.judged is not None
    assert won.judged.accuracy > 0.9
    after = ladder.rungs[names.index(won.name) + 1 :]
    assert all("too few to tell" in rung.why or rung.judged is not None for rung in after)
    expected = {"tail": 3e-3, "tail-more": 3e-3, "lora": 1e-2, "full": 1e-3}[won.name]
    assert party.fitted().rates["learning_rate"] == pytest.approx(expected)


def test_what_does_not_fit_is_left_with_the_reason(told_by_the_first_token: dict[str, Any]) -> None:
    """A slow machine and a minute: each rung says what it would have taken."""
    ladder = Ladder(budget=Budget(seconds=60.0, clock=Clock(0.01)))
    party, _ = climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 10.0)
    assert party.mix.names == (OWN,)
    assert isinstance(party.own.scorer, ProbeScorer)
    for rung in ladder.rungs[1:]:
        assert not rung.taken
        assert rung.judged is None
        assert rung.foreseen is not None
        assert rung.foreseen > 54
        assert " foreseen, " in rung.why


def test_epochs_are_as_many_as_fit(told_by_the_first_token: dict[str, Any]) -> None:
    """Time for three of six epochs: the schedule ends there, instead of being cut off."""
    seen: list[Step | Epoch] = []
    ladder = Ladder(budget=Budget(seconds=60.0, clock=Clock(0.0)))
    climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 700.0, happened=seen.append)
    first = next(event for event in seen if isinstance(event, Step))
    per_epoch = -(-280 // 16)
    assert first.steps == 3 * per_epoch


def test_when_time_is_over_the_best_epoch_is_kept(told_by_the_first_token: dict[str, Any]) -> None:
    """The clock runs out in the second epoch: the tail is judged as it was after the first."""
    seen: list[Step | Epoch] = []
    clock = Clock(0.0)

    def happened(event: Step | Epoch) -> None:
        seen.append(event)
        if isinstance(event, Epoch):
            clock.now = 1e9

    ladder = Ladder(budget=Budget(seconds=1e6, clock=clock))
    climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 1e6, happened=happened)
    epochs = [event for event in seen if isinstance(event, Epoch)]
    assert len(epochs) == 1
    tail = next(rung for rung in ladder.rungs if rung.name == "tail")
    assert tail.judged is not None
    rest = [rung for rung in ladder.rungs if rung.name in ("tail-more", "lora", "full")]
    assert all(rung.judged is None for rung in rest)


def test_a_first_epoch_that_is_cut_short_is_judged_as_it_is(told_by_the_first_token: dict[str, Any]) -> None:
    """Three steps, then the validation rows: there is no earlier epoch to go back to."""
    seen: list[Step | Epoch] = []
    clock = Clock(0.0)

    def happened(event: Step | Epoch) -> None:
        seen.append(event)
        if len(seen) == 3:
            clock.now = 1e9

    ladder = Ladder(budget=Budget(seconds=1e6, clock=clock))
    climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 1e6, happened=happened)
    assert [type(event).__name__ for event in seen] == ["Step", "Step", "Step", "Epoch"]
    assert next(rung for rung in ladder.rungs if rung.name == "tail").judged is not None


def test_what_a_model_cannot_have_trained_is_left_with_the_reason(told_by_the_first_token: dict[str, Any]) -> None:
    """Refusals of a kind are a line of the ladder, not an error of the run."""
    ladder = Ladder(budget=Budget(seconds=1e6, clock=Clock(0.01)))
    refused = {"tail": "", "lora": "peft is not installed", "full": "no native family"}
    climbed(**told_by_the_first_token, ladder=ladder, speed=lambda: 1e6, refused=lambda kind, first: refused[kind])
    why = {rung.name: rung.why for rung in ladder.rungs}
    assert (why["lora"], why["full"]) == ("peft is not installed", "no native family")


def test_folds_that_would_take_the_time_are_not_made() -> None:
    """A clock that runs while n-grams are fitted: the validation part judges all rungs alike, and it is enough."""
    features, texts, labels = made(2000, model=0.7, words=0.7)
    for seconds, kind in ((1e9, "folds"), (2e-3, "validation")):
        ladder = Ladder(budget=Budget(seconds=seconds, clock=lambda: 0.0))
        climbed(features, texts, labels, validation=400, ladder=ladder)
        tried = [rung for rung in ladder.rungs if rung.judged is not None]
        assert {rung.kind for rung in tried} == {kind}
        assert {rung.rows for rung in tried} == {1600 if kind == "folds" else 400}


def test_without_any_time_nothing_beside_the_probe_is_tried() -> None:
    """What is left of the time is told by the clock, when each is about to begin."""
    features, texts, labels = made(400, model=0.7, words=0.7)
    ladder = Ladder(budget=Budget(seconds=1.0, clock=lambda: 5.0))
    party, _ = climbed(features, texts, labels, ladder=ladder)
    assert party.mix.names == (OWN,)
    assert {rung.name: rung.why for rung in ladder.rungs}["word"] == "no time is left"
