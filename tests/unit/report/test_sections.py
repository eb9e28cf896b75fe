"""Sections and plots: pure functions of numbers."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from support.run_metrics import run_metrics
from tailtune.report import making, plots, sections, svg
from tailtune.report.blocks import Figure, Table

METRICS, _ = run_metrics()


def _places(drawn: str) -> list[float]:
    """Every x and y of a plot outside of turned groups."""
    flat = re.sub(r"<g.*?</g>", "", drawn)
    return [float(number) for number in re.findall(r'[xy12]="(-?[0-9.]+)"', flat)]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.968, 0.999, [0.97, 0.98, 0.99]),
        (3, 3, [3]),
        (0, 500, [0, 100, 200, 300, 400, 500]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    """Steps of 1, 2, 2.5 or 5 times a power of ten."""
    assert svg.ticks(low, high) == pytest.approx(expected)


def test_axes_map_ends_to_edges() -> None:
    """The lowest number lies left and at the bottom; a logarithmic axis gives equal room to equal factors."""
    axes = svg.Axes(x=(1, 100), y=(0, 1), log_x=True)
    assert axes.across(10) == pytest.approx((axes.across(1) + axes.across(100)) / 2)
    assert axes.down(0) > axes.down(1)
    flat = svg.Axes(x=(2, 2), y=(1, 1))
    assert svg.WIDTH > flat.across(2) > 0


def test_names_in_plots_are_escaped() -> None:
    """A class named like markup is words."""
    drawn = plots.forest([("<script>", 0.9, (0.8, 0.95))], said='"><script>')
    assert "<script>" not in drawn
    assert "&lt;script&gt;" in drawn


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 0.4, 0.6)])
def test_plots_stay_inside(shares: tuple[float, float, float]) -> None:
    """Perfect, hopeless and middling scores: no mark leaves the drawing, and no number is none."""
    share, low, high = shares
    entry = {"rows": 9, "confidence": share, "accuracy": share, "interval": [low, high], "log_loss": 0.0}
    entry["log_loss_interval"] = [0.0, 0.0]
    for drawn in (
        plots.forest([("a", share, (low, high))], said=""),
        plots.reliability([entry], said=""),
        plots.learning([entry, {**entry, "rows": 18}], "accuracy", "accuracy", said=""),
        plots.learning([entry, {**entry, "rows": 18}], "log_loss", "log loss", said=""),
        plots.losses({"a": [(1.0, 0.0), (2.0, 0.0)]}, ("x", "y"), said=""),
        plots.depths([{"depth": 3, "loss": 0.0}], 3, said=""),
    ):
        assert "nan" not in drawn
        assert all(-1 <= place <= svg.WIDTH for place in _places(drawn))


def test_few_classes_get_a_matrix_many_their_worst_pairs() -> None:
    """77 classes do not fit: the pairs most often confused are listed, most frequent first."""
    few = sections.confusion(METRICS)
    assert few is not None
    assert [block.levels is not None for block in few.blocks if isinstance(block, Table)] == [True]
    many, _ = run_metrics([f"intent {number}" for number in range(77)], rows=900)
    section = sections.confusion(many)
    assert section is not None
    (table,) = section.blocks
    assert isinstance(table, Table)
    counts = [int(row[2]) for row in table.rows]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) <= sections.MOST_CONFUSIONS


def test_a_far_baseline_is_named_not_drawn() -> None:
    """The commonest class would press the others into one point: it stands in the caption and in the table."""
    section = sections.baselines(METRICS)
    assert section is not None
    figure, table = section.blocks
    assert isinstance(figure, Figure)
    assert isinstance(table, Table)
    assert "Not drawn, far to the left: most frequent class, 50.00 %." in figure.caption
    assert len(table.rows) == 4


def lead(gain: float, *, before: int = 1951) -> str:
    """What is said of more labels after such a gain from ``before`` to 3,902 rows, to a log loss of 0.05."""
    metrics: dict[str, Any] = copy.deepcopy(METRICS)
    curve = metrics["detail"]["learning_curve"]
    curve["last_step"] = {"gain": gain, "interval": [gain / 2, 2 * gain]}
    curve["points"][-2]["rows"] = before
    curve["points"][-1] |= {"rows": 3902, "log_loss": 0.05}
    section = making.learning(metrics)
    assert section is not None
    return section.lead


def test_twice_the_labels() -> None:
    """Half of a clear gain by a doubling is expected again, between none and all of it; of a steeper curve nothing."""
    said = "With twice the labels, 7,804, expect a log loss of about 0.040, half of this gain again"
    assert f"{said} (0.030 if all of it came again, 0.050 if none)." in lead(0.02)
    assert "With twice the labels" not in lead(0.02, before=1500)
    assert "With twice the labels" not in lead(0.06)


@pytest.mark.parametrize(
    ("bounds", "said"), [((0.01, 0.03), "Probably yes."), ((-0.01, 0.03), "Not clear."), ((-0.03, -0.01), "Not by")]
)
def test_more_labels(bounds: tuple[float, float], said: str) -> None:
    """The answer follows the interval of the last step."""
    metrics: dict[str, Any] = copy.deepcopy(METRICS)
    metrics["detail"]["learning_curve"]["last_step"] = {"gain": sum(bounds) / 2, "interval": list(bounds)}
    section = making.learning(metrics)
    assert section is not None
    assert section.lead.startswith(said)
    assert ("With twice the labels" in section.lead) == (bounds[0] > 0)
    metrics["detail"]["learning_curve"]["points"][-2]["rows"] = 976
    far = making.learning(metrics)
    assert far is not None
    assert far.lead.startswith("Not told")
