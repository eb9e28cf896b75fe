"""A classifier without labelled texts: the words a language model would say next, as probabilities of the labels."""

from __future__ import annotations

from tailtune.bundle import Bundle
from tailtune.config import NEXT_WORD, default_model
from tailtune.features.backbone import Backbone, choose_device
from tailtune.labels import LabelSet
from tailtune.methods.next_word import calibrate_prior, word_scorer
from tailtune.models.int8 import Precision, to_int8
from tailtune.models.lm_head import require_lm_head
from tailtune.models.parts import load_part
from tailtune.models.sources.catalog import resolve
from tailtune.models.weights import fingerprint
from tailtune.predict import Predictor
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.template import Template
from tailtune.text.label_words import Words
from tailtune.text.tokenizer import Tokenizer


def zero_shot(
    words: Words,
    *,
    template: str | None = None,
    model: str | None = None,
    calibrate: bool = False,
    precision: Precision = "fp32",
    device: str = "auto",
    progress: Progress = silent,
    say: Say = ignore,
) -> Predictor:
    """Return a classifier that nothing was trained for, ready to answer and to be saved.

    Args:
        words: Of each label, what the model would say behind the template: its first token counts.
        template: Words around the text, or around several columns; default NEXT_WORD of ``tailtune.config``.
        model: Catalogue name, local folder or file, or hub id; default as for training.
        calibrate: Take off what the model says of texts that say nothing.
        precision: Of the products of the blocks.
        device: "auto", "cpu", "cuda" or "mps".
        progress: Told bytes fetched.
        say: Told what people should know.

    Raises:
        ConfigError: If the template cannot be read, the model has no LM head that is read here, or nothing tells the
            words of two labels apart.
        ModelError: If the model cannot be read.
    """
    found = resolve(model or default_model(), progress=progress)
    for note in found.notes:
        say(note)
    require_lm_head(found.path)
    made_by = Template.parse(template or NEXT_WORD)
    decoder = load_part(found.path)
    tokenizer = Tokenizer.of_model(found.path, max_tokens=decoder.config.context, template=made_by)
    labels = LabelSet.of(words)
    scorer = word_scorer(decoder, found.path, tokenizer, {name: words[name] for name in labels.names})
    below = decoder.below(len(decoder.blocks))
    bundle = Bundle(
        decoder=to_int8(below) if precision == "int8" else below,
        scorer=scorer,
        tokenizer=tokenizer,
        labels=labels,
        precision=precision,
        about={"model": {"name": found.name, "source": found.source, "sha256": fingerprint(found.path)}},
    )
    if calibrate:
        backbone = Backbone(bundle.decoder, device=choose_device(device, precision))
        calibrate_prior(scorer.to(backbone.device), backbone, tokenizer)
    return Predictor(bundle, device=device)
