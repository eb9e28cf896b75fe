"""About how long a model takes on this machine for given texts, before it is fetched and before anything is trained.

Counts operations from the model's shapes and divides by the speed of plain products here, measured in a moment. An
estimate: what else runs on the machine, and whether 8-bit products are taken, is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.config import TrainConfig
from tailtune.data.catalog import locate, open_dataset
from tailtune.data.read import read_texts
from tailtune.errors import DataError, ModelError
from tailtune.models.generic.config import GenericConfig
from tailtune.models.parts import read_shape
from tailtune.models.shape import DecoderConfig
from tailtune.models.sources.catalog import is_cached, pull
from tailtune.models.sources.entries import Entry
from tailtune.models.sources.facts import read_shapes
from tailtune.progress import Progress, silent
from tailtune.storage import read_json

# English in the tokens of the default model: 3.2 for the SMS collection, 4.0 for GoEmotions.
CHARACTERS_PER_TOKEN = 3.6
# What the frozen pass reaches of the same products alone (docs/performance.md: 79 %).
PASS_SHARE = 0.79
# Small steps of a tail reach less.
_STEP_SHARE = 0.4
_TRAINED_SHARE = 0.7
# Of one repetition of the probe; all of them, in two libraries, take 0.2 s at 100 GFLOP/s.
_PROBE_OPERATIONS = 2e9
_REPEATS = 5
_MOST_ROWS = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """What a model's cost depends on.

    Attributes:
        blocks: Transformer layers.
        block_weights: Of the products in all of them.
        key_value_weights: Those of keys and values in one; an upper bound where the config is not here.
        width: Of a hidden state.
        context: Most tokens of a text that are read at once.
    """

    blocks: int
    block_weights: int
    key_value_weights: int
    width: int
    context: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """About how long a model takes for some texts.

    Attributes:
        texts: Distinct ones.
        tokens: Of them, those beyond the model's context left out.
        counted: By the model's own tokenizer; else from the characters.
        gflops: Speed of fp32 products on this machine.
        pass_seconds: To read all texts once, through every block, in fp32.
        tail_seconds: To train the last block on 70 % of them, the pass below it included.
    """

    texts: int
    tokens: int
    counted: bool
    gflops: float
    pass_seconds: float
    tail_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready mapping, rounded to what such an estimate is worth."""
        return {
            "texts": self.texts,
            "tokens": self.tokens,
            "tokens_counted": self.counted,
            "gflops": round(self.gflops, 1),
            "pass_seconds": float(f"{self.pass_seconds:.2g}"),
            "tail_seconds": float(f"{self.tail_seconds:.2g}"),
        }


def distinct_texts(reference: str, progress: Progress = silent) -> list[str]:
    """Return the different texts of a file, labels or not, or of a named data set.

    Raises:
        DataError: If it cannot be read, or holds none.
        SetupError: If a named set cannot be had.
    """
    named = locate(reference, progress)
    if named.label_names or named.form:
        texts: Sequence[str] = open_dataset(reference, progress=progress).texts
    else:
        texts = read_texts(named.path, progress=progress).texts
    found = list(dict.fromkeys(text for text in texts if text.strip()))
    if not found:
        raise DataError("no texts", path=reference)
    return found


def speed(width: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the fp32 operations per second of this machine in products as models of such a width have them.

    Args:
        width: Of a hidden state.
        clock: Returns seconds; only differences matter.
    """
    from tailtune.features.cost import products_seconds

    shapes = ((width, width), (4 * width, width), (width, 4 * width))
    per_row = 2 * sum(outputs * inputs for outputs, inputs in shapes)
    rows = int(min(_MOST_ROWS, max(1, _PROBE_OPERATIONS / per_row)))
    return per_row * rows / products_seconds(shapes, rows, _REPEATS, clock)


def estimate_entry(entry: Entry, texts: Sequence[str], operations_per_second: float) -> Estimate:
    """Return the estimate for a model of the catalogue; its own tokenizer counts where it is here.

    Args:
        entry: Of the catalogue.
        texts: Distinct ones.
        operations_per_second: From ``speed``.
    """
    if is_cached(entry.name):
        return estimate_folder(pull(entry.name).path, texts, operations_per_second, entry=entry)
    return _estimate(_shape_of(entry), _token_lengths(texts), operations_per_second, counted=False)


def estimate_folder(
    folder: Path, texts: Sequence[str], operations_per_second: float, *, entry: Entry | None = None
) -> Estimate:
    """Return the estimate for the model in a Hugging Face folder.

    Args:
        folder: The model's.
        texts: Distinct ones.
        operations_per_second: From ``speed``.
        entry: Says the shape of a model whose config is not understood.

    Raises:
        ModelError: If neither config nor entry says the shape, or the tokenizer cannot be used.
    """
    from tailtune.text.tokenizer import Tokenizer

    try:
        config = read_shape(read_json(folder / "config.json"))
    except ModelError:
        if entry is None:
            raise
        shape = _shape_of(entry)
    else:
        shapes = read_shapes(folder)
        shape = Shape(
            blocks=config.blocks,
            block_weights=shapes.block_weights,
            key_value_weights=_key_value_weights(config),
            width=config.width,
            context=config.context,
        )
    tokens = Tokenizer.of_model(folder, max_tokens=shape.context).encode(texts)
    return _estimate(shape, tokens.lengths.tolist(), operations_per_second, counted=True)


def _key_value_weights(config: DecoderConfig | GenericConfig) -> int:
    if isinstance(config, GenericConfig):
        return 2 * config.width**2
    return 2 * config.width * config.key_value_heads * config.head_width


def _shape_of(entry: Entry) -> Shape:
    return Shape(
        blocks=entry.blocks,
        block_weights=entry.block_weights,
        key_value_weights=2 * entry.width * entry.width,
        width=entry.width,
        context=entry.context,
    )


def _token_lengths(texts: Sequence[str]) -> list[int]:
    return [1 + round(len(text) / CHARACTERS_PER_TOKEN) for text in texts]


def _estimate(shape: Shape, lengths: Sequence[int], operations_per_second: float, *, counted: bool) -> Estimate:
    read = [min(length, shape.context) for length in lengths]
    tokens = sum(read)
    # Causal attention: each token meets half of its text on average, in two products of the width.
    attention = 2 * shape.blocks * shape.width * sum(length * length for length in read)
    passed = (2 * shape.block_weights * tokens + attention) / (PASS_SHARE * operations_per_second)
    trained = _tail_seconds(shape, _TRAINED_SHARE * tokens, _TRAINED_SHARE * len(read), operations_per_second)
    return Estimate(
        texts=len(read),
        tokens=tokens,
        counted=counted,
        gflops=operations_per_second / 1e9,
        pass_seconds=passed,
        tail_seconds=passed * (shape.blocks - 1) / shape.blocks + trained,
    )


def _tail_seconds(shape: Shape, tokens: float, texts: float, operations_per_second: float) -> float:
    """One block: keys and values for every token, forward and for their weights; the rest for one token of a text."""
    from tailtune.features.cost import update_seconds

    default = TrainConfig(data="texts")
    weights = shape.block_weights / shape.blocks
    keys = min(float(shape.key_value_weights), weights)
    operations = 4 * keys * tokens + 6 * (weights - keys) * texts
    steps = texts / default.batch_size
    seconds = operations / (_STEP_SHARE * operations_per_second) + steps * update_seconds(weights)
    return default.epochs * seconds
