"""The reference library's sequence classifier: what is trained of it, and our fine-tuned weights put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from tailtune.bench.machine import library
from tailtune.bundle import read_bundle
from tailtune.errors import ConfigError
from tailtune.methods.scorers import TailScorer
from tailtune.models.decoder import Decoder
from tailtune.models.weights import reference_tensors


def classifier(folder: Path, classes: int) -> Any:
    """Return the pretrained model with a fresh head, frozen below its last block, as the chapter trains it.

    Args:
        folder: Hugging Face layout, of the Llama family.
        classes: C.

    Raises:
        ConfigError: If its blocks are not laid out like Llama's.
    """
    transformers = library("transformers")
    transformers.logging.set_verbosity_error()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes).eval()
    if not hasattr(model, "model") or not hasattr(model.model, "layers"):
        raise ConfigError(f"the bench compares models laid out like Llama, not {type(model).__name__}")
    model.config.use_cache = False
    model.config.pad_token_id = pad_id(model)
    model.requires_grad_(False)
    for part in (model.model.layers[-1], model.model.norm, model.score):
        part.requires_grad_(True)
    return model


def pad_id(model: Any) -> int:
    """Return the token that fills texts up: the end-of-text token where the model names none."""
    config = model.config
    return int(config.eos_token_id if config.pad_token_id is None else config.pad_token_id)


def trained(model: Any) -> list[Tensor]:
    """Return the tensors that an optimizer shall see."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def tokenizer(folder: Path) -> Any:
    """Return the reference library's tokenizer of a model, able to pad."""
    found = library("transformers").AutoTokenizer.from_pretrained(folder)
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def fine_tuned(folder: Path, bundle: Path) -> Any:
    """Return the reference classifier with the weights of a tail trained here: the same classifier.

    Args:
        folder: The pretrained model.
        bundle: A tail trained on it at full depth.
    """
    tail = read_bundle(bundle).scorer
    assert isinstance(tail, TailScorer)
    assert isinstance(tail.decoder, Decoder)
    model = classifier(folder, tail.head.out_features)
    given = {"score.weight": tail.head.weight, **reference_tensors(tail.decoder)}
    model.load_state_dict({**model.state_dict(), **given})
    return model.requires_grad_(False)
