"""Labels that are probably wrong: planted ones are found, counts hold no text, corrections come round."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.texts import messages
from tailtune.config import TrainConfig
from tailtune.data.corrections import read_corrections, relabelled
from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Split, split_dataset
from tailtune.doubts import Doubts, doubtful, doubts_csv, find_doubts
from tailtune.learn import Learnt, learn
from tailtune.runs import Stopwatch

ROWS, FLIPPED = 400, 12
OTHER = {"ham": "spam", "spam": "ham"}


def learnt_from(dataset: Dataset, split: Split, model: Path, store: Path, **more: Any) -> Learnt:
    settings = {"method": "probe", "depth": 2, "precision": "fp32", "device": "cpu", **more}
    config = TrainConfig(**{"data": "memory", "model": str(model), **settings})
    return learn(dataset, split, config, store=store, watch=Stopwatch())


def found_in(dataset: Dataset, split: Split, model: Path, store: Path, **more: Any) -> tuple[Doubts, Learnt]:
    learnt = learnt_from(dataset, split, model, store, **more)
    return find_doubts(split, learnt), learnt


def flipped(dataset: Dataset, among: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[Dataset, set[int]]:
    """Return the data with three per cent of the labels turned around, all in ``among``, and where they are."""
    turned = set(np.random.default_rng(5).choice(among, FLIPPED, replace=False).tolist())
    labels = [OTHER[label] if at in turned else label for at, label in enumerate(dataset.labels)]
    return replace(dataset, labels=tuple(labels)), turned


@pytest.mark.parametrize("balance", ["none", "weights"])
def test_planted_flips_are_found(tiny_llama: Path, tmp_path: Path, balance: str) -> None:
    """Of 12 turned labels in 320 most are among the 12 most doubtful, where chance would put half a one."""
    clean = dataset_from_lists(*messages(ROWS))
    split = split_dataset(clean, seed=0)
    seen = np.concatenate((split.train, split.validation))
    dataset, turned = flipped(clean, seen)
    doubts, _ = found_in(dataset, split, tiny_llama, tmp_path, balance=balance)
    assert sorted(doubts.at.tolist()) == sorted(seen.tolist())
    assert np.all(np.diff(doubts.quality) >= 0)
    assert len(set(doubts.at[:FLIPPED].tolist()) & turned) >= 10
    issues = set(doubts.at[doubts.issue].tolist())
    assert len(issues & turned) >= 10
    assert len(issues & turned) / len(issues) > 0.6


def test_a_tail_judges_what_it_did_not_learn_from(tiny_llama: Path, tmp_path: Path) -> None:
    """Asked for alone it has no pooled vectors to fold, so the validation rows are judged and the others counted."""
    dataset = dataset_from_lists(*messages(100))
    split = split_dataset(dataset, seed=0)
    doubts, _ = found_in(dataset, split, tiny_llama, tmp_path, method="tail", epochs=1)
    assert sorted(doubts.at.tolist()) == sorted(split.validation.tolist())
    assert doubts.unjudged == len(split.train)


def test_test_rows_and_their_labels_play_no_part(tiny_llama: Path, tmp_path: Path) -> None:
    """No test row is listed, and turning all test labels around changes nothing."""
    dataset = dataset_from_lists(*messages(100))
    split = split_dataset(dataset, seed=0)
    doubts, _ = found_in(dataset, split, tiny_llama, tmp_path)
    assert not set(doubts.at.tolist()) & set(split.test.tolist())
    labels = list(dataset.labels)
    for at in split.test.tolist():
        labels[at] = OTHER[labels[at]]
    again, _ = found_in(replace(dataset, labels=tuple(labels)), split, tiny_llama, tmp_path)
    np.testing.assert_array_equal(again.at, doubts.at)
    np.testing.assert_array_equal(again.quality, doubts.quality)


def test_corrections_come_round(tiny_llama: Path, tmp_path: Path) -> None:
    """A filled-in file mends the labels; the file of the next run holds the correction already."""
    clean = dataset_from_lists(*messages(100))
    split = split_dataset(clean, seed=0)
    at = int(split.train[3])
    labels = list(clean.labels)
    labels[at] = OTHER[labels[at]]
    wrong = replace(clean, labels=tuple(labels))
    doubts, learnt = found_in(wrong, split, tiny_llama, tmp_path)
    file = tmp_path / "doubts.csv"
    lines = doubts_csv(doubts, wrong, learnt.labels.names, None).splitlines()
    [place] = [place for place, line in enumerate(lines) if line.startswith(f'"{clean.rows[at]}",')]
    lines[place] = lines[place].replace('"","sha256', f'"{clean.labels[at]}","sha256')
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    mended = relabelled(wrong, split, file)
    assert mended.labels == clean.labels
    doubts, learnt = found_in(mended, split, tiny_llama, tmp_path)
    file.write_text(doubts_csv(doubts, mended, learnt.labels.names, str(file)), encoding="utf-8")
    [(row, _)] = read_corrections(file)
    assert row == clean.rows[at]
    assert relabelled(wrong, split, file).labels == clean.labels


def test_counts_hold_no_text_and_rows_for_the_report_do(tiny_llama: Path, tmp_path: Path) -> None:
    """metrics.json gets numbers and labels; the report at most ten rows whose label is not the likeliest."""
    clean = dataset_from_lists(*messages(ROWS))
    split = split_dataset(clean, seed=0)
    dataset, turned = flipped(clean, np.concatenate((split.train, split.validation)))
    doubts, learnt = found_in(dataset, split, tiny_llama, tmp_path)
    about = doubts.as_json(dataset)
    assert about["rows"] == len(doubts)
    assert about["issues"] == sum(about["issues_by_label"].values()) == doubts.issue.sum()
    assert not any(text in str(about) for text in dataset.texts)
    shown = doubtful(doubts, dataset, learnt.labels.names)
    assert 0 < len(shown) <= 10
    assert all(row["label"] != row["predicted"] for row in shown)
    assert {dataset.rows.index(row["row"]) for row in shown} & turned


def test_without_cleanlab_it_says_what_to_install(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is judged, nothing fails, and one line names the extra."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cleanlab" else there(name))
    dataset = dataset_from_lists(*messages(100))
    doubts, _ = found_in(dataset, split_dataset(dataset, seed=0), tiny_llama, tmp_path)
    assert len(doubts) == 0
    assert "pip install 'tailtune[cleanlab]'" in doubts.how
