"""Rows run on tiny models: all of them, resumed, absent, and each really different from the others."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.experiments import order_of, run_all, write_collection
from support.texts import messages, write_csv
from tailtune.errors import ConfigError
from tailtune.experiments.cost import estimate
from tailtune.experiments.models import Absent, Shelf, parse_sizes, reference_of
from tailtune.experiments.results import read_all
from tailtune.experiments.rows import find_rows
from tailtune.experiments.session import plan, run

SCORES = ("train", "validation", "test", "test_wrong", "losses", "tried")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_collection(tmp_path_factory.mktemp("data") / "sms")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in SCORES}


def test_results_say_all(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Scores of the three parts with intervals, losses, tokens, trained weights, seconds, and what they depend on."""
    (result,) = run_all(order_of(["16"], tiny_gpt2, collection, tmp_path), store)
    test = result["test"]
    assert test["rows"] == 8
    assert test["accuracy"] == test["correct"] / 8 == 1 - len(result["test_wrong"]) / 8
    assert test["interval"][0] <= test["accuracy"] <= test["interval"][1]
    assert len(result["losses"]) == 5
    assert result["trained_weights"] == 12_768 + 66  # a block and the final norm, and the head
    assert result["tokens"]["read"] == result["tokens"]["real"]
    assert result["copies"] == {"copied": 0, "rows": 8, "correct": test["correct"]}
    assert result["learning_rate"] == 5e-5
    assert str(collection.parent) not in json.dumps(dict(result))


