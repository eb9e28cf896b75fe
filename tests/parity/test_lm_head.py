"""The scores of words, and texts that go on from a beginning computed once, against the reference in every family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.architectures import ARCHITECTURES
from support.parity import TOLERANCE, pair_of
from support.reference import packed, relative_error
from support.shared_beginnings import beginning_alike, largest_difference
from tailtune.features.backbone import Backbone, Wanted
from tailtune.methods.words import WordScorer
from tailtune.models.lm_head import read_head
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import make_part
from tailtune.models.weights import fill, load_decoder

DECODERS = [name for name, architecture in ARCHITECTURES.items() if not architecture.encoder]
WORDS = [3, 50, 10, 96]


@pytest.mark.parametrize("name", DECODERS)
def test_words_score_as_the_language_model_scores_them(name: str, tmp_path: Path) -> None:
    """The last position's logits of some tokens: norm, rows of the head or the embeddings, cap."""
    pair = pair_of(ARCHITECTURES[name], tmp_path)
    decoder = load_decoder(tmp_path)
    head = read_head(tmp_path, WORDS)
    part = make_part(decoder.config, first=decoder.config.blocks, blocks=0, embeddings=False)
    source = tensors_of(decoder)
    fill(part, {own: source[own] for own in part.state_dict()}, where=name)
    scorer = WordScorer(part, (0, 0, 1, 2), cap=head.cap)
    with torch.no_grad():
        scorer.words.weight.copy_(head.weight)
        batch, ids, layout = packed(decoder, pair.texts)
        *_, (_, states) = decoder.climb(decoder.embed(ids, layout), layout)
        got = scorer(states[layout.read])
        expected = torch.stack(
            [pair.model(torch.from_numpy(pair.texts[text])[None]).logits[0, -1, WORDS] for text in batch.texts]
        )
    assert relative_error(got, expected) < TOLERANCE


@pytest.mark.parametrize("name", DECODERS)
def test_a_beginning_computed_once_changes_nothing(name: str, tmp_path: Path) -> None:
    """Positions, windows, caps and ALiBi count it; where angles depend on the length of the text it is not shared."""
    pair_of(ARCHITECTURES[name], tmp_path)
    backbone = Backbone(load_decoder(tmp_path), device=torch.device("cpu"))
    tokens = beginning_alike(7, (1, 5, 9, 5, 2, 17, 1))
    scaling = backbone.decoder.config.rotary_scaling  # type: ignore[union-attr]
    by_length = scaling is not None and scaling.kind in ("dynamic", "longrope")
    assert backbone.shared(tokens) == (0 if by_length else 7)
    assert largest_difference(backbone, tokens, Wanted(pooled=(0, 1, 3), states=(0, 2))) < TOLERANCE


def test_encoders_and_ids_alone(tmp_path: Path) -> None:
    """In an encoder the beginning sees what follows it, so nothing is shared."""
    pair_of(ARCHITECTURES["bert"], tmp_path)
    backbone = Backbone(load_decoder(tmp_path), device=torch.device("cpu"))
    tokens = beginning_alike(7, (1, 5))
    assert backbone.shared(tokens) == 0
    pieces = list(backbone.run(tokens, Wanted(pooled=(3,))))
    assert np.isfinite(pieces[0].pooled[3]).all()
