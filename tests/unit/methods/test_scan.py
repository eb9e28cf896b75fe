"""The scan sees a sample, prices every depth, keeps within limits, and lets held-out rows judge the precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.features import first_token_task, rows_of
from support.texts import random_tokens
from tailtune.errors import ConfigError
from tailtune.features.passes import Passes
from tailtune.features.store import text_keys
from tailtune.methods import scan as scan_module
from tailtune.methods.probe import Rows
from tailtune.methods.scan import SAMPLE, SAMPLE_PER_CLASS, Limits, Scan, sample, scan, scan_size
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokens

Run = Callable[..., Scan]


@pytest.fixture
def passes(tiny_llama: Path, tmp_path: Path) -> Passes:
    return Passes(load_decoder(tiny_llama), weights="tiny", store=tmp_path, device="cpu")


@pytest.fixture
def run(passes: Passes) -> Run:
    def scanned(tokens: Tokens, rows: Rows, **named: Any) -> Scan:
        settings: dict[str, Any] = {"precision": "fp32", "limits": Limits(), "depths": (1, 2, 3), "pooling": "last"}
        return scan(passes, tokens, rows, **settings | named)

    return scanned


def test_one_point_per_depth(run: Run) -> None:
    """Each with its held-out scores, an interval around the accuracy, and a price that grows with the depth."""
    tokens, labels = first_token_task(100)
    found = run(tokens, rows_of(labels, train=60, validation=20))
    assert [point.candidate.depths for point in found.points] == [(1,), (1, 2), (1, 2, 3)]
    assert found.rows == 80
    told = found.as_json()
    for point in told["points"]:
        low, high = point["interval"]
        assert low <= point["accuracy"] <= high
        assert point["rows"] == 80
    assert [point["megabytes"] for point in told["points"]] == sorted(point["megabytes"] for point in told["points"])
    assert 0 < told["points"][0]["milliseconds"] < told["points"][-1]["milliseconds"]
    assert told["chosen_depth"] == found.chosen.depth
    assert f"depth {found.chosen.depth}: the shallowest of depths 1 to 3" in found.reason


def test_the_sample_does_not_depend_on_the_split() -> None:
    """Another split, order or labelling of the same texts samples the same texts."""
    tokens = random_tokens([5] * 4000, seed=1)
    keys, labels = text_keys(tokens), np.arange(4000) % 2
    rows = rows_of(labels, train=2800, validation=400)
    assert scan_size(rows) == SAMPLE
    first = sample(keys, rows, SAMPLE)
    assert len(first) == pytest.approx(SAMPLE / 0.8, abs=2)
    shuffled = np.random.default_rng(0).permutation(4000)
    other = replace(rows, train=shuffled[:2800], validation=shuffled[2800:3200], labels=1 - labels)
    assert np.array_equal(sample(keys, other, SAMPLE), first)
    order = np.random.default_rng(1).permutation(4000)
    moved = sample(keys[order], replace(rows, labels=labels[order]), SAMPLE)
    assert np.array_equal(np.sort(order[moved]), first)
    half = sample(keys, rows, SAMPLE // 2)
    assert set(half) <= set(first)


def test_a_rare_class_is_in_the_sample() -> None:
    """Ten rows of it, or all there are; never one of the test part for its class."""
    labels = np.zeros(5000, dtype=np.int64)
    labels[::500], labels[1:4000:1000] = 1, 2
    rows = rows_of(labels, train=3500, validation=500)
    texts = sample(text_keys(random_tokens([4] * 5000, seed=2)), rows, SAMPLE)
    seen = labels[texts[texts < 4000]]
    assert (seen == 1).sum() == 8 <= SAMPLE_PER_CLASS  # all of the 4,000 rows that may be seen
    assert (seen == 2).sum() == 4


def test_large_data_and_many_classes_are_sampled_more() -> None:
    """A twentieth of many rows, up to a limit; ten rows per class."""
    sizes = {(20_000, 2): 1000, (500_000, 2): 4096, (2000, 150): 1500}
    for (count, classes), size in sizes.items():
        assert scan_size(rows_of(np.arange(count) % classes, train=count, validation=0)) == size


def test_a_limit_on_bytes_cuts_lower(run: Run) -> None:
    """Depths above the limit are shown and not taken; below all of them the error says what the least costs."""
    tokens, labels = first_token_task(100)
    rows = rows_of(labels, train=60, validation=20)
    free = run(tokens, rows)
    middle = int(free.points[1].megabytes * 1e6)
    found = run(tokens, rows, limits=Limits(bytes=middle + 1000, besides=1000))
    assert [point.within for point in found.points] == [True, True, False]
    assert found.chosen.depth <= 2
    assert "within the limits" in found.reason
    with pytest.raises(ConfigError, match=r"no depth keeps within the limits: depth 1 in fp32 takes .* ms .* and 0 MB"):
        run(tokens, rows, limits=Limits(bytes=middle, besides=middle))


def test_a_limit_on_time_is_measured(run: Run) -> None:
    """An hour allows every depth, a nanosecond none."""
    tokens, labels = first_token_task(60)
    rows = rows_of(labels, train=40, validation=20)
    assert all(point.within for point in run(tokens, rows, limits=Limits(milliseconds=3.6e6)).points)
    with pytest.raises(ConfigError, match="raise --budget"):
        run(tokens, rows, limits=Limits(milliseconds=1e-6))


@pytest.mark.parametrize("faster", [True, False])
def test_int8_is_taken_where_it_is_faster(run: Run, passes: Passes, faster: bool, monkeypatch: Any) -> None:
    """On a task that both solve alike int8 stays; where it is no faster, nothing is run in int8."""
    monkeypatch.setattr(scan_module, "int8_is_faster", lambda width, mlp_width: faster)
    tokens, labels = random_tokens([6] * 100, seed=3), np.arange(100) % 2
    tokens.ids.reshape(100, 6)[:, -1] = np.where(np.random.default_rng(0).random(100) < 0.2, 1 - labels, labels)
    found = run(tokens, rows_of(labels, train=60, validation=20), precision="auto")
    assert found.precision == ("int8" if faster else "fp32")
    assert {done.precision for done in passes.done} == ({"int8", "fp32"} if faster else {"fp32"})
    assert ("not noticeably worse" if faster else "not faster on this machine") in found.reason


def test_fp32_is_taken_where_held_out_rows_prefer_it(run: Run, monkeypatch: Any) -> None:
    """A backbone whose int8 products are broken loses, although it is faster."""
    from tailtune.models import fastest, int8

    monkeypatch.setattr(scan_module, "int8_is_faster", lambda width, mlp_width: True)
    monkeypatch.setattr(fastest, "int8_is_exact", lambda: False)
    monkeypatch.setattr(int8.Int8Linear, "forward", lambda self, x: x.new_zeros(len(x), len(self.scale)))
    random = np.random.default_rng(0)
    tokens = random_tokens([6] * 300, seed=3)
    ids = tokens.ids.reshape(300, 6)
    labels = random.integers(0, 2, 300)
    ids[:, 0], ids[:, -1] = np.where(labels == 1, 7, 200), 3  # the class is told by a token that only attention reads
    rows = rows_of(labels, train=250, validation=50)
    found = run(tokens, rows, precision="auto", depths=(2,))
    assert found.precision == "fp32"
    assert "the held-out rows prefer them to int8" in found.reason
    kept = run(tokens, rows, precision="auto", depths=(2,), limits=Limits(bytes=int(1e6 * found.points[0].megabytes)))
    assert kept.precision == "int8"
    assert "beyond the limits" in kept.reason
