"""Windows cover a long text without a gap, and their answers merge as by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tailtune.errors import BundleError, ConfigError
from tailtune.rules import softmax
from tailtune.text.windows import MOST_OVERLAP, LongRule, Merge, Windows, merge_scores

MERGES: list[Merge] = ["mean", "vote", "max"]
Counts = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@st.composite
def windowed(draw: st.DrawFn) -> tuple[LongRule, int, int]:
    """A rule of windows, their size, and the tokens of a text."""
    room = draw(st.integers(1, 40))
    stride = draw(st.one_of(st.none(), st.integers(-(-room // MOST_OVERLAP), room)))
    return LongRule(kind="windows", stride=stride).within(room), room, draw(st.integers(1, 300))


@given(windowed())
def test_windows_cover_the_text(drawn: tuple[LongRule, int, int]) -> None:
    """Every token is read, in order; windows are full, start a stride apart, and the last ends with the text."""
    rule, room, tokens = drawn
    spans = rule.spans(tokens, room)
    assert spans[0][0] == 0
    assert spans[-1][1] == tokens
    assert {place for start, stop in spans for place in range(start, stop)} == set(range(tokens))
    assert all(stop - start == min(room, tokens) for start, stop in spans)
    steps = np.diff([start for start, _ in spans])
    assert (steps[:-1] == rule.stride).all()
    assert (steps > 0).all()
    assert len(spans) == 1 + max(0, -(-(tokens - room) // (rule.stride or 1)))


@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from(["truncate-tail", "truncate-head", "windows"]))
def test_a_text_that_fits_is_one_part(tokens: int, more: int, kind: str) -> None:
    """Whatever the rule, it is read whole; one token more and truncation keeps the end that it names."""
    rule = LongRule(kind=kind).within(tokens)  # type: ignore[arg-type]
    assert rule.spans(tokens, tokens) == [(0, tokens)]
    expected = {"truncate-tail": [(0, tokens)], "truncate-head": [(more, more + tokens)]}
    if kind in expected:
        assert rule.spans(tokens + more, tokens) == expected[kind]


@pytest.mark.parametrize(
    ("stride", "said"), [(65, "larger than the window: 64 tokens"), (1, "read every token 64 times")]
)
def test_a_stride_that_does_not_fit_is_refused(stride: int, said: str) -> None:
    """Gaps between windows, and windows that cost many times what they read."""
    with pytest.raises(ConfigError, match=said):
        LongRule(kind="windows", stride=stride).within(64)
    assert LongRule(kind="windows").within(64).stride == 32
    assert LongRule(kind="windows").within(1).stride == 1


@pytest.mark.parametrize(
    "rule", [LongRule(), LongRule(kind="truncate-head"), LongRule(kind="windows", stride=3, merge="vote")]
)
def test_a_rule_survives_json(rule: LongRule) -> None:
    """The default one leaves no trace in a bundle."""
    assert LongRule.from_json(rule.as_json()) == rule
    assert (rule.as_json() == {}) == (rule == LongRule())


@pytest.mark.parametrize("value", [{"kind": "pages"}, {"kind": "windows", "stride": 2, "merge": "sum"}])
def test_an_unknown_rule_is_refused(value: dict[str, object]) -> None:
    """Rules of later versions."""
    with pytest.raises(BundleError, match="is not known"):
        LongRule.from_json(value)


def by_hand(scores: NDArray[np.float64], merge: Merge) -> NDArray[np.float64]:
    """The probabilities of one text from the scores of its windows."""
    shares = softmax(scores)
    together = {"vote": shares.mean(axis=0), "max": shares.max(axis=0), "mean": np.exp(np.log(shares).mean(axis=0))}
    merged = together[merge]
    return np.asarray(merged / merged.sum())


@given(counts=Counts, classes=st.integers(2, 4), merge=st.sampled_from(MERGES), seed=st.integers(0, 99))
def test_merging_is_what_it_is_called(counts: list[int], classes: int, merge: Merge, seed: int) -> None:
    """Geometric mean, mean and maximum of the windows' probabilities, text by text."""
    scores = 5 * np.random.default_rng(seed).standard_normal((sum(counts), classes))
    merged = softmax(merge_scores(scores, np.array(counts), merge))
    ends = np.cumsum(counts)
    for row, start, stop in zip(merged, ends - counts, ends, strict=True):
        np.testing.assert_allclose(row, by_hand(scores[start:stop], merge), atol=1e-12)


