"""A classifier made of a language model's own head, without any training: which label's word comes next?

The model may favour a word whatever the text says. What it says of texts that say nothing can be taken off
(contextual calibration, arXiv 2102.09690).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tailtune.features.backbone import Backbone
from tailtune.methods.scorers import in_order, probabilities
from tailtune.methods.words import WordScorer
from tailtune.models.lm_head import read_head
from tailtune.models.mapped import tensors_of
from tailtune.models.parts import Part, make_part
from tailtune.models.weights import fill
from tailtune.text.label_words import Words, first_tokens
from tailtune.text.tokenizer import Tokenizer

# Texts that say nothing, of the paper.
NEUTRAL = ("", "N/A", "[MASK]")


def word_scorer(decoder: Part, folder: Path, tokenizer: Tokenizer, words: Words) -> WordScorer:
    """Return the scorer of these words above all blocks of ``decoder``, frozen, on the processor.

    Args:
        decoder: Pretrained, holds the final norm.
        folder: Of the model.
        tokenizer: With the template that the words stand behind.
        words: Of each class.

    Raises:
        ConfigError: If the model has no LM head that is read here, or nothing tells two labels' words apart.
        ModelError: If the head cannot be read.
    """
    tokens, owners = first_tokens(tokenizer, words)
    head = read_head(folder, tokens)
    part = make_part(decoder.config, first=len(decoder.blocks), blocks=0, embeddings=False)
    source = tensors_of(decoder)
    fill(part, {name: source[name].float().clone() for name in part.state_dict()}, where=str(folder))
    scorer = WordScorer(part, owners, cap=head.cap)
    with torch.no_grad():
        scorer.words.weight.copy_(head.weight)
    return scorer.eval().requires_grad_(False)


def calibrate_prior(scorer: WordScorer, backbone: Backbone, tokenizer: Tokenizer) -> None:
    """Take off the scores of ``scorer`` what it gives texts that say nothing: their mean probabilities, as logarithms.

    Args:
        scorer: Without a prior so far.
        backbone: Holds all blocks.
        tokenizer: With the template.
    """
    pieces = backbone.run(tokenizer.encode(NEUTRAL), scorer.wanted)
    logits = in_order([(piece.batch.texts, scorer.logits(piece)) for piece in pieces])
    prior = np.log(probabilities(logits).mean(axis=0))
    scorer.prior.copy_(torch.from_numpy(prior))
