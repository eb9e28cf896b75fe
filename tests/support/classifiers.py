"""Small classifiers on tiny random models, made without training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tailtune.bundle import Bundle
from tailtune.evaluate.ngrams import fit_ngrams
from tailtune.features.backbone import Backbone
from tailtune.label_rules import LabelRules
from tailtune.labels import LabelSet
from tailtune.methods.blend import Blend, Member
from tailtune.methods.members import BackboneMember
from tailtune.methods.next_word import calibrate_prior, word_scorer
from tailtune.methods.ngrams import NgramMember
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import NoScorer, Pooling, ProbeScorer, Scorer, pooling_of
from tailtune.methods.tail import new_tail
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.models.int8 import to_int8
from tailtune.models.parts import load_part, make_part
from tailtune.rules import Abstain, Curve, Curves, Rules, Scaling, Threshold
from tailtune.template import Template
from tailtune.text.ngrams import Kind
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import LongRule

LABELS = LabelSet(names=("ham", "other", "spam"))


def _bundle(model: Path, scorer: Scorer) -> Bundle:
    return Bundle(
        decoder=load_part(model).below(scorer.wanted.depth),
        scorer=scorer,
        tokenizer=Tokenizer.load(model / "tokenizer.json", max_tokens=64),
        labels=LABELS,
        about={"model": {"name": "tiny"}},
    )


def probe_bundle(model: Path) -> Bundle:
    """Return a random probe that reads depths 1 and 3."""
    random = np.random.default_rng(1)
    config = load_part(model, depth=1).config
    width = 2 * config.width
    scorer = ProbeScorer(
        depths=(1, 3),
        pooling=pooling_of("auto", causal=config.causal),
        mean=random.standard_normal((2, width)).astype(np.float32),
        scale=np.exp(random.standard_normal((2, width))).astype(np.float32),
        weight=(random.standard_normal((2, len(LABELS), width)) / width).astype(np.float32),
        bias=random.standard_normal(len(LABELS)).astype(np.float32),
    )
    return _bundle(model, scorer)


def tail_bundle(model: Path) -> Bundle:
    """Return an untrained tail of two blocks that ends at depth 3."""
    tail = new_tail(load_part(model), blocks=2, depth=3, classes=len(LABELS), seed=1)
    tail.eval().requires_grad_(False)
    return _bundle(model, tail)


def pooled_tail_bundle(model: Path) -> Bundle:
    """Return an untrained tail of two blocks that reads the mean of all tokens beside the one it is read at."""
    decoder = load_part(model)
    pooling: Pooling = pooling_of("auto", causal=decoder.config.causal)
    tail = new_tail(decoder, blocks=2, depth=3, classes=len(LABELS), seed=1, pooling=pooling)
    tail.eval().requires_grad_(False)
    return _bundle(model, tail)


def words_bundle(model: Path) -> Bundle:
    """Return what the LM head says of two words of each class behind a template, its prior taken off, without rules."""
    decoder = load_part(model)
    content = (model / "tokenizer.json").read_bytes()
    template = Template.parse(r"Message: {text}\nThis message is")
    tokenizer = Tokenizer(content, max_tokens=64, template=template)
    words = {"ham": ("milk", "home"), "other": ("dinner",), "spam": ("prize", "your")}
    scorer = word_scorer(decoder, model, tokenizer, words)
    below = decoder.below(len(decoder.blocks))
    calibrate_prior(scorer, Backbone(below, device=torch.device("cpu")), tokenizer)
    return replace(_bundle(model, scorer), decoder=below, tokenizer=tokenizer)


def pair_bundle(model: Path) -> Bundle:
    """Return ``probe_bundle`` of a template that joins two columns."""
    made = probe_bundle(model)
    template = Template.parse(r"{subject}\n{message}")
    return replace(made, tokenizer=Tokenizer(made.tokenizer.json_bytes, max_tokens=64, template=template))


def guided_bundle(model: Path) -> Bundle:
    """Return ``words_bundle`` with ``probe_bundle``'s probe on top."""
    words, probe = words_bundle(model), probe_bundle(model).scorer
    assert isinstance(probe, ProbeScorer)
    assert isinstance(words.scorer, WordScorer)
    return replace(words, scorer=GuidedProbe(probe=probe, words=words.scorer, strength=0.7))


def ruled_bundle(model: Path) -> Bundle:
    """Return ``probe_bundle`` with calibration, a threshold and a promise."""
    rising = Curve(at=(0.0, 0.5, 1.0), value=(0.02, 0.3, 0.97))
    steps = (Scaling(scale=(0.6, 0.7, 0.8), shift=(0.1, -0.3, 0.2)), Curves(curves=(rising,) * 3))
    rules = Rules(
        steps=steps,
        decision=Threshold(positive=2, threshold=0.3),
        abstain=Abstain(error=0.05, above=0.5, labels_from=0.25),
    )
    return replace(probe_bundle(model), rules=rules)