@given(counts=Counts, seed=st.integers(0, 99))
def test_the_mean_is_that_of_the_scores(counts: list[int], seed: int) -> None:
    """So a probe, linear in its features, says of a text what it says of its windows' mean features."""
    scores = 5 * np.random.default_rng(seed).standard_normal((sum(counts), 3))
    means = np.array([part.mean(axis=0) for part in np.split(scores, np.cumsum(counts)[:-1])])
    np.testing.assert_allclose(softmax(merge_scores(scores, np.array(counts), "mean")), softmax(means), atol=1e-12)


@given(counts=Counts, merge=st.sampled_from(MERGES), seed=st.integers(0, 99))
def test_a_single_window_is_left_alone(counts: list[int], merge: Merge, seed: int) -> None:
    """Its scores come back to the bit, whatever stands beside it, and in the precision they came in."""
    scores = np.random.default_rng(seed).standard_normal((sum(counts), 3)).astype(np.float32)
    merged = merge_scores(scores, np.array(counts), merge)
    assert merged.dtype == np.float32
    starts = np.cumsum(counts) - counts
    for text, (start, count) in enumerate(zip(starts, counts, strict=True)):
        if count == 1:
            np.testing.assert_array_equal(merged[text], scores[start])


@pytest.mark.parametrize("merge", MERGES)
def test_certain_windows_stay_finite(merge: Merge) -> None:
    """Scores thousands of nats apart overflow nothing; the order of windows does not matter."""
    scores = np.array([[0.0, 4000.0], [4000.0, 0.0], [0.0, 4000.0]])
    merged = merge_scores(scores, np.array([3]), merge)
    assert np.isfinite(merged).all()
    np.testing.assert_allclose(merge_scores(scores[::-1], np.array([3]), merge), merged)


def windows_of(counts: list[int]) -> Windows:
    lengths = 10 * np.array(counts, dtype=np.int64)
    return Windows(offsets=np.concatenate(([0], np.cumsum(counts))), lengths=lengths, full_lengths=lengths, merge="max")


@given(counts=Counts, seed=st.integers(0, 99))
def test_windows_are_found_by_text(counts: list[int], seed: int) -> None:
    """Those of any texts in any order; as rows to learn from, every text weighs 1 and its windows carry its label."""
    windows, random = windows_of(counts), np.random.default_rng(seed)
    texts = random.integers(0, len(counts), 4)
    labels = random.integers(0, 3, len(counts))
    expected = [place for text in texts for place in range(windows.offsets[text], windows.offsets[text + 1])]
    assert windows.of(texts).tolist() == expected
    places, taught, weights = windows.rows(texts, labels)
    assert places.tolist() == expected
    assert taught.tolist() == [labels[text] for text in texts for _ in range(counts[text])]
    if weights is None:
        assert set(counts) == {1}
    else:
        assert weights.sum() == pytest.approx(len(texts))
    taken = windows.take(texts)
    assert taken.counts.tolist() == [counts[text] for text in texts]
    assert taken.lengths.tolist() == windows.lengths[texts].tolist()
    assert taken.merge == "max"
    assert windows.longer.tolist() == [count > 1 for count in counts]


def test_whole_texts_are_their_windows() -> None:
    """Nothing is copied, weighed or merged where every text is one window."""
    windows, texts = Windows.whole(np.array([3, 1, 2])), np.array([2, 0])
    assert windows.single
    assert windows.of(texts) is texts
    assert windows.rows(texts, np.array([5, 6, 7]))[2] is None
    scores = np.ones((2, 2))
    assert windows.merged(scores, texts) is scores
    assert not windows.longer.any()
