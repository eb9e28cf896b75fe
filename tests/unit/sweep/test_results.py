"""best.toml is read by train as it was meant, whatever the values; times are read in their units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailtune.resolving import Resolved, resolve
from tailtune.sweep.results import best_toml, made_with, trials_csv
from tailtune.sweep.space import Choice


def written(resolved: Resolved, varied: dict[str, Any]) -> str:
    best = {"trial": 3, "varied": varied, "scores": {"log-loss": 0.5}}
    return best_toml(resolved, {"best": best, "objective": "log-loss", "settings_compared": 9})


@given(
    text=st.text(min_size=1, max_size=30).filter(lambda text: text.strip() and text.isprintable()),
    rate=st.floats(1e-12, 1e3),
    clip=st.one_of(st.none(), st.floats(1e-6, 10)),
)
def test_train_reads_what_was_meant(
    text: str, rate: float, clip: float | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any name of a column, any rate, and no limit where there is none."""
    resolved = resolve({"data": "x.csv", "epochs": "7", "text_column": text, "out": "runs/a", "quiet": True})
    file = tmp_path_factory.mktemp("best") / "best.toml"
    varied = {"learning_rate": rate, "clip_norm": clip, "pooling": "mean", "blocks": 2}
    file.write_text(written(resolved, varied), encoding="utf-8")
    again = resolve({}, file).config
    assert (again.data, again.epochs, again.text_column) == ("x.csv", 7, text)
    assert (again.learning_rate, again.clip_norm, again.pooling, again.blocks) == (rate, clip, "mean", 2)
    assert (again.out, again.quiet) == (None, False)


def test_what_a_recipe_sets_is_left_to_it(tmp_path: Path) -> None:
    """The recipe itself is kept, and a varied value goes before it."""
    file = tmp_path / "best.toml"
    file.write_text(written(resolve({"data": "x.csv", "recipe": "chapter"}), {"learning_rate": 1e-3}), encoding="utf-8")
    assert "batch-size" not in file.read_text(encoding="utf-8")
    again = resolve({}, file).config
    assert (again.recipe, again.batch_size, again.learning_rate) == ("chapter", 8, 1e-3)


def test_trials_are_comparable_by_what_changes_them() -> None:
    """Where the run lies and what this machine does is no difference; a rate is, unless it is varied."""
    space = {"blocks": Choice(values=(1, 2))}
    plain = made_with("h", space, resolve({"data": "x.csv"}), "log-loss")
    idle = {"threads": 3, "device": "cpu", "out": "a", "quiet": True, "doubts": False, "baselines": "none"}
    assert made_with("h", space, resolve({"data": "y.csv", **idle}), "log-loss") == plain
    assert made_with("h", space, resolve({"data": "x.csv", "blocks": 3}), "log-loss") == plain
    assert made_with("h", space, resolve({"data": "x.csv", "learning_rate": 1e-3}), "log-loss") != plain
    assert made_with("h", {"blocks": Choice(values=(1, 3))}, resolve({"data": "x.csv"}), "log-loss") != plain


def test_a_reason_with_commas_is_one_cell() -> None:
    """As spreadsheets read it."""
    trial = {"trial": 0, "state": "contradiction", "scores": {}, "varied": {"clip_norm": None}, "steps": 0}
    table = trials_csv({"space": {"clip_norm": []}, "trials": [{**trial, "seconds": 0.25, "reason": 'a, "b"'}]})
    assert table.splitlines()[1] == '0,contradiction,,,,none,0,0.25,"a, ""b"""'
