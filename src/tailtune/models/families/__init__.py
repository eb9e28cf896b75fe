"""The families of models as tables, one module for each kin: how their config reads and what their weights are called.

Adding a family is a reader and a table of names here, and a line in the parity test: docs/how-to/add-a-family.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailtune.errors import ModelError
from tailtune.models.families.bloom import BLOOM
from tailtune.models.families.encoders import BERT, DISTILBERT, MODERNBERT, ROBERTA
from tailtune.models.families.gemma import GEMMA2, GEMMA3
from tailtune.models.families.gpt2 import GPT2
from tailtune.models.families.llama import LLAMA, MISTRAL, OLMO2, PHI3, QWEN2, QWEN3, SMOLLM3
from tailtune.models.families.neox import GPT_NEOX
from tailtune.models.families.opt import OPT
from tailtune.models.family import Family, Raw
from tailtune.models.shape import DecoderConfig

FAMILIES: Mapping[str, Family] = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "smollm3": SMOLLM3,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "gemma2": GEMMA2,
    "gemma3": GEMMA3,
    "gpt_neox": GPT_NEOX,
    "olmo2": OLMO2,
    "phi3": PHI3,
    "opt": OPT,
    "bloom": BLOOM,
    "bert": BERT,
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "modernbert": MODERNBERT,
}


def family_of(raw: Mapping[str, Any]) -> Family | None:
    """Return the family of a Hugging Face config.json, None where there is no table for it."""
    return next((family for family in FAMILIES.values() if raw.get("model_type") in family.model_types), None)


def read_config(raw: Mapping[str, Any]) -> DecoderConfig:
    """Return the model that a Hugging Face config.json describes.

    Args:
        raw: The parsed config.json.

    Raises:
        ModelError: If its family or one of its settings is not supported; the message lists what is.
    """
    if quantised := raw.get("quantization_config"):
        kind = quantised.get("quant_method") if isinstance(quantised, Mapping) else None
        raise ModelError(
            f"config.json has quantization_config: quantised weights ({kind or 'of no named kind'}) are not read",
            hint="use the unquantised model, or its GGUF file",
        )
    family = family_of(raw)
    if family is None:
        known = ", ".join(f"{family.title} [{', '.join(family.model_types)}]" for family in FAMILIES.values())
        raise ModelError(f"model_type {raw.get('model_type')!r} is not supported; supported families: {known}")
    asked = Raw(raw)
    config = family.read(asked)
    asked.refuse_the_rest()
    return config
