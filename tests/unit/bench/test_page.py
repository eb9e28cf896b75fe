"""The page says what the results say: every figure from the JSON, every word of theirs harmless, nothing half read."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.command_line import call, require_refusal
from tailtune.bench.page import read_results, render, targets
from tailtune.errors import ConfigError
from tailtune.storage import write_json

Results = dict[str, dict[str, Any]]


class Limit(NamedTuple):
    """A target of one part: where its figure stands, what is just enough and what is just too little."""

    part: str
    what: str
    path: tuple[str, ...]
    enough: float
    too_little: float


LIMITS = (
    Limit("training", "(c) against (a), end to end", ("ratios", "same", "chapter"), 15.0, 14.99),
    Limit("training", "(c) against (b), end to end", ("ratios", "same", "trainer"), 9.0, 8.99),
    Limit("training", "(d) against (a), end to end", ("ratios", "auto", "chapter"), 30.0, 29.99),
    Limit("training", "(c) against its oracle, test rows", ("agreement", "test_rows_apart"), 1, 2),
    Limit("training", "(c) against its oracle, loss curve", ("agreement", "largest_loss_difference"), 1e-3, 1.001e-3),
    Limit("training", "accuracy of (d)", ("runs", "auto", "score", "accuracy"), 0.9, 0.899),
    Limit(
        "inference", "(h) Tailtune, all blocks, against (f), batched", ("against_pipeline", "tailtune-equal"), 2, 1.99
    ),
    Limit(
        "inference",
        "(h) Tailtune, as auto chose, against (f), batched",
        ("against_pipeline", "tailtune-chosen"),
        4,
        3.9,
    ),
    Limit(
        "inference",
        "(h) as auto chose, one text, median",
        ("engines", "tailtune-chosen", "single_ms", "median"),
        19.9,
        20,
    ),
    Limit("pass", "the pass against its own products alone", ("share",), 0.75, 0.74),
)


def put(tree: Any, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


def paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items():
        yield (*above, key)
        if isinstance(value, Mapping):
            yield from paths(value, (*above, key))


def cells(page: str, first: str) -> list[str]:
    """Return the cells of the first table row of ``page`` that starts with ``first``."""
    row = next(line for line in page.splitlines() if line.startswith(f"| {first}"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_a_target_is_met_at_its_limit_and_not_beyond(results: Results, limit: Limit) -> None:
    """The page says yes or no beside what was wanted and what was measured."""
    for value, met in ((limit.enough, True), (limit.too_little, False)):
        put(results[limit.part], limit.path, value)
        found = {target.what: target for target in targets(limit.part, results[limit.part])}
        assert found[limit.what].met is met
        assert cells(render(results), limit.what)[-1] == ("yes" if met else "**no**")


def test_every_target_is_tested_here(results: Results) -> None:
    """One that is added needs its limits in the table above."""
    judged = [(part, target.what) for part, result in results.items() for target in targets(part, result)]
    assert judged == [(limit.part, limit.what) for limit in LIMITS]


def test_figures_come_from_the_results(results: Results) -> None:
    """Seconds, both ratios, tokens, positions in millions, memory and accuracy; what a run has not is a dash."""
    put(results["training"], ("runs", "same", "positions"), 123_456)
    page = render(results)
    assert cells(page, "(c) Tailtune")[1:] == ["10.0", "20.0", "9.0", "100", "0.123", "80", "90.00 % (9 of 10)"]
    assert cells(page, "(e) word TF-IDF")[1:] == ["0.50", "400.0", "180.0", "2,000", "-", "50", "90.00 % (9 of 10)"]
    assert cells(page, "(a) the chapter's loop")[-1] == "see below"
    assert "**80%**" in page
    assert cells(page, "(f) the reference")[4:6] == ["1.00", "25"]


def test_rows_stand_in_the_order_of_their_letters(results: Results) -> None:
    """Files are sorted by name; the page is not, and the oracle is the last row, as its note says."""
    page = render({"training": results["training"]})
    letters = [line[2:5] for line in page.split("## Training")[1].splitlines() if line.startswith(("| (", "| the"))]
    assert letters[: len(letters) // 2] == ["(a)", "(b)", "(c)", "(d)", "(e)", "the"]
    assert cells(page.split("seconds per stage")[1], "(a)")[1] == "model 3.0, tokens 1.0, steps 180, evaluations 16.0"


def test_less_work_is_told_from_faster_work(results: Results) -> None:
    """The positions of the loops over ours, beside the measured ratios."""
    said = "(b) sends 5.0 times as many positions through the blocks as (c), (a) 22.0 times: at equal rates of products"
    assert f"{said} (c) would be 5.0 and 22.0 times faster; it is 9.0 and 20.0 times" in render(results)


def test_sampled_loops_are_called_so(results: Results) -> None:
    """The note on samples goes when both loops ran to their end, and speaks of one when the other did."""
    assert "(a) and (b) are sampled" in render(results)
    put(results["training"], ("runs", "chapter", "sample"), None)
    assert "(b) are sampled" in render(results)
    put(results["training"], ("runs", "trainer", "sample"), None)
    assert "are sampled" not in render(results)


@pytest.mark.parametrize("kept", [["training"], ["inference"], ["pass"], ["training", "pass"]])
def test_parts_that_are_missing_leave_no_trace(results: Results, kept: list[str]) -> None:
    """A page of one part has its section, its targets and nothing else."""
    headings = {"training": "## Training", "inference": "## Inference", "pass": "## Backbone pass"}
    page = render({part: results[part] for part in kept})
    assert [heading for part, heading in headings.items() if heading in page.splitlines()] == [
        headings[part] for part in kept
    ]
    assert "## Targets" in page
    assert page.count("A processor") == 1


def test_a_quick_run_is_not_to_be_quoted(results: Results) -> None:
    """The warning names the parts that were quick, above everything that was measured; full runs carry none."""
    assert "quick run" not in render(results)
    results["inference"]["quick"] = True
    opening, _, rest = render(results).partition("## Targets")
    assert "**inference: a quick run" in opening
    assert opening.count("quick run") == 1
    assert "quick run" not in rest


def test_two_machines_are_both_named(results: Results) -> None:
    """Parts measured apart say where; what they share is said once."""
    results["pass"]["machine"]["processor"] = "Another processor"
    page = render(results)
    assert page.count("A processor") == page.count("Another processor") == 1


@pytest.mark.parametrize(
    "hostile",
    ["a | b", "<script>alert(1)</script>", "two\nlines", "# heading", "`code`", "a\u2028b\u202e", "\\|", "**no**"],
)
def test_words_of_others_break_nothing(results: Results, hostile: str) -> None:
    """Titles, names and reasons from files and packages add no cell, no line, no heading and no tag."""
    plain = render(results)
    for part in results.values():
        part["model"] = part["data"]["name"] = part["machine"]["processor"] = hostile
    put(results["training"], ("runs", "word", "title"), hostile)
    put(results["inference"], ("engines", "onnx-int8", "skipped"), hostile)
    page = render(results)
    assert [line.count("|") for line in page.splitlines()] == [line.count("|") for line in plain.splitlines()]
    assert [line[:2] for line in page.splitlines() if line.startswith("#")] == [
        line[:2] for line in plain.splitlines() if line.startswith("#")
    ]
    assert "<" not in page


def test_a_left_out_engine_is_told_with_its_reason(results: Results) -> None:
    """It has no row."""
    page = render(results)
    assert "(g) onnxruntime, int8 was left out: no room." in page
    assert "| (g) onnxruntime, int8" not in page


def test_results_that_lack_any_key_are_refused_or_shown(results: Results) -> None:
    """Whatever another version of the bench left out, it is one line that names the part and a key, no KeyError."""
    refused = set()
    for part, result in results.items():
        for path in list(paths(result)):
            changed = copy.deepcopy(results)
            inner: Any = changed[part]
            for key in path[:-1]:
                inner = inner[key]
            del inner[path[-1]]
            try:
                render(changed)
            except ConfigError as error:
                assert error.message.startswith(f"the results of {part} were written by another version of the bench")
                assert re.search(r": they lack '[^'\n]+'$", error.message)
                refused.add((part, *path))
    assert {("training", "runs", name, "positions") for name in ("chapter", "trainer", "same", "oracle")} <= refused
    assert len(refused) > 50


def write(folder: Path, results: Mapping[str, Any]) -> None:
    for part, result in results.items():
        write_json(folder / f"{part}.json", result)


def test_what_was_written_is_read_back(results: Results, tmp_path: Path, capsys: Any) -> None:
    """In the order of the page; ``--table`` prints it and measures nothing."""
    write(tmp_path, dict(reversed(results.items())))
    assert list(read_results(tmp_path)) == ["training", "inference", "pass"]
    outcome = call(capsys, "bench", "--table", "--out", tmp_path)
    assert outcome.code == 0
    assert outcome.out == render(results)


def test_results_of_another_version_are_refused(results: Results, tmp_path: Path, capsys: Any) -> None:
    """One line with what is missing and what to do."""
    del results["training"]["runs"]["trainer"]["positions"]
    write(tmp_path, results)
    outcome = call(capsys, "bench", "--table", "--out", tmp_path)
    assert "the results of training were written by another version of the bench: they lack 'positions'" in (
        require_refusal(outcome, 2)
    )
    assert "hint: `tailtune bench` measures again" in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no results of the bench"), ("{", "cannot be read"), ("[]", "a list"), ("\xff", "cannot be read")],
)
def test_files_that_are_no_results_are_refused(content: str | None, said: str, tmp_path: Path, capsys: Any) -> None:
    """One line that names the folder or the file."""
    if content is not None:
        (tmp_path / "pass.json").write_bytes(content.encode("latin-1"))
    line = require_refusal(call(capsys, "bench", "--table", "--out", tmp_path), 2)
    assert said in line
    assert str(tmp_path) in line
