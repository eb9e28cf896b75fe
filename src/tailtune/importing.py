"""A classifier that was fine-tuned elsewhere becomes a bundle: the book's ``review_classifier.pth``.

Nothing is trained or measured here. The file's state dict says neither labels, tokenizer nor padding; they are given.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.bundle import Bundle
from tailtune.errors import ConfigError, ModelError
from tailtune.labels import LabelSet
from tailtune.methods.scorers import TailScorer
from tailtune.methods.tail import new_tail
from tailtune.models.first_gpt2.book import BookModel, read_book, write_book_folder
from tailtune.models.first_gpt2.folder import TOKENIZER_SOURCE
from tailtune.models.weights import load_decoder
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.report.front_matter import front_matter
from tailtune.report.markdown import escape
from tailtune.runs import new_folder
from tailtune.storage import read_json, sha256_file
from tailtune.text.tokenizer import Tokenizer

Floats = NDArray[np.float32]

# Most that a class score may move when the head's bias goes into the final norm: what two orders of summing differ by.
_SAME = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How the classifier is to read texts, and with which tokenizer.

    Attributes:
        tokenizer: Folder or file of the tokenizer; None for GPT-2's own.
        heads: Attention heads; None for those of GPT-2 of the same width.
        max_tokens: Most tokens that are read; None for the model's context.
        pad_to: Tokens to which every text is cut and padded at its end, the last of which is read, pad or not; None
            reads the last token of the text.
    """

    tokenizer: Path | None = None
    heads: int | None = None
    max_tokens: int | None = None
    pad_to: int | None = None


def import_classifier(
    source: Path,
    labels: Sequence[str],
    *,
    reading: Reading | None = None,
    name: str | None = None,
    out: str | None = None,
    progress: Progress = silent,
    say: Say = ignore,
) -> Path:
    """Return the folder of the new bundle, written after a reloaded copy gave the same answers.

    Args:
        source: State dict of the book's GPTModel with one row of its ``out_head`` per class: .pth or .safetensors.
        labels: Names of the classes, in the order of those rows.
        reading: How texts are read; by default to the last token of the text, with GPT-2's own tokenizer.
        name: What the model is called; default: the file's name.
        out: The folder: absent or empty. Default: runs/<name>-<date>-<time>.
        progress: Told tensors done.
        say: Told what people should know, a line at a time.

    Raises:
        ModelError: If the file is damaged, no classifier of that kind, or the tokenizer does not fit.
        ConfigError: If labels or lengths do not fit the model, or ``out`` holds something already.
        SetupError: If the tokenizer cannot be fetched or the bundle cannot be written.
    """
    names = LabelSet(names=tuple(labels))
    name = name or source.stem
    reading = reading or Reading()
    if reading.pad_to is not None and reading.max_tokens is not None:
        raise ConfigError("--pad-to cuts texts as well: it stands instead of --max-tokens")
    folder = new_folder(out, name)
    bundle = _bundle(source, names, reading, say=say, progress=progress)
    about = {
        "model": {"name": name, "source": f"imported from {source.name}", "sha256": sha256_file(source)},
        "imported": {
            "file": source.name,
            "tokenizer": TOKENIZER_SOURCE if reading.tokenizer is None else str(reading.tokenizer.name),
            "reads": _reads(bundle.tokenizer),
        },
    }
    say(f"reads {_reads(bundle.tokenizer)}")
    Predictor(bundle, device="cpu").save(folder, about=about, extra={"README.md": _card(name, names, about)})
    return folder


def _require_classifier(model: BookModel, labels: LabelSet, source: Path) -> None:
    rows = len(model.head)
    if rows == len(labels):
        return
    if rows == model.shape.vocabulary:
        raise ModelError(
            f"{source}: a language model, not a classifier: its out_head has {rows:,} rows, one per token",
            hint=f"train a classifier on it: tailtune train DATA --model {source}",
        )
    raise ConfigError(
        f"--labels names {len(labels)} classes, out_head of {source} has {rows}",
        hint="name one per row, in the order of the rows: class 0 first",
    )


