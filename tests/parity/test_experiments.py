"""Rows against the book's own way: the reference library's GPT-2, every text padded, the whole model in every step.

What rows leave out (the rest of a text behind the first position, pads behind a last token, frozen blocks in every
step) must change no loss. The same batches, the same start of the head, AdamW with the same settings.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from support.experiments import order_of, run_all, write_collection
from tailtune.experiments.reading import read_texts
from tailtune.experiments.rows import find_rows
from tailtune.experiments.scorer import new_scorer
from tailtune.experiments.settings import Setting
from tailtune.experiments.splits import Texts, load_texts
from tailtune.models.parts import load_part

# Twenty times the book's rate: on a tiny model five epochs at 5e-5 are nearly flat.
RATE = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """The model of a row as the book builds it."""

    setting: Setting
    base: Any
    head: nn.Linear
    ids: Tensor
    lengths: Tensor

    def logits(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Tensor:
        """[rows, 2] scores of padded texts."""
        ids = self.ids[rows]
        mask = None if self.setting.causal else torch.zeros(len(ids), 1, ids.shape[1], ids.shape[1])
        scores: Tensor = self.head(self.base(input_ids=ids, attention_mask=mask).last_hidden_state)
        if self.setting.position == "mean":
            return scores.mean(dim=1)
        if self.setting.position == "first":
            return scores[:, 0]
        last = torch.full_like(self.lengths[rows], ids.shape[1]) if self.setting.pads else self.lengths[rows]
        return scores[torch.arange(len(rows)), last - 1]

    def losses(self, texts: Texts, seed: int) -> list[float]:
        """Mean loss of each epoch."""
        trained = [parameter for parameter in self._parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.1)
        order, labels, found = np.random.default_rng(seed), torch.from_numpy(texts.ids), []
        for _ in range(self.setting.epochs):
            shuffled, losses = order.permutation(texts.split.train), []
            for start in range(0, len(shuffled), 8):
                batch = shuffled[start : start + 8]
                loss = functional.cross_entropy(self.logits(batch), labels[batch])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.item())
            found.append(float(np.mean(losses)))
        return found

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.base.parameters(), *self.head.parameters()]


def book_of(model: Path, texts: Texts, setting: Setting) -> Book:
    """The row's model, its head started as ours is."""
    from transformers import GPT2Model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        base = GPT2Model.from_pretrained(model).eval()
    if setting.trained != "all":
        base.requires_grad_(False)
    if isinstance(setting.trained, int):
        base.ln_f.requires_grad_(True)
        for block in base.h[-setting.trained :]:
            block.requires_grad_(True)
    head = new_scorer(load_part(model), blocks=1, place="last", classes=2, seed=0).head
    padded = read_texts(texts, model, replace(setting, position="last", pads=True), context=256, causal=True)
    plain = read_texts(texts, model, replace(setting, position="last", pads=False), context=256, causal=True)
    ids = torch.from_numpy(padded.tokens.ids).long().view(len(texts.dataset), -1)
    return Book(setting=setting, base=base, head=head, ids=ids, lengths=torch.from_numpy(plain.tokens.lengths))


@pytest.mark.parametrize(
    "name", ["book", "first-token", "head-only", "two-blocks", "all", "last-real", "no-mask", "average"]
)
def test_rows_follow_the_books_loop(tiny_gpt2: Path, tmp_path: Path, name: str) -> None:
    """Five epochs of the same losses, and the same right answers on the test part."""
    data = write_collection(tmp_path / "sms")
    (row,) = find_rows([name])
    row = replace(row, setting=replace(row.setting, learning_rates=(RATE,)))
    order = replace(order_of([name], tiny_gpt2, data, tmp_path / "out"), rows=(row,))
    (got,) = run_all(order, tmp_path / "store")
    texts = load_texts(str(data), "bonus")
    book = book_of(tiny_gpt2, texts, row.setting)
    np.testing.assert_allclose(got["losses"], book.losses(texts, seed=0), atol=1e-4, rtol=0)
    test = texts.split.test
    with torch.no_grad():
        wrong = book.logits(test).argmax(dim=1).numpy() != texts.ids[test]
    assert got["test_wrong"] == wrong.nonzero()[0].tolist()
    assert got["losses"][-1] < 0.99 * got["losses"][0]
