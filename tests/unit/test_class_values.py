"""Class weights are read from either form, checked against the labels, scaled so that a penalty keeps its meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tailtune.class_values import class_weights, read_weights
from tailtune.errors import ConfigError
from tailtune.labels import LabelSet

THREE = LabelSet(names=("ham", "news", "spam"))
TRAINED = np.repeat(np.arange(3), [80, 15, 5])


def test_weights_come_from_either_form(tmp_path: Path) -> None:
    """TOML lines or CSV rows, in any order; integers are numbers too."""
    toml, table = tmp_path / "weights.toml", tmp_path / "weights.csv"
    toml.write_text("spam = 10\nham = 0.5\nnews = 1.0\n", encoding="utf-8")
    table.write_text("class,weight\nnews,1\nham,0.5\nspam,1e1\n", encoding="utf-8")
    assert read_weights(toml, THREE) == read_weights(table, THREE) == (0.5, 1.0, 10.0)


def test_only_ratios_matter(tmp_path: Path) -> None:
    """Weights are 1 on average over the training rows, whatever their size in the file; "auto" is N / (C n)."""
    small, large = tmp_path / "small.toml", tmp_path / "large.toml"
    small.write_text("ham = 0.001\nnews = 0.002\nspam = 0.01\n", encoding="utf-8")
    large.write_text("ham = 100\nnews = 200\nspam = 1000\n", encoding="utf-8")
    weights = [class_weights(str(path), THREE, TRAINED) for path in (small, large)]
    assert weights[0] is not None and weights[1] is not None
    np.testing.assert_allclose(weights[0], weights[1])
    np.testing.assert_allclose(weights[0] / weights[0][0], [1, 2, 10])
    assert weights[0][TRAINED].mean() == pytest.approx(1)
    auto = class_weights("auto", THREE, TRAINED)
    assert auto is not None
    np.testing.assert_allclose(auto, 100 / (3 * np.array([80, 15, 5])))


def test_none_is_none() -> None:
    """Not asked for, or asked for none: the fit is the one without weights."""
    assert class_weights(None, THREE, TRAINED) is None
    assert class_weights("none", THREE, TRAINED) is None


def test_a_class_without_training_rows_has_a_finite_weight() -> None:
    """It cannot be fitted, and must not spoil the others."""
    weights = class_weights("auto", THREE, np.array([0, 0, 0, 2]))
    assert weights is not None
    np.testing.assert_allclose(weights[[0, 2]], [2 / 3, 2])
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.toml", None, "cannot be read as weights"),
        ("broken.toml", "ham\n", "cannot be read as weights"),
        ("odd.csv", "a,b\n1,2\n", "cannot be read as weights: 'class'"),
        ("eggs.toml", "ham = 1\neggs = 2\n", "'eggs' is no class"),
        ("few.toml", "ham = 1\n", "no weight for 'news', 'spam'"),
        ("empty.csv", "class,weight\n", "no weight for 'ham', 'news', 'spam'"),
        ("twice.csv", "class,weight\nham,1\nham,2\n", "two weights for 'ham'"),
        ("zero.toml", "ham = 0\n", "0 is no weight for 'ham' (expected 1e-06 to 1e+06)"),
        ("below.csv", "class,weight\nham,-1\n", "'-1' is no weight for 'ham'"),
        ("word.csv", "class,weight\nham,dear\n", "'dear' is no weight for 'ham'"),
        ("short.csv", "class,weight\nham\n", "None is no weight for 'ham'"),
        ("endless.toml", "ham = inf\n", "inf is no weight for 'ham'"),
        ("yes.toml", "ham = true\n", "True is no weight for 'ham'"),
        ("deep.toml", "[ham]\nspam = 2\n", "is no weight for 'ham'"),
    ],
)
def test_weights_that_cannot_be_are_refused(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    """One line that names flag, file and class."""
    path = tmp_path / name
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        class_weights(str(path), THREE, TRAINED)
    assert str(caught.value).startswith(f"--class-weights {path}: ")
    assert said in str(caught.value)