def _bundle(source: Path, labels: LabelSet, reading: Reading, *, say: Say, progress: Progress) -> Bundle:
    with tempfile.TemporaryDirectory(prefix="tailtune-") as name:
        folder = Path(name)
        head, bias = _converted(source, labels, reading, folder, progress)
        decoder = load_decoder(folder)
        tokenizer = _tokenizer(folder, reading, decoder.config.context)
    depth = len(decoder.blocks)
    tail = new_tail(decoder, blocks=1, depth=depth, classes=len(labels), seed=0)
    _set_head(tail, head, bias, say)
    tail.eval().requires_grad_(False)
    return Bundle(decoder=decoder.below(depth - 1), scorer=tail, tokenizer=tokenizer, labels=labels)


def _converted(
    source: Path, labels: LabelSet, reading: Reading, folder: Path, progress: Progress
) -> tuple[Floats, Floats | None]:
    """Write the model's Hugging Face folder; return its head and the head's bias, all that is still needed of it."""
    model = read_book(source, heads=reading.heads, progress=progress)
    _require_classifier(model, labels, source)
    write_book_folder(model, folder, tokenizer=reading.tokenizer, progress=progress)
    return model.head, model.bias


def _tokenizer(folder: Path, reading: Reading, context: int) -> Tokenizer:
    flag, most = ("--max-tokens", reading.max_tokens) if reading.pad_to is None else ("--pad-to", reading.pad_to)
    if most is not None and not 1 <= most <= context:
        raise ConfigError(f"{flag} {most}: the model reads 1 to {context} tokens")
    pad = None
    if reading.pad_to is not None:
        pad = read_json(folder / "config.json")["eos_token_id"]
        if pad is None:
            raise ModelError("--pad-to: the tokenizer has no <|endoftext|>, with which the book pads")
    return Tokenizer.load(folder / "tokenizer.json", max_tokens=most or context, pad=pad)


def _set_head(tail: TailScorer, head: Floats, bias: Floats | None, say: Say) -> None:
    """Give the tail the head's weight; a bias goes into the bias of the final norm, which stands right before it."""
    norm = tail.decoder.final_norm
    assert isinstance(norm, torch.nn.LayerNorm)
    with torch.no_grad():
        tail.head.weight.copy_(torch.from_numpy(head))
        if bias is None:
            return
        before = norm.bias.numpy().astype(np.float64)
        after = (before + folded(head, bias)).astype(np.float32)
        off = np.abs(head.astype(np.float64) @ (after - before) - bias).max()
        if off > _SAME:
            raise ModelError(
                f"the bias of out_head does not go into the final norm: class scores would be off by {off:.2g}",
                hint="are two rows of out_head the same?",
            )
        norm.bias.copy_(torch.from_numpy(after))
    say(f"the bias of out_head went into the final norm; class scores move by at most {off:.1g}")


def folded(weight: Floats, bias: Floats) -> NDArray[np.float64]:
    """Return [D] the shortest vector that the head turns into its bias: added before the head, it stands for it.

    Args:
        weight: [C, D] of the head; exact where its rows are independent.
        bias: [C].
    """
    found: NDArray[np.float64] = np.linalg.lstsq(weight.astype(np.float64), bias.astype(np.float64), rcond=None)[0]
    return found


def _reads(tokenizer: Tokenizer) -> str:
    if tokenizer.pad is None:
        return f"the first {tokenizer.max_tokens} tokens of a text, the answer at the last of them; nothing is padded"
    return (
        f"every text cut or padded with token {tokenizer.pad} to {tokenizer.max_tokens} tokens, the answer at the last "
        "of them, pad or not, as the book's function does"
    )


def _card(name: str, labels: LabelSet, about: dict[str, Any]) -> str:
    imported = about["imported"]
    return "\n\n".join(
        (
            front_matter({}),
            f"# Text classifier: {escape(name)}",
            f"Tells which of these categories a text belongs to: {', '.join(escape(each) for each in labels.names)}.",
            f"Imported from {escape(imported['file'])} (SHA-256 {about['model']['sha256']}); trained elsewhere, and "
            "measured on nothing here: its probabilities are as they came, not calibrated.",
            f"It reads {imported['reads']}. Tokenizer: {escape(imported['tokenizer'])}.",
            '## Use\n\n    tailtune predict PATH/OF/THIS/FOLDER "a text"\n',
        )
    )
