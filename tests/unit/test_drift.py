"""PSI: the sum it is, the noise it has, the bins it is counted in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import chi2

from tailtune.drift import NO_LABEL, Answered, Bins, Counts, Reference, count_in, noise, psi, read, shares
from tailtune.errors import BundleError
from tailtune.storage import canonical_json

NAMES = ("ham", "spam")


def answered(spam: Sequence[float], lengths: Sequence[int] | None = None) -> Answered:
    second = np.array(spam)
    rows = np.stack([1 - second, second], axis=1)
    read = np.array(lengths if lengths is not None else [5] * len(spam))
    return Answered.of(NAMES, rows, rows.argmax(axis=1), read)


def drawn(random: np.random.Generator, count: int, *, a: float = 0.4, b: float = 1.2, long: float = 3.0) -> Answered:
    """Confident answers and long-tailed lengths."""
    return answered(random.beta(a, b, count).tolist(), np.exp(random.normal(long, 0.7, count)).astype(int).tolist())


def test_psi_by_hand() -> None:
    """Two bins, half and half before: (0.25 - 0.5) ln(0.25 / 0.5) + (0.75 - 0.5) ln(0.75 / 0.5) = 0.27465."""
    assert psi(np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(0.2746530722, abs=1e-9)
    assert psi(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.0


def test_psi_as_a_plain_loop_has_it() -> None:
    """The definition term by term, on random shares; it does not matter which of both came first."""
    random = np.random.default_rng(1)
    for bins in (2, 3, 10):
        before, after = random.dirichlet(np.ones(bins)), random.dirichlet(np.ones(bins))
        by_hand = 0.0
        for p, q in zip(before.tolist(), after.tolist(), strict=True):
            by_hand += (q - p) * math.log(q / p)
        assert psi(before, after) == pytest.approx(by_hand, rel=1e-12)
        assert psi(after, before) == pytest.approx(by_hand, rel=1e-12)


def test_shares_of_empty_bins() -> None:
    """None is 0, so that the index is finite; they sum to 1."""
    found = shares(np.array([0, 10, 30]))
    assert found.tolist() == [0.5 / 41.5, 10.5 / 41.5, 30.5 / 41.5]


@pytest.mark.parametrize("bins", [2, 3, 5, 10, 50])
def test_noise_is_a_quantile(bins: int) -> None:
    """Within 4 % of the exact chi-squared quantile."""
    exact = (1 / 300 + 1 / 700) * chi2.ppf(0.999, bins - 1)
    assert noise(bins, 300, 700) == pytest.approx(exact, rel=0.04)
    assert noise(bins, 300, 0) == math.inf


@pytest.mark.parametrize(
    ("index", "within", "reading"),
    [
        (0.05, 0.02, "stable"),
        (0.12, 0.02, "shifting"),
        (0.12, 0.15, "stable"),
        (0.3, 0.15, "drifted"),
        (9.0, 0.26, None),
    ],
)
def test_read(index: float, within: float, reading: str | None) -> None:
    """The usual bounds; never within the noise, and nothing where the noise alone would be drift."""
    assert read(index, within) == reading


def test_bins_hold_equally_many() -> None:
    """Ten of 30 rows each, wherever they lie; a value is counted where it was counted before."""
    values = np.random.default_rng(2).beta(0.2, 0.2, 300)
    bins = Bins.of(values)
    assert bins.rows.tolist() == [30] * 10
    assert count_in(bins.edges, values[::-1]).tolist() == [30] * 10


def test_bins_of_few_and_of_equal_values() -> None:
    """At least 20 rows each; equal values stay together; one value leaves one bin."""
    random = np.random.default_rng(3)
    assert Bins.of(random.random(70)).rows.tolist() == pytest.approx([23.3] * 3, abs=1)
    tied = Bins.of(np.array([1.0] * 150 + [0.5] * 25 + [0.2] * 5 + [0.1] * 20))
    assert tied.rows.tolist() == [20, 30, 150]
    assert Bins.of(np.ones(100)).rows.tolist() == [100]


def test_order_does_not_matter() -> None:
    """The same texts in another order, and in other portions, give the same index to the last bit."""
    random = np.random.default_rng(4)
    spam, lengths = random.beta(0.4, 1.2, 300), random.integers(1, 200, 300)
    order = random.permutation(300)
    first = Reference.of(answered(spam.tolist(), lengths.tolist()))
    second = Reference.of(answered(spam[order].tolist(), lengths[order].tolist()))
    assert first is not None
    assert second is not None
    assert first.as_json() == second.as_json()
    whole, parts = Counts(first), Counts(second)
    whole.add(answered(spam.tolist(), lengths.tolist()))
    for part in np.array_split(order, 7):
        parts.add(answered(spam[part].tolist(), lengths[part].tolist()))
    assert whole.compared() == parts.compared()
    assert whole.compared()["scores"][0] == 0.0


@pytest.mark.parametrize(("rows", "answers"), [(100, 500), (400, 400), (1000, 5000)])
def test_false_alarms_are_rare(rows: int, answers: int) -> None:
    """Samples of one population: of 200 pairs, three measures each, at most one in a hundred is called moved."""
    random = np.random.default_rng(rows)
    told = moved = 0
    for _ in range(200):
        reference = Reference.of(drawn(random, rows))
        assert reference is not None
        counts = Counts(reference)
        counts.add(drawn(random, answers))
        readings = [read(*counts.compared()[name]) for name in ("scores", "labels", "lengths")]
        told += sum(reading is not None for reading in readings)
        moved += any(reading not in (None, "stable") for reading in readings)
    assert told == 600
    assert moved <= 2


def test_another_population_is_found() -> None:
    """Scores, lengths or labels that moved are each told of; the others are not."""
    random = np.random.default_rng(5)
    reference = Reference.of(drawn(random, 500))
    assert reference is not None
    longer, surer = Counts(reference), Counts(reference)
    longer.add(drawn(random, 1000, long=3.8))
    surer.add(drawn(random, 1000, a=1.2, b=0.6))
    found = {name: read(*pair) for name, pair in longer.compared().items()}
    assert found == {"scores": "stable", "confidence": "stable", "lengths": "drifted", "labels": "stable"}
    found = {name: read(*pair) for name, pair in surer.compared().items()}
    assert (found["scores"], found["labels"], found["lengths"]) == ("drifted", "drifted", "stable")


def test_windows_add_up() -> None:
    """Counts of two windows are those of all their texts."""
    random = np.random.default_rng(6)
    reference = Reference.of(drawn(random, 200))
    assert reference is not None
    first, second, both = Counts(reference), Counts(reference), Counts(reference)
    for counts in (first, second):
        texts = drawn(random, 100)
        counts.add(texts)
        both.add(texts)
    assert first.plus(second).compared() == both.compared()
    assert first.plus(second).answers == 200


def test_several_labels() -> None:
    """Each label given counts, and a text without any does; confidence is that of the likeliest."""
    rows = np.array([[0.9, 0.8], [0.2, 0.1], [0.6, 0.3]])
    made = Answered.of(NAMES, rows, rows >= 0.5, np.array([3, 4, 5]))
    assert made.label_counts() == {"ham": 2, "spam": 1, NO_LABEL: 1}
    assert made.confidence.tolist() == [0.9, 0.2, 0.6]


def test_rare_labels_are_compared_together() -> None:
    """A label that no validation row was given is no infinite index, and is found once texts are given it."""
    reference = Reference.of(answered([0.1] * 200))
    assert reference is not None
    assert reference.labels == {"ham": 200, "spam": 0, NO_LABEL: 0}
    counts = Counts(reference)
    counts.add(answered([0.1] * 200))
    assert "labels" not in counts.compared()  # one label alone
    counts.add(answered([0.9] * 100))
    index, within = counts.compared()["labels"]
    assert read(index, within) == "drifted"


def test_saved_and_read() -> None:
    """What JSON gives back compares alike; too few rows give nothing to save; what is damaged is refused."""
    reference = Reference.of(drawn(np.random.default_rng(7), 90))
    assert reference is not None
    saved = reference.as_json()
    assert Reference.from_json(saved, NAMES).as_json() == saved
    assert Reference.from_json(json.loads(canonical_json(saved)), NAMES).as_json() == saved
    assert Reference.of(answered([0.1, 0.7] * 29)) is None
    for wrong in ({**saved, "scores": None}, {**saved, "confidence": {"edges": [1, 2], "rows": [3]}}, {}):
        with pytest.raises(BundleError, match=r"metrics\.json: drift"):
            Reference.from_json(wrong, NAMES)
    with pytest.raises(BundleError, match="not those of the classifier"):
        Reference.from_json(saved, ("ham", "other"))