def test_a_row_is_the_same_when_run_again(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """One seed, one result; another seed, another."""
    one, other = (run_all(order_of(["16"], tiny_gpt2, collection, tmp_path / name), store) for name in ("a", "b"))
    assert figures(one[0]) == figures(other[0])
    (again,) = run_all(order_of(["16"], tiny_gpt2, collection, tmp_path / "c", seeds=(1,)), store)
    assert again["losses"] != one[0]["losses"]


def test_what_is_done_is_not_run_again(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Killed after two rows: the rest alone is computed, and the files of the first two are not touched."""
    order = order_of(["1", "2", "3", "16"], tiny_gpt2, collection, tmp_path)
    shelf = Shelf(store)
    assert len(list(itertools.islice(run(plan(order, shelf), tmp_path, shelf), 2))) == 2
    first = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(first) == 2
    told: list[str] = []
    shelf = Shelf(store)
    found = list(run(plan(order, shelf), tmp_path, shelf, say=told.append))
    names = ["3 head-only", "3b head-only-own-rate", "16 last-real"]
    assert [note.split(",")[0] for note in told] == [f"running row {name}" for name in names]
    assert len(found) == len(list(tmp_path.iterdir())) == 5
    assert all(file.stat().st_mtime_ns == changed for file, changed in first.items())


def test_row_18_is_row_1_and_runs_once(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """The same result for both; by itself, in another folder, the same figures byte for byte."""
    told: list[str] = []
    order = order_of(["1", "18"], tiny_gpt2, collection, tmp_path / "both")
    shelf = Shelf(store)
    first, ignored = run(plan(order, shelf), order.out, shelf, say=told.append)
    assert first == ignored
    assert len(told) == 1
    (alone,) = run_all(order_of(["18"], tiny_gpt2, collection, tmp_path / "alone"), store)
    assert json.dumps(figures(alone)) == json.dumps(figures(first))
    assert "changes nothing" in find_rows(["18"])[0].flaw


def test_own_rates_are_chosen_by_validation(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Every rate is tried, the one with the least validation loss kept; the book's is among them."""
    book, own = run_all(order_of(["3"], tiny_gpt2, collection, tmp_path), store)
    tried = {each["rate"]: each["validation_loss"] for each in own["tried"]}
    assert own["learning_rate"] == min(tried, key=lambda rate: tried[rate])
    assert tried[5e-5] == book["validation"]["log_loss"]
    assert own["validation"]["log_loss"] == min(tried.values()) <= book["validation"]["log_loss"]
    assert len(set(tried.values())) == 5


def test_a_pass_is_shared_and_kept(tiny_gpt2: Path, collection: Path, tmp_path: Path) -> None:
    """Rows 1, 3 and 4 read the same tokens at three depths: the first computes for all of them."""
    results = run_all(order_of(["1", "3", "4"], tiny_gpt2, collection, tmp_path / "out"), tmp_path / "store")
    computed = [result["tokens"]["computed"] for result in results]
    assert computed[0] == results[0]["tokens"]["read"]
    assert not any(computed[1:])


def test_sizes_that_are_not_here_are_no_failure(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """They are told in one line with what to do; the others run."""
    order = replace(order_of(["6", "16"], tiny_gpt2, collection, tmp_path), sizes={})
    shelf, told = Shelf(store), list[str]()
    results = list(run(plan(order, shelf), tmp_path, shelf, say=told.append))
    assert len(results) == 1
    assert [note for note in told if "no medium size in the catalogue (--sizes medium=MODEL names one)" in note]


def test_weights_that_are_not_here_are_no_failure(tmp_path: Path) -> None:
    """GPT-2's sizes have names; none is fetched unasked."""
    (row,) = find_rows(["xl"])
    assert reference_of(row, "gpt2", {}) == "gpt2-xl"
    absent = Shelf(tmp_path).look_up("gpt2-xl", fetch=False)
    assert isinstance(absent, Absent)
    assert absent.mend == "tailtune models pull gpt2-xl, or --fetch"
    hub = Shelf(tmp_path).look_up("nobody/has-this-model", fetch=False)
    assert isinstance(hub, Absent)
    assert hub.mend == "--fetch"


def test_an_encoder_has_no_mask_to_lose(tiny_bert: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Row 17 is told off; row 16 runs."""
    order = order_of(["no-mask", "16"], tiny_bert, collection, tmp_path)
    shelf = Shelf(store)
    jobs = plan(order, shelf)
    assert [isinstance(job.model, Absent) for job in jobs] == [False, True]
    assert len(list(run(jobs, tmp_path, shelf))) == 1


def test_costs_are_counted_before_anything_runs(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Padding to the context costs more than to the longest text, one token least; shared passes are paid once."""
    order = order_of(["1", "2", "4", "13", "18", "xl"], tiny_gpt2, collection, tmp_path)
    run_all(order_of(["2"], tiny_gpt2, collection, tmp_path), store)
    costs = {cost.job.row.number: cost for cost in estimate(plan(order, Shelf(store)), lambda width: 1e9)}
    assert costs["2"].status == "done"
    assert costs["2"].seconds == 0
    assert costs["13"].pass_seconds > costs["1"].pass_seconds > 0
    assert costs["4"].pass_seconds == 0 < costs["4"].training_seconds
    assert costs["18"].status == "as a row above"
    assert len(list(tmp_path.iterdir())) == 1


def test_results_of_another_version_are_refused(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Rather than shown as if they were this one's."""
    run_all(order_of(["2"], tiny_gpt2, collection, tmp_path), store)
    (file,) = tmp_path.iterdir()
    held = json.loads(file.read_text())
    held["depends_on"]["format"] = 0
    file.write_text(json.dumps(held))
    with pytest.raises(ConfigError, match="written by another version"):
        read_all(tmp_path)


def test_rows_and_splits_that_do_not_meet(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """The film reviews have a split of their own."""
    order = order_of(["imdb"], tiny_gpt2, collection, tmp_path)
    with pytest.raises(ConfigError, match="no row asked for runs on the split bonus"):
        plan(order, Shelf(store))


@pytest.mark.parametrize("given", ["huge=x", "medium", "medium="])
def test_sizes_are_checked(given: str) -> None:
    """Size and model, both."""
    with pytest.raises(ConfigError, match="expected SIZE=MODEL"):
        parse_sizes(given)


def test_sizes_are_read() -> None:
    """With or without blanks; nothing is nothing."""
    assert parse_sizes("medium=a, xl=b") == {"medium": "a", "xl": "b"}
    assert parse_sizes(None) == {}


@pytest.mark.parametrize("row", ["all", "random", "random-small", "lora-own-rate"])
def test_whole_models_learn(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path, row: str) -> None:
    """All weights, from pretrained or drawn ones, and low-rank updates; nothing is stored of a pass for them."""
    order = order_of([row], tiny_gpt2, collection, tmp_path)
    (result,) = run_all(order, store)
    assert result["losses"][-1] < result["losses"][0]
    assert result["tokens"]["computed_blocks"] == 0
    assert result["trained_weights"] == (32_834 if row == "lora-own-rate" else 71_938)


def test_drawn_weights_are_no_pretrained_ones(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """Rows 5, 10 and 10b start from three models, and a seed draws its own."""
    order = order_of(["5", "10"], tiny_gpt2, collection, tmp_path, seeds=(0, 1))
    losses = {(result["key"], result["losses"][0]) for result in run_all(order, store)}
    assert len({loss for _, loss in losses}) == 6


def test_words_need_no_model(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """A logistic regression on counts of words, on the same split."""
    (result,) = run_all(order_of(["w"], tiny_gpt2, collection, tmp_path), store)
    assert result["model"] is None
    assert result["train"]["accuracy"] == 1.0
    assert result["trained_weights"] > 50


def test_rows_of_film_reviews(tiny_gpt2: Path, tiny_bert: Path, store: Path, tmp_path: Path) -> None:
    """One epoch on a file of reviews: a decoder read at a pad, an encoder at its first token, and words."""
    reviews = write_csv(tmp_path / "reviews.csv", *messages(40))
    order = order_of(["imdb-1", "imdb-8"], tiny_gpt2, reviews, tmp_path / "out", splits=("imdb",))
    words, decoder = run_all(order, store)  # what takes long at the end
    assert decoder["tokens"]["limit"] == 256
    assert [decoder[part]["rows"] for part in ("train", "validation", "test")] == [28, 4, 8]
    assert len(decoder["losses"]) == 1
    assert words["test"]["rows"] == 8
    rows = tuple(replace(row, model=str(tiny_bert)) for row in find_rows(["imdb-9"]))
    (encoder,) = run_all(replace(order, rows=rows, sizes={"medium": str(tiny_bert)}), store)
    assert encoder["tokens"]["pad"] is None
    assert encoder["learning_rate"] == 5e-6


def test_eight_batches_of_one_are_a_batch_of_eight(
    tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path
) -> None:
    """Rows 15 and 16 go down the same way; row 14, one text to a step, does not."""
    order = order_of(["14", "15", "16"], tiny_gpt2, collection, tmp_path)
    alone, accumulated, together = run_all(order, store)
    assert accumulated["losses"] == pytest.approx(together["losses"], rel=1e-4)
    assert alone["losses"] != pytest.approx(together["losses"], rel=1e-2)


def test_a_row_that_diverges_leaves_the_others(tiny_gpt2: Path, collection: Path, store: Path, tmp_path: Path) -> None:
    """It is told in one line and has no file; among several rates the one that diverges is left out."""
    order = order_of(["4", "16"], tiny_gpt2, collection, tmp_path)
    ruinous, fine = order.rows
    rows = (replace(ruinous, setting=replace(ruinous.setting, learning_rates=(1e30,))), fine)
    shelf, told = Shelf(store), list[str]()
    found = list(run(plan(replace(order, rows=rows), shelf), tmp_path, shelf, say=told.append))
    assert [result["learning_rate"] for result in found] == [5e-5]
    assert len([note for note in told if note.startswith("  no result: the training loss became nan")]) == 1
    assert len(list(tmp_path.iterdir())) == 1
    rates = replace(ruinous, setting=replace(ruinous.setting, learning_rates=(1e30, 1e-3)))
    (kept,) = run_all(replace(order, rows=(rates,)), store)
    assert kept["learning_rate"] == 1e-3
    assert kept["tried"][0] == {"rate": 1e30, "validation_loss": None}
