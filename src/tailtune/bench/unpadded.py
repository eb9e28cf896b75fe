"""What the same maths gives on the reference library's modules, text by text without a pad: the oracle of (c).

The frozen blocks are computed once, texts of equal length together; then its own last block, norm and head are trained
in the order of texts that ``tailtune.methods.descent`` takes, from the same head.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tailtune.bench import reference
from tailtune.bench.material import Ids, Material, load_material, pieces
from tailtune.methods.tail import new_tail
from tailtune.models.weights import load_decoder
from tailtune.runs import Stopwatch, peak_rss_mib

# Texts of one length computed together.
_TOGETHER = 16


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loss of every step, the test accuracy and the seconds.

    Args:
        request: That of ``load_material``.
    """
    material, watch = load_material(request), Stopwatch()
    with watch.stage("model"):
        model = reference.classifier(material.model, len(material.labels))
        with torch.no_grad():
            model.score.weight.copy_(first_head(material))
    with watch.stage("tokens"):
        texts = [*material.seen.texts, *material.test_texts]
        ids = pieces(material.tokenizer().encode(texts))
    top = Top(model)
    with watch.stage("backbone"):
        states = below_top(model, ids)
    with watch.stage("method"):
        losses = train(top, states, material)
    scores = logits_of(top, states, np.arange(len(material.seen), len(texts))).numpy()
    frozen = len(model.model.layers)
    positions = sum(map(len, ids)) * frozen / (frozen + 1)
    answer = {"losses": losses, "score": material.score(scores), "positions": positions}
    return {**answer, "seconds": watch.as_json(), "peak_mib": peak_rss_mib()}


def first_head(material: Material) -> Tensor:
    """Return [C, D], the head that a tail starts from."""
    decoder = load_decoder(material.model)
    blocks = decoder.config.blocks
    tail = new_tail(decoder, blocks=1, depth=blocks, classes=len(material.labels), seed=material.config.seed)
    return tail.head.weight.detach()


class Top(nn.Module):
    """The reference library's last block, final norm and head, on states of the blocks below.

    Args:
        model: Its whole classifier; it is taken apart: what stays in ``model.model`` are the frozen blocks.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        base = copy.copy(model.model)  # its modules are shared, the table of them is not
        base._modules = dict(model.model._modules)
        base.layers, model.model.layers = model.model.layers[-1:], model.model.layers[:-1]
        base.embed_tokens, model.model.norm = nn.Identity(), nn.Identity()
        self.base = base
        self.head = model.score

    def forward(self, states: Tensor) -> Tensor:
        """Return [N, C] scores of N equally long texts.

        Args:
            states: [N, L, D].
        """
        scores: Tensor = self.head(self.base(inputs_embeds=states).last_hidden_state[:, -1])
        return scores


def equally_long(rows: Ids, lengths: Ids) -> Iterator[Ids]:
    """Yield the places in ``rows`` of texts of one length, _TOGETHER at most.

    Args:
        rows: Texts.
        lengths: Of all texts.
    """
    of_rows = lengths[rows]
    for length in np.unique(of_rows):
        places = np.flatnonzero(of_rows == length)
        for start in range(0, len(places), _TOGETHER):
            yield places[start : start + _TOGETHER]


@torch.no_grad()
def below_top(model: Any, ids: Sequence[Ids]) -> list[Tensor]:
    """Return the states [L, D] of each text below the last block.

    Args:
        model: As ``Top`` has left it.
        ids: [L] token ids of each text.
    """
    found: list[Tensor] = [torch.empty(0)] * len(ids)
    lengths = np.array([len(text) for text in ids])
    for places in equally_long(np.arange(len(ids)), lengths):
        together = torch.from_numpy(np.stack([ids[place] for place in places]))
        states = model.model(input_ids=together).last_hidden_state
        for place, text in zip(places.tolist(), states, strict=True):
            found[place] = text
    return found


def scores_of(top: Top, states: Sequence[Tensor], rows: Ids) -> Tensor:
    """Return [rows, C] scores in the order of ``rows``, with gradients where they are on."""
    lengths = np.array([len(text) for text in states])
    order, parts = [], []
    for places in equally_long(rows, lengths):
        order.append(places)
        parts.append(top(torch.stack([states[row] for row in rows[places].tolist()])))
    back = torch.from_numpy(np.argsort(np.concatenate(order)))
    return torch.cat(parts)[back]


@torch.no_grad()
def logits_of(top: Top, states: Sequence[Tensor], rows: Ids) -> Tensor:
    """Return [rows, C] scores without gradients."""
    return scores_of(top, states, rows)


def train(top: Top, states: Sequence[Tensor], material: Material) -> list[float]:
    """Return the loss of every step; ``top`` ends at its best validation loss.

    Args:
        top: Trained in place.
        states: Of all texts.
        material: Rows, labels and recipe.
    """
    config, labels = material.config, torch.from_numpy(material.ids)
    optimizer = torch.optim.AdamW(
        reference.trained(top), lr=float(config.learning_rate), weight_decay=config.weight_decay, foreach=True
    )
    order = np.random.default_rng(config.seed)
    losses, best, kept = [], math.inf, copy.deepcopy(top.state_dict())
    for _ in range(config.epochs):
        shuffled = order.permutation(material.parts.train)
        for start in range(0, len(shuffled), config.batch_size):
            rows = shuffled[start : start + config.batch_size]
            loss = functional.cross_entropy(scores_of(top, states, rows), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        held_out = material.parts.validation
        seen = functional.cross_entropy(logits_of(top, states, held_out), labels[held_out]).item()
        if seen < best:
            best, kept = seen, copy.deepcopy(top.state_dict())
    top.load_state_dict(kept)
    return losses
