"""What an experiment can vary, and what the book printed for it. Knows nothing about models, files or how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from tailtune.evaluate.intervals import wilson

Size = Literal["small", "medium", "large", "xl"]
Weights = Literal["pretrained", "usual", "small"]
Position = Literal["last", "first", "mean", "own"]
Trained = int | Literal["head", "all", "lora", "words"]
SplitName = Literal["chapter", "bonus", "leak-free", "imdb"]

SIZES: tuple[Size, ...] = ("small", "medium", "large", "xl")
# Every rate of the book is this one.
BOOK_RATE = 5e-5
# Where a row chooses its own: the book's and up, a factor of about 4 each, to what a linear head can take.
OWN_RATES = (5e-5, 2e-4, 1e-3, 5e-3, 2e-2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is trained, on which weights, and what it reads. The defaults are the book's first row.

    Attributes:
        size: Of the model.
        weights: Pretrained, or drawn anew: as PyTorch starts its layers ("usual"), or small, as GPT-2 started.
        position: Whose scores count: the last position, the first, the mean over all that are read, or the model's own
            (a decoder's last, an encoder's first).
        trained: The head alone; the head, the final norm and so many blocks; all weights; low-rank updates; or no model
            at all, but a logistic regression on counts of words.
        limit: Most tokens of a text that are read: those of the longest training text, a number, or None for as many
            as the model reads.
        pads: Whether texts are filled up to the limit, and the pads read as if they were text.
        causal: Whether a token sees only those before it.
        batch_size: Texts that are computed together.
        accumulation: Batches per step of the optimiser.
        learning_rates: One, or several of which the one with the least validation loss is kept.
        epochs: Passes over the training texts; the last one is kept.
        weight_decay: Of AdamW, on every trained tensor.
        lora_rank: Of low-rank updates.
        lora_scale: What an update is multiplied by.
    """

    size: Size = "small"
    weights: Weights = "pretrained"
    position: Position = "last"
    trained: Trained = 1
    limit: int | Literal["longest"] | None = "longest"
    pads: bool = True
    causal: bool = True
    batch_size: int = 8
    accumulation: int = 1
    learning_rates: tuple[float, ...] = (BOOK_RATE,)
    epochs: int = 5
    weight_decay: float = 0.1
    lora_rank: int = 16
    lora_scale: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Return the fields, ready for JSON; those of low-rank updates only where they matter."""
        fields = asdict(self) | {"learning_rates": list(self.learning_rates)}
        if self.trained != "lora":
            del fields["lora_rank"], fields["lora_scale"]
        return fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What the book prints for one experiment on one split.

    Attributes:
        train: Share of right answers on the training part.
        validation: The same on the validation part, as it is printed.
        test: The same on the test part.
        minutes: Of training and evaluation, on the book's machine.
        correct: Right answers on the test part.
        tests: Texts of the test part.
    """

    train: float
    validation: float
    test: float
    minutes: float | None
    correct: int
    tests: int = 300

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the test figure; the book has none."""
        return wilson(self.correct, self.tests)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One experiment.

    Attributes:
        number: The book's, with a letter for what stands beside it here.
        name: What people type.
        varies: What differs from the first row, in words.
        setting: How it is run.
        published: The book's figures, by split.
        flaw: What is wrong with the book's row, or with what it is said to show; empty for nothing.
        model: Of rows that name one; None for the model asked for, in the row's size.
        splits: On which it can be run.
    """

    number: str
    name: str
    varies: str
    setting: Setting
    published: Mapping[SplitName, Published] = field(default_factory=dict)
    flaw: str = ""
    model: str | None = None
    splits: tuple[SplitName, ...] = ("chapter", "bonus", "leak-free")

    @property
    def corrected(self) -> bool:
        """Whether it is not the book's row, but stands beside one."""
        return not self.number[-1].isdigit()
