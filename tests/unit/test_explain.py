"""Words that answers hang on: offsets that fit the text, changes that are what leaving out changes, bounded work."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.classifiers import probe_bundle, reading, ruled_bundle
from support.command_line import call, json_lines
from support.hostile_texts import hostile_texts
from tailtune.explain import MOST_SPANS, Asked, Highlight, explain, explain_all, grouped, units
from tailtune.predict import Predictor
from tailtune.text.windows import LongRule

RTL = "مرحبا، هل ستأتي اليوم؟"
EMOJI = "ok 👩‍👩‍👧 e\u0301\u0323 👍🏽 done"


@pytest.fixture(scope="module")
def predictor(tiny_llama: Path) -> Predictor:
    return Predictor(probe_bundle(tiny_llama))


def require_fits(text: str, found: list[Highlight]) -> None:
    """Spans are in order, apart, not blank, and slice back to their words."""
    ends = [0, *(each.end for each in found)]
    for each, before in zip(found, ends, strict=False):
        assert before <= each.start < each.end <= len(text)
        assert text[each.start : each.end] == each.text
        assert each.text == each.text.strip() != ""
        assert -1 <= each.change <= 1


@given(st.text(max_size=200))
@example(RTL)
@example(EMOJI)
@example("\u0301leading mark")
def test_words_cover_all_that_is_not_blank(text: str) -> None:
    """Whatever the script: words lie in order and hold every character that is not white space, none twice."""
    spans = units(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(spans))


@given(st.integers(0, 200), st.integers(0, 30))
def test_groups_are_few_equal_and_whole(words: int, most: int) -> None:
    """At most so many, each of about as many words, first to last word covered."""
    spans = [(3 * at, 3 * at + 2) for at in range(words)]
    found = grouped(spans, most)
    assert len(found) == min(most, words)
    if found:
        assert (found[0][0], found[-1][1]) == (0, spans[-1][1])
        sizes = [(end - start + 1) // 3 for start, end in found]
        assert max(sizes) - min(sizes) <= 1
        assert sum(sizes) == words


def test_scripts_without_blanks_are_taken_sign_by_sign() -> None:
    """Han and kana one by one; joined emoji, skin tones and combining marks stay whole."""
    assert [end - start for start, end in units("無料です free")] == [1, 1, 1, 1, 4]
    assert [EMOJI[start:end] for start, end in units(EMOJI)] == EMOJI.split()
    assert [text for text in ("か\u3099き",) for _ in units(text)] == ["か\u3099き"] * 2


@pytest.mark.parametrize("text", [*hostile_texts(), RTL, EMOJI, "", "   ", "a", "無料です"])
def test_offsets_fit_any_text(predictor: Predictor, text: str) -> None:
    """Hostile, right to left, emoji, blank: spans slice back to the words; no more than the limit."""
    found = explain(predictor, text)
    require_fits(text, found)
    if predictor.predict([text])[0].truncated:
        assert len(found) <= MOST_SPANS
    else:
        assert len(found) == min(MOST_SPANS, len(units(text)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["win", "a prize", "see", "you", "5", "ok!"]), min_size=1, max_size=12))
def test_a_change_is_what_leaving_the_word_out_changes(predictor: Predictor, words: list[str]) -> None:
    """The same as asking for the text without the word, for the label given and for one that is named."""
    text = " ".join(words)
    whole = predictor.predict([text])[0]
    for label in (None, predictor.labels[0]):
        followed = whole.label if label is None else label
        for each in explain(predictor, text, label=label):
            without = text[: each.start] + text[each.end :].lstrip()
            left = predictor.predict([without])[0].probabilities[followed]
            assert each.change == pytest.approx(whole.probabilities[followed] - left, abs=1e-4)


def test_the_label_followed_is_the_one_decided(tiny_llama: Path) -> None:
    """With a rule between probabilities and labels, that of the answer."""
    ruled = Predictor(ruled_bundle(tiny_llama))
    text = "win a prize now"
    answer = ruled.predict([text])[0]
    assert explain(ruled, text) == explain(ruled, text, label=answer.label)


def test_long_texts_cost_what_is_read_of_them(predictor: Predictor) -> None:
    """A text of a megabyte: the spans lie in the part that is read, and all of that part is covered."""
    text = "word " * 200_000
    found = explain(predictor, text)
    require_fits(text, found)
    assert 10 < len(found) <= MOST_SPANS
    read = predictor.bundle.tokenizer.max_tokens
    assert found[-1].end <= 8 * read
    assert predictor.predict([text[: found[-1].end - 10]])[0].truncated is False
    assert predictor.predict([text[: found[-1].end + 10]])[0].truncated is True


def test_other_rules_for_long_texts_are_followed(tiny_llama: Path) -> None:
    """Of a text whose beginning is not read the last words are told, of one read in windows the words of all of it."""
    text = " ".join(f"w{number}" for number in range(300))
    made = ruled_bundle(tiny_llama)
    last = explain(Predictor(reading(made, LongRule(kind="truncate-head"))), text)
    require_fits(text, last)
    assert last[-1].end == len(text)
    assert last[0].start > len(text) / 2
    every = explain(Predictor(reading(made, LongRule(kind="windows"))), text)
    require_fits(text, every)
    assert (every[0].start, every[-1].end) == (0, len(text))
    assert any(each.change for each in every)


def test_a_bound_on_tokens_is_kept(predictor: Predictor) -> None:
    """Short texts leave their share to long ones, too long ones get none, and no more is read than allowed."""
    texts = ["win a prize", "see you at home for dinner tonight " * 3, "word " * 150]
    read: list[int] = []
    found = explain_all(
        predictor,
        [Asked(text=text) for text in texts],
        tokens=1000,
        progress=lambda stage, done, total, unit: read.append(total),
    )
    assert len(found[0]) == 3
    assert 3 < len(found[1]) <= MOST_SPANS
    assert read[-1] <= 1000
    assert explain_all(predictor, [Asked(text=texts[2])], tokens=100) == [[]]
    assert explain_all(predictor, []) == []


def test_explained_together_or_alone_is_the_same(predictor: Predictor) -> None:
    """Batches change nothing."""
    texts = ["win a prize now", "", RTL, "see you at home"]
    together = explain_all(predictor, [Asked(text=text) for text in texts])
    for text, found in zip(texts, together, strict=True):
        alone = explain(predictor, text)
        assert [each.text for each in alone] == [each.text for each in found]
        np.testing.assert_allclose([e.change for e in alone], [e.change for e in found], atol=1e-5)


def test_predict_explains(predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words with their changes for people; offsets into the text for machines, on stdout and in a file."""
    predictor.save(tmp_path / "bundle")
    text = "win a prize  now"
    people = call(capsys, "predict", tmp_path / "bundle", "--explain", text)
    assert people.code == 0
    lines = [line.split() for line in people.out.splitlines() if re.match(r" +[+\u2212][0-9]", line)]
    assert [line[-1] for line in lines] == text.split()
    [answer] = json_lines(call(capsys, "predict", tmp_path / "bundle", "--explain", "--json", text).out)
    assert [text[each["start"] : each["end"]] for each in answer["highlights"]] == text.split()
    assert [each["text"] for each in answer["highlights"]] == text.split()
    (tmp_path / "in.txt").write_text(f"{text}\nok\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    asked = ["predict", tmp_path / "bundle", "--explain", "--file", tmp_path / "in.txt", "--out", out, "--quiet"]
    assert call(capsys, *asked).code == 0
    rows = json_lines(out.read_text(encoding="utf-8"))
    assert [each["text"] for each in rows[0]["highlights"]] == text.split()
    [plain] = json_lines(call(capsys, "predict", tmp_path / "bundle", "--json", text).out)
    assert "highlights" not in plain
