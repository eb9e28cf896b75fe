"""Classes as words of the LM head: means of probabilities, priors, rows to start from, and a probe on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from support.classifiers import guided_bundle, probe_bundle, words_bundle
from tailtune.features.backbone import Backbone, Piece
from tailtune.methods.next_word import NEUTRAL, calibrate_prior, word_scorer
from tailtune.methods.scorers import in_order, probabilities
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.models.parts import load_part
from tailtune.template import Template
from tailtune.text.tokenizer import Tokenizer

CPU = torch.device("cpu")
TEXTS = ["see you at home", "WINNER!! claim your prize", ""]


def scorer_of(model: Path, *, owners: tuple[int, ...] = (0, 0, 1, 2, 2)) -> tuple[WordScorer, Backbone, Tokenizer]:
    made = words_bundle(model)
    assert isinstance(made.scorer, WordScorer)
    assert made.scorer.owners == owners
    return made.scorer, Backbone(made.decoder, device=CPU), made.tokenizer


def pieces_of(backbone: Backbone, tokenizer: Tokenizer, scorer: WordScorer, texts: list[str]) -> list[Piece]:
    return list(backbone.run(tokenizer.encode(texts), scorer.wanted))


def test_a_class_has_the_mean_probability_of_its_words(tiny_llama: Path) -> None:
    """So that more words make no class likelier; a class of one word has that word's."""
    scorer, backbone, tokenizer = scorer_of(tiny_llama)
    scorer.prior.zero_()
    for piece in pieces_of(backbone, tokenizer, scorer, TEXTS):
        words = scorer(torch.from_numpy(piece.pooled[4][:, 0])).double().exp()
        means = torch.stack([words[:, :2].mean(1), words[:, 2], words[:, 3:].mean(1)], dim=1).numpy()
        expected = means / means.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(probabilities(scorer.logits(piece)), expected, atol=1e-6)


def test_scores_are_bent_as_gemma_bends_them(tiny_llama: Path) -> None:
    """Before the words of a class are put together."""
    scorer, backbone, tokenizer = scorer_of(tiny_llama)
    bent = WordScorer(scorer.decoder, scorer.owners, cap=2.0)
    bent.load_state_dict(scorer.state_dict())
    (piece,) = pieces_of(backbone, tokenizer, scorer, TEXTS)
    states = torch.from_numpy(piece.pooled[4][:, 0])
    with torch.no_grad():
        torch.testing.assert_close(bent(states), 2 * torch.tanh(scorer(states) / 2))
        assert bent(states).abs().max() < 2 < scorer(states).abs().max()


def test_texts_that_say_nothing_are_even_on_average(tiny_llama: Path) -> None:
    """The prior is their mean probability: taken off, what is left of one such text is its difference from the mean."""
    scorer, backbone, tokenizer = scorer_of(tiny_llama)
    scorer.prior.zero_()
    pieces = pieces_of(backbone, tokenizer, scorer, list(NEUTRAL))
    before = probabilities(in_order([(piece.batch.texts, scorer.logits(piece)) for piece in pieces]))
    calibrate_prior(scorer, backbone, tokenizer)
    np.testing.assert_allclose(scorer.prior.exp().numpy(), before.mean(axis=0), rtol=1e-5)
    after = in_order([(piece.batch.texts, scorer.logits(piece)) for piece in pieces])
    expected = before / before.mean(axis=0)
    np.testing.assert_allclose(probabilities(after), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)


def test_rows_to_start_from_give_the_same_answers_where_classes_have_one_word(tiny_llama: Path) -> None:
    """What all rows share is taken off, which a softmax does not see."""
    template = Template.parse("{text} It is")
    tokenizer = Tokenizer((tiny_llama / "tokenizer.json").read_bytes(), max_tokens=64, template=template)
    decoder = load_part(tiny_llama)
    scorer = word_scorer(decoder, tiny_llama, tokenizer, {"a": ("home",), "b": ("prize",), "c": ("milk",)})
    (piece,) = Backbone(decoder, device=CPU).run(tokenizer.encode(TEXTS), scorer.wanted)
    rows = scorer.rows()
    assert rows.sum(dim=0).abs().max() < 1e-5
    with torch.no_grad():
        norm = scorer.decoder.final_norm
        assert norm is not None
        linear = norm(torch.from_numpy(piece.pooled[4][:, 0])) @ rows.t()
    np.testing.assert_allclose(probabilities(linear.numpy()), probabilities(scorer.logits(piece)), atol=1e-5)


def test_a_guided_probe_adds_its_parts(tiny_llama: Path) -> None:
    """The probe's scores, and those of the words by their strength; both read one pass."""
    made = guided_bundle(tiny_llama)
    guided = made.scorer
    assert isinstance(guided, GuidedProbe)
    assert guided.wanted.pooled == (1, 3, 4)
    assert (guided.depth, guided.pooling) == (4, "last+mean")
    (piece,) = Backbone(made.decoder, device=CPU).run(made.tokenizer.encode(TEXTS), guided.wanted)
    expected = guided.probe.logits(piece) + 0.7 * guided.words.logits(piece)
    np.testing.assert_allclose(guided.logits(piece), expected, rtol=1e-5)
    assert probe_bundle(tiny_llama).scorer.wanted.pooled == (1, 3)


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_gpt2"])
def test_the_model_is_left_as_it_was(model: str, request: pytest.FixtureRequest) -> None:
    """The scorer owns its norm and rows: training a head from them changes no backbone."""
    decoder = load_part(request.getfixturevalue(model))
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    tokenizer = Tokenizer((request.getfixturevalue(model) / "tokenizer.json").read_bytes(), max_tokens=64)
    scorer = word_scorer(decoder, request.getfixturevalue(model), tokenizer, {"a": ("home",), "b": ("prize",)})
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.zero_()
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name
