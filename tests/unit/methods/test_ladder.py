"""What a step up must show: two standard errors, a gain worth having, no loss of accuracy; and what a time allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tailtune.methods.blend import Doubles
from tailtune.methods.ladder import (
    EFFECT,
    FEWEST,
    SPARED,
    Budget,
    HeldOutRows,
    Judged,
    Ladder,
    objection,
    seconds_said,
    spares,
    weighed,
)
from tailtune.methods.tasks import OneLabel, SeveralLabels


def judged(losses: Sequence[float] | Doubles, *, wrong: int = 0) -> Judged:
    values = np.asarray(losses, dtype=np.float64)
    return Judged(losses=values, correct=np.arange(len(values)) >= wrong)


def noisy(mean: float, rows: int, *, seed: int = 0) -> Doubles:
    return mean + 0.1 * np.random.default_rng(seed).standard_normal(rows)


def test_a_gain_needs_two_standard_errors() -> None:
    """A row-by-row gain of 0.02 with a spread of 0.1: its error is 0.014 over 50 rows and 0.003 over 1,000."""
    for rows, expected in ((50, "not better with significance"), (1000, "")):
        standing = judged(np.full(rows, 0.5))
        assert objection(standing, judged(noisy(0.48, rows))) == expected
    assert objection(judged(np.full(1000, 0.5)), judged(noisy(0.52, 1000))) == "worse"
    assert objection(judged([0.5]), judged([0.1])) == "not better with significance"


def test_a_gain_that_nobody_would_notice_is_none() -> None:
    """Without any spread every gain is significant; it must be a share of the loss all the same."""
    standing = judged(np.full(400, 0.5))
    assert objection(standing, judged(np.full(400, 0.5 * (1 - 0.9 * EFFECT)))).startswith("better by less than 2 %")
    assert objection(standing, judged(np.full(400, 0.5 * (1 - 1.1 * EFFECT)))) == ""


def test_a_gain_that_costs_accuracy_is_none() -> None:
    """Surer of what was right already, and wrong about one row more."""
    standing = judged(np.full(400, 0.5), wrong=3)
    assert objection(standing, judged(np.full(400, 0.4), wrong=4)) == "a lower log loss, but fewer rows right"
    assert objection(standing, judged(np.full(400, 0.4), wrong=3)) == ""


def test_what_costs_little_must_be_shown_to_be_as_good() -> None:
    """Equal on many rows it is; on few rows, with a spread that hides a loss, or really worse, it is not."""
    standing = judged(np.full(2000, 0.5))
    assert spares(standing, judged(np.full(2000, 0.5)))
    assert spares(standing, judged(np.full(2000, 0.5 + 0.9 * SPARED)))
    assert not spares(standing, judged(np.full(2000, 0.5 + 1.1 * SPARED)))
    assert not spares(standing, judged(np.full(2000, 0.5), wrong=1))
    assert not spares(judged(np.full(FEWEST - 1, 0.5)), judged(np.full(FEWEST - 1, 0.5)))
    assert not spares(judged(np.full(400, 0.5)), judged(0.5 + np.random.default_rng(0).standard_normal(400)))
    # Of a small loss a tenth: 0.009 nats would be nearly half of it.
    assert not spares(judged(np.full(2000, 0.02)), judged(np.full(2000, 0.029)))


def held_out(rows: int, *, labels: np.ndarray | None = None) -> HeldOutRows:
    ids = np.arange(rows, dtype=np.int64) % 2 if labels is None else labels
    task = OneLabel() if ids.ndim == 1 else SeveralLabels()
    return HeldOutRows(labels=ids, groups=np.arange(rows), task=task, kind="folds")


def told(rows: HeldOutRows, strength: float, *, seed: int) -> Doubles:
    """Return scores that know the label that well, beside noise."""
    random = np.random.default_rng(seed)
    if rows.labels.ndim == 2:
        return strength * (2 * rows.labels - 1) + random.standard_normal(rows.labels.shape)
    return strength * np.eye(2)[rows.labels] + random.standard_normal((len(rows), 2))


@pytest.mark.parametrize("several", [False, True])
def test_a_temperature_decides_nothing(several: bool) -> None:
    """Scores half as large are the same classifier, less sure of itself before calibration."""
    labels = np.random.default_rng(1).integers(0, 2, (400, 3)) if several else None
    rows = held_out(400, labels=labels)
    scores = told(rows, 1.0, seed=0)
    one, half = rows.judge_mixed([scores]), rows.judge_mixed([scores / 2])
    assert one.loss == pytest.approx(half.loss, rel=0.02)
    assert rows.judge(scores / 2).loss > 1.03 * half.loss


def test_weights_do_not_judge_the_rows_that_found_them() -> None:
    """Twenty classifiers that know nothing: fitted weights flatter on the same rows, not on others."""
    rows = held_out(120)
    nothing = [told(rows, 0.0, seed=seed) for seed in range(20)]
    weights = rows.weights(nothing)
    flattered = rows.judge(weighed(weights, nothing, several=False)).loss
    assert flattered < np.log(2) - 0.02 < rows.judge_mixed(nothing).loss


def test_slight_weights_are_none() -> None:
    """What knows nothing beside what knows much is left out, and what stays is weighed anew."""
    rows = held_out(20_000)
    strong, noise = told(rows, 1.0, seed=0), told(rows, 0.0, seed=1)
    weights = rows.weights([strong, noise])
    assert weights[1] == 0.0
    assert weights[0] == pytest.approx(rows.weights([strong])[0], abs=1e-4)


def test_time_is_told_by_the_clock_that_is_given() -> None:
    """A tenth is kept for what comes after; without a time nothing is ever refused."""
    now = 100.0
    budget = Budget(seconds=60.0, clock=lambda: now, started=100.0)
    assert budget.left == pytest.approx(54.0)
    now = 130.0
    assert budget.left == pytest.approx(24.0)
    assert not budget.over()
    assert budget.refusal(23.0) == ""
    assert budget.refusal(240.0) == "about 4 min foreseen, 24 s left"
    now = 155.0
    assert budget.over()
    assert not Budget(clock=lambda: now).over()
    assert Budget(clock=lambda: now).refusal(1e9) == ""
    assert [seconds_said(seconds) for seconds in (0.44, 12.3, 119.0, 300.0)] == ["0.4 s", "12 s", "119 s", "5 min"]


def test_every_rung_is_kept_and_told() -> None:
    """One line and one record each: what was spent and foreseen, which rows judged, by how much and why."""
    now, said = 0.0, list[str]()
    ladder = Ladder(budget=Budget(clock=lambda: now), say=said.append)
    rows = held_out(400)
    low, high = judged(np.full(400, 0.5)), judged(np.full(400, 0.4))
    with ladder.timed():
        now += 2.0
    ladder.first("probe", "probe at depth 2", low, rows)
    with ladder.timed():
        now += 30.0
    assert ladder.step("tail", "1 trained block(s)", low, high, rows, foreseen=25.0)
    assert not ladder.step("lora", "LoRA", high, low, rows)
    assert not ladder.step("char", "letters", low, high, rows, besides="beyond the limits")
    ladder.skip("full", "all weights", "about 4 min foreseen, 24 s left", foreseen=240.0)
    records = ladder.as_json()["rungs"]
    assert [record["rung"] for record in records] == ["probe", "tail", "lora", "char", "full"]
    assert [record["taken"] for record in records] == [True, True, False, False, False]
    assert [record["seconds"] for record in records] == [2.0, 30.0, 0.0, 0.0, None]
    assert [record["foreseen"] for record in records] == [None, 25.0, None, None, 240.0]
    assert [record["why"] for record in records[1:4]] == ["better with significance", "worse", "beyond the limits"]
    assert records[1]["gain"] == pytest.approx(0.1)
    assert (records[1]["judged_on"], records[1]["rows"], records[4]["judged_on"]) == ("folds", 400, None)
    assert said[1] == (
        "ladder: 1 trained block(s): taken, better with significance; log loss 0.4000, "
        "100.0 % of 400 rows held out in folds right, gain +0.1000 ± 0.0000; 30 s"
    )
    assert said[4] == "ladder: all weights: not tried, about 4 min foreseen, 24 s left"
