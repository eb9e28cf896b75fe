"""The texts of a data set as a model reads them: its context, the rule for long texts, and what is to be said of both.

Runs no model and knows nothing about labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.errors import ConfigError
from tailtune.features.passes import Pass
from tailtune.text.tokenizer import Tokenizer, Tokens
from tailtune.text.windows import LongRule, Windows

_NAMED = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Texts as they are read.

    Attributes:
        tokenizer: With the rule for long texts.
        tokens: Of every window.
        windows: Which belong to which text.
    """

    tokenizer: Tokenizer
    tokens: Tokens
    windows: Windows


def read(dataset: Dataset, model: Path, config: TrainConfig, *, context: int) -> Reading:
    """Return the texts of ``dataset`` as they are read.

    The limit is the context in the model's config, never the tokenizer's ``model_max_length``: that one is often 10^30
    or a number left over from another model, while positions beyond the context were never learnt.

    Args:
        dataset: Any number of rows.
        model: The folder; its tokenizer files are read.
        config: ``max_tokens`` and what is done with longer texts.
        context: Most tokens that the model reads.

    Raises:
        ConfigError: If ``max_tokens`` is more than that, or the stride does not fit.
    """
    if config.max_tokens is not None and config.max_tokens > context:
        raise ConfigError(f"--max-tokens {config.max_tokens}: the model reads at most {context} tokens")
    long = LongRule(kind=config.long, stride=config.stride, merge=config.merge or "mean")
    made = Tokenizer.of_model(model, max_tokens=config.max_tokens or context, long=long)
    tokens, windows = made.read(dataset.texts)
    return Reading(tokenizer=made, tokens=tokens, windows=windows)


def long_note(reading: Reading, dataset: Dataset) -> str:
    """Return one line on the texts that are too long to be read at once, by their rows; empty where there is none."""
    longer = np.flatnonzero(reading.windows.longer)
    if not len(longer):
        return ""
    named = ", ".join(str(dataset.rows[row]) for row in longer[:_NAMED]) + (", …" if len(longer) > _NAMED else "")
    most, long = reading.tokenizer.max_tokens, reading.tokenizer.long
    done = {
        "truncate-tail": "cut to that",
        "truncate-head": "of which the last so many are read",
        "windows": f"read in windows that start every {long.stride}",
    }[long.kind]
    return f"texts longer than {most} tokens, {done}: {len(longer)} (row {named})"


def pass_note(done: Pass, reading: Reading) -> str:
    """Return one line on what a pass had to compute."""
    what = "texts" if reading.windows.single else "windows"
    if not done.depth:
        return f"backbone pass: no frozen block, every step reads the token ids of {done.texts} distinct {what}"
    if not done.computed_texts:
        return (
            f"backbone pass: nothing to compute, all {done.texts} distinct {what} are in the store ({done.precision})"
        )
    return (
        f"backbone pass in {done.precision}: computed {done.computed_texts} of {done.texts} distinct {what} "
        f"({done.computed_tokens} tokens) through {done.depth} blocks"
    )


def token_counts(reading: Reading, passes: Sequence[Pass]) -> dict[str, Any]:
    """Return counts for metrics.json; with windows, distinct and computed texts are windows."""
    windows = reading.windows
    return {
        "texts": len(windows.lengths),
        "windows": len(reading.tokens),
        "distinct_texts": passes[-1].texts,
        "total": int(reading.tokens.offsets[-1]),
        "computed": sum(done.computed_tokens for done in passes),
        "computed_texts": sum(done.computed_texts for done in passes),
        "passes": [asdict(done) for done in passes],
        "longest": int(windows.lengths.max()),
        "truncated_texts": int(windows.truncated.sum()),
        "windowed_texts": int((windows.counts > 1).sum()),
    }
