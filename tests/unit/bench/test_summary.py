"""Samples become wholes, rounds become medians, and every ratio is one of seconds that stand beside it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tailtune.bench import summary

Answers = dict[str, Any]


def test_equal_batches_are_judged_by_their_median(training_answers: Answers) -> None:
    """Of both halves of the sample together, times how many there are; one slow step changes nothing."""
    run = summary.chapter_run(training_answers["chapter"])
    assert run["stages"] == {"model": 3.0, "tokens": 1.0, "steps": 180.0, "evaluations": 16.0}
    assert run["seconds"] == 200.0
    assert run["sample"]["step_seconds"] == [1.8, 1.8, 9.0, 1.8, 2.0]
    assert run["sample"]["steps"] == 100
    assert run["peak_mib"] == 105.0
    assert run["score"] is None


def test_unequal_batches_are_judged_by_their_mean(training_answers: Answers) -> None:
    """Long batches and short ones take part as often as they come; evaluations are all alike."""
    run = summary.trainer_run(training_answers["trainer"])
    assert run["stages"] == {"model": 3.0, "tokens": 1.0, "steps": 50 * 1.6, "evaluations": 5 * 1.2}
    assert run["seconds"] == 90.0
    assert run["score"] is None


@pytest.mark.parametrize("loop", ["chapter", "trainer"])
def test_a_whole_loop_is_taken_as_it_was_measured(training_answers: Answers, loop: str) -> None:
    """No sample, no multiplication; it ends with a classifier, so it has a score."""
    score = {"correct": 1, "tests": 2, "accuracy": 0.5}
    whole = {**training_answers[loop][0], "seconds": {"steps": 40.0, "evaluations": 2.0}, "score": score}
    run = {"chapter": summary.chapter_run, "trainer": summary.trainer_run}[loop]([whole])
    assert run["seconds"] == run["stages"]["model"] + 1.0 + 42.0
    assert run["sample"] is None
    assert run["score"] == score


def test_ratios_are_those_of_the_seconds(training_answers: Answers) -> None:
    """Of each of our runs against each loop, end to end; our own seconds are the measured ones, not a sum of stages."""
    found = summary.training(**training_answers)
    assert {name: run["seconds"] for name, run in found["runs"].items()} == {
        "chapter": 200.0,
        "trainer": 90.0,
        "same": 10.0,
        "auto": 5.0,
        "word": 0.5,
        "oracle": 20.0,
    }
    assert found["ratios"] == {
        "same": {"chapter": 20.0, "trainer": 9.0},
        "auto": {"chapter": 40.0, "trainer": 18.0},
    }
    assert found["runs"]["auto"]["tokens_per_second"] == 200.0
    assert "total" not in found["runs"]["same"]["stages"]


def test_positions_are_carried_through(training_answers: Answers) -> None:
    """In whole numbers, whether sampled or not; n-grams send nothing through a model."""
    runs = summary.training(**training_answers)["runs"]
    expected = {"chapter": 11_000, "trainer": 2_500, "same": 500, "auto": 250, "word": None, "oracle": 900}
    assert {name: run["positions"] for name, run in runs.items()} == expected


def test_agreement_is_the_worst_step_and_the_tests_apart(training_answers: Answers) -> None:
    """Whichever of the two is ahead."""
    agreement = summary.training(**training_answers)["agreement"]
    assert agreement["largest_loss_difference"] == pytest.approx(1e-4)
    assert agreement["steps"] == 3
    assert agreement["test_rows_apart"] == 1
    training_answers["oracle"]["score"]["correct"] = 12
    assert summary.training(**training_answers)["agreement"]["test_rows_apart"] == 3


def test_an_engine_is_judged_by_its_middle_round(rounds: dict[str, list[Answers]]) -> None:
    """Single texts of all rounds stand together; a slow round does not move the rate."""
    found = summary.engine(rounds["tailtune-equal"])
    assert found["single_ms"] == {"texts": 6, "median": 3.0, "p95": 4.0}
    assert found["batched"]["seconds"] == [2.0, 60.0, 4.0]
    assert found["batched"]["texts_per_second"] == 2.5
    assert found["batched"]["tokens_per_second"] == 50.0
    assert found["peak_mib"] == 90.0


def test_engines_stand_against_the_pipeline(rounds: dict[str, list[Answers]]) -> None:
    """Texts per second over its own; probabilities against ours, but for the chosen classifier, which is another."""
    engines = {name: summary.engine(answers) for name, answers in rounds.items()}
    before = copy.deepcopy(engines)
    found = summary.inference(engines, skipped={"onnx-int8": "no room"}, exported={"skipped": "no room"})
    assert engines == before
    assert found["against_pipeline"]["pipeline"] == 1.0
    assert found["against_pipeline"]["tailtune-chosen"] == pytest.approx(4.0, rel=0.01)
    assert found["engines"]["onnx-int8"] == {"skipped": "no room"}
    assert found["engines"]["pipeline"]["largest_difference"] == pytest.approx(0.02)
    assert found["engines"]["tailtune-equal"]["largest_difference"] == 0.0
    assert "largest_difference" not in found["engines"]["tailtune-chosen"]
    assert not any("probabilities" in answer for answer in found["engines"].values())