def reading(bundle: Bundle, long: LongRule, *, max_tokens: int = 16) -> Bundle:
    """Return ``bundle`` with another rule for texts longer than ``max_tokens``."""
    return replace(bundle, tokenizer=Tokenizer(bundle.tokenizer.json_bytes, max_tokens=max_tokens, long=long))


def windows_bundle(model: Path) -> Bundle:
    """Return ``ruled_bundle`` that reads 16 tokens at once, longer texts in windows that start every 8."""
    return reading(ruled_bundle(model), LongRule(kind="windows"))


def several_bundle(model: Path) -> Bundle:
    """Return ``probe_bundle`` for texts with any number of labels, one of them calibrated, with thresholds."""
    rules = LabelRules(
        steps=(None, Scaling(scale=(0.6, 0.7), shift=(0.1, -0.3)), None),
        thresholds=(0.5, 0.2, 2.0),
    )
    return replace(probe_bundle(model), labels=LabelSet(names=LABELS.names, several=True), rules=rules)


def padded_bundle(model: Path) -> Bundle:
    """Return ``tail_bundle`` that pads every text to 24 tokens with token 0 and reads the last one."""
    made = tail_bundle(model)
    return replace(made, tokenizer=Tokenizer(made.tokenizer.json_bytes, max_tokens=24, pad=0))


def int8_bundle(model: Path) -> Bundle:
    """Return ``probe_bundle`` with its backbone in int8."""
    exact = probe_bundle(model)
    return replace(exact, decoder=to_int8(exact.decoder), precision="int8")


def with_scope(bundle: Bundle) -> Bundle:
    """Return ``bundle`` with a random scope at its cut."""
    depth, width = bundle.scorer.wanted.depth, 2 * bundle.decoder.config.width
    random = np.random.default_rng(5)
    centres = random.standard_normal((3, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    scope = Scope(
        depth=depth,
        middle=random.standard_normal(width).astype(np.float32),
        weight=(random.standard_normal((width, width)) / width).astype(np.float32),
        centres=centres.astype(np.float32),
        reference=np.linspace(0.2, 1.4, 200).astype(np.float32),
    )
    return replace(bundle, scope=scope)


def scoped_bundle(model: Path) -> Bundle:
    """Return ``probe_bundle`` with a scope."""
    return with_scope(probe_bundle(model))


def ngram_member(kind: Kind = "char", labels: LabelSet = LABELS) -> NgramMember:
    """Return a member that counts, fitted on a dozen texts of our own."""
    texts = [f"{word} {other}" for word in ("lunch", "prize", "train") for other in ("now", "at 5", "home", "number 7")]
    ids = np.repeat(np.arange(3), 4)
    if labels.several:
        ids = np.stack([ids == 0, ids != 1, np.arange(12) % 2 == 0], axis=1).astype(np.int64)
    model, _ = fit_ngrams(kind, texts, ids, classes=len(labels))
    return NgramMember(model)


def backbone_member(model: Path, make: Callable[[Path], Bundle] = probe_bundle) -> BackboneMember:
    """Return what ``make`` makes of ``model`` as a member."""
    made = make(model)
    return BackboneMember(
        model="tiny", decoder=made.decoder, precision=made.precision, scorer=made.scorer, tokenizer=made.tokenizer
    )


def blended_bundle(model: Path, other: Path) -> Bundle:
    """Return ``tail_bundle`` of ``model``, letters counted and a probe on ``other`` as one classifier."""
    members = (ngram_member(), backbone_member(other))
    return replace(tail_bundle(model), blend=Blend(weights=(0.5, 0.3, 0.4), members=members))


def several_blended_bundle(model: Path, other: Path) -> Bundle:
    """Return ``several_bundle`` with words counted and a probe on ``other``."""
    made = several_bundle(model)
    members = (ngram_member("word", made.labels), backbone_member(other))
    return replace(made, blend=Blend(weights=(0.5, 0.8, 0.3), members=members, several=True))


def ngrams_bundle(model: Path) -> Bundle:
    """Return letters counted, alone; of the model the tokenizer is left."""
    return without_backbone(replace(_bundle(model, NoScorer(len(LABELS))), blend=_alone(ngram_member())))


def _alone(member: Member) -> Blend:
    return Blend(weights=(0.0, 1.0), members=(member,))


def without_backbone(bundle: Bundle) -> Bundle:
    """Return ``bundle`` without embeddings and blocks."""
    config = bundle.decoder.config
    empty = make_part(config, blocks=0, embeddings=False, final_norm=False)
    return replace(bundle, decoder=empty, scorer=NoScorer(len(bundle.labels)), precision="fp32")
