"""The checked data and its parts, as the settings ask for them: drawn, given, by time, by hash, in folds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.config import TrainConfig
from tailtune.data import catalog
from tailtune.data.chapter import chapter_split
from tailtune.data.check import check_dataset, require_trainable
from tailtune.data.corrections import relabelled
from tailtune.data.dataset import Dataset, Finding
from tailtune.data.folds import split_for_folds
from tailtune.data.scripts import require_languages
from tailtune.data.several import LabelForm
from tailtune.data.split import Split, given_parts, leaked_test_rows, with_findings
from tailtune.data.timed import split_by_time
from tailtune.errors import ConfigError, DataError
from tailtune.label_aims import refuse_one_label_settings
from tailtune.progress import Progress, silent

# With 30 rows an accuracy of 90 % has an interval from 74 to 97 %.
FEW_TESTED = 30


def prepare(config: TrainConfig, progress: Progress = silent) -> tuple[Dataset, Split]:
    """Return the checked data and its split, as ``config`` asks for them.

    Raises:
        DataError: If the texts cannot be read, or no classifier can be trained on them.
        ConfigError: If flags contradict each other.
    """
    _require_one_split(config)
    if config.slices_by_language:
        require_languages()
    dataset, split = (_chapter if config.recipe == "chapter" else _timed if config.time_column else _drawn)(
        config, progress
    )
    if config.relabel:
        dataset = relabelled(dataset, split, Path(config.relabel))
    require_trainable(dataset)
    _require_parts(dataset, split, config.folds)
    return replace(dataset, findings=(*check_dataset(dataset), *_few_tested(split, config.folds))), split


def _few_tested(split: Split, folds: int | None) -> tuple[Finding, ...]:
    """What is to be said of a test part that hardly tests."""
    count = len(split.test)
    if folds or not 0 < count < FEW_TESTED:
        return ()
    message = f"the test part has {count} rows, so its figures will say little; --folds 5 tests every row once"
    means = "nine right of ten can be a classifier that is right in 60 % or in 98 %"
    return (Finding(kind="few_tested", message=message, means=means, mend="add --folds 5"),)


def _require_one_split(config: TrainConfig) -> None:
    """Refuse flags that ask for two splits at once."""
    given = {
        "--validation": config.validation,
        "--test": config.test,
        "--group": config.group,
        "--time-column": config.time_column,
    }
    hash_split = config.split_by == "hash"
    if config.recipe == "chapter" and (config.label_separator or config.label_columns or config.label_shares):
        raise ConfigError("--recipe chapter is for one label per text", hint="leave the recipe away")
    elsewhere = [config.validation, config.test, config.time_column, hash_split, config.recipe == "chapter"]
    if config.folds and any(elsewhere):
        hint = "leave out --validation, --test, --time-column, --split-by hash and --recipe chapter, or --folds"
        raise ConfigError(f"--folds {config.folds} makes its own parts", hint=hint)
    if config.recipe == "chapter" and (named := [flag for flag, value in given.items() if value]):
        raise ConfigError("--recipe chapter makes its own split", hint=f"leave out {' and '.join(named)}")
    if config.recipe == "chapter" and config.slice_columns:
        raise ConfigError("--recipe chapter reads texts and labels alone", hint="leave out the columns of --slice-by")
    if config.recipe == "chapter" and config.made_by is not None and config.made_by.text_column is not None:
        raise ConfigError("--recipe chapter reads texts and labels alone", hint="call the text {text} in the template")
    if config.recipe == "chapter" and hash_split:
        raise ConfigError("--recipe chapter makes its own split", hint="leave out --split-by hash")
    if config.time_column and (config.validation or config.test or hash_split):
        hint = "leave out --validation, --test and --split-by hash, or --time-column"
        raise ConfigError(f"--time-column {config.time_column} makes its own split", hint=hint)


def _read(config: TrainConfig, name: str, also: tuple[str | None, ...], progress: Progress) -> Dataset:
    others = tuple(dict.fromkeys(column for column in (*also, *config.slice_columns) if column))
    read = catalog.open_dataset(
        name,
        text_column=config.text_column,
        label_column=config.label_column,
        others=others,
        form=LabelForm.given(config.label_separator, config.label_columns, config.label_shares),
        template=config.made_by,
        progress=progress,
    )
    _refuse_for_lists(config, read)
    return read


def _refuse_for_lists(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse settings for one label per text before anything is computed of texts that can have several."""
    if dataset.sets is not None:
        refuse_one_label_settings(config)
    if dataset.shares is not None:
        _refuse_for_shares(config)


def _refuse_for_shares(config: TrainConfig) -> None:
    if config.relabel:
        raise ConfigError("--relabel: soft labels are not corrected by name", hint="change their shares in the file")
    named = {"--class-weights": config.weighting not in (None, "none"), "--loss focal": config.loss == "focal"}
    for flag, given in named.items():
        if given:
            raise ConfigError(f"{flag}: these labels are shares, and it is for one label name per text")


def _chapter(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    named = catalog.locate(config.data, progress)
    dataset, split = chapter_split(
        named.path, text_column=config.text_column, label_column=config.label_column, progress=progress
    )
    _refuse_for_lists(config, dataset)
    return catalog.with_source(dataset, named), split


def _timed(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    assert config.time_column is not None
    dataset = _read(config, config.data, (config.time_column, config.group), progress)
    require_trainable(dataset)
    split = split_by_time(
        dataset,
        config.time_column,
        seed=config.seed,
        balance=config.balance,
        alike=config.near_duplicates,
        group=config.group,
    )
    return with_findings(dataset, split), split


def _drawn(config: TrainConfig, progress: Progress) -> tuple[Dataset, Split]:
    """The split drawn from one file, or the parts that were given."""
    dataset = _read(config, config.data, (config.group,), progress)
    if config.folds:
        require_trainable(dataset)
        return split_for_folds(
            dataset,
            folds=config.folds,
            seed=config.seed,
            balance=config.balance,
            alike=config.near_duplicates,
            group=config.group,
        )
    parts = (config.validation, config.test)
    if parts == (None, None) and config.split_by != "hash":
        parts = catalog.published_parts(config.data)
    validation, test = (None if name is None else _read(config, name, (), progress) for name in parts)
    if config.split_by == "hash":
        require_trainable(dataset)  # said before what the hash makes of too few rows
    return given_parts(
        dataset,
        validation,
        test,
        seed=config.seed,
        balance=config.balance,
        alike=config.near_duplicates,
        group=config.group,
        by=config.split_by,
    )


def _require_parts(dataset: Dataset, split: Split, folds: int | None) -> None:
    members = dataset.members
    learnt = {name for row in split.train for name in members[row]}
    if dataset.sets is None and len(learnt) < 2:
        raise DataError(
            f"the training part holds {len(learnt)} class(es), expected at least two",
            path=dataset.source,
            hint="add rows that are not near-duplicates of each other",
        )
    if not len(split.test) and not folds:
        hint = "add rows, give --test FILE, or set --near-duplicates marks"
        raise DataError("no rows are left for the test part", path=dataset.source, hint=hint)


def describe_data(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Return ``data`` of metrics.json: where the texts came from, how many of each class and part, what was found.

    Args:
        dataset: As it was checked.
        split: Of it.
    """
    return {
        **dataset.about(),
        "split": split.kind,
        "parts": {name: len(getattr(split, name)) for name in ("train", "validation", "test", "unused")},
        "duplicates": len(dataset) - len(np.unique(split.groups)),
        "leaked_test_rows": leaked_test_rows(dataset, split),
        "findings": [asdict(finding) for finding in dataset.findings],
    }
