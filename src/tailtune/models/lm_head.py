"""Rows of a pretrained model's LM head: what the final states are multiplied by to score the next token.

Only the rows that are asked for are read: the head of a large vocabulary is as large as its embeddings. Knows nothing
about texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tailtune.errors import ConfigError, ModelError
from tailtune.models.families import FAMILIES, family_of, read_config
from tailtune.models.tensor_files import SafetensorsFolder
from tailtune.storage import read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadRows:
    """Some rows of an LM head.

    Attributes:
        weight: [W, D] fp32.
        cap: Scores are bent into ± this by tanh; None for none.
    """

    weight: Tensor
    cap: float | None


def require_lm_head(folder: Path) -> None:
    """Return when the model in a Hugging Face folder has an LM head that is read here.

    Raises:
        ConfigError: If it is an encoder, or has no family here.
    """
    raw = read_json(folder / "config.json")
    family = family_of(raw)
    hint = "name a causal language model of `tailtune models list`"
    if family is None:
        raise ConfigError(f"the LM head of model_type {raw.get('model_type')!r} is not read", hint=hint)
    if not read_config(raw).causal:
        raise ConfigError(f"{family.title} is an encoder: it has no LM head that says the next word", hint=hint)


def read_head(folder: Path, tokens: Sequence[int]) -> HeadRows:
    """Return the rows of these tokens, from the head itself, or from the embeddings where the model shares them.

    Args:
        folder: Holds config.json and one or more safetensors files.
        tokens: Ids.

    Raises:
        ConfigError: If the model is an encoder, or has no family here.
        ModelError: If the tensor is missing, misshapen or not finite in these rows, or a file is damaged.
    """
    require_lm_head(folder)
    raw = read_json(folder / "config.json")
    config = read_config(raw)
    family = FAMILIES[config.family]
    files = SafetensorsFolder(folder)
    name = _name(files, family.head, family.prefix, family.weights["embedding.weight"].names[0], raw)
    files.require([name])
    table = files.read(name)
    # The embeddings of some models have rows beyond the vocabulary's; never fewer.
    if table.ndim != 2 or table.shape[1] != config.width or len(table) <= max(tokens):
        raise ModelError(f"{files.file(name)}: {name} has shape {list(table.shape)}, expected rows of {config.width}")
    rows = table[torch.tensor(list(tokens))].float()
    if not bool(rows.isfinite().all()):
        raise ModelError(f"{files.file(name)}: {name} holds NaN or infinite values")
    given = raw.get("final_logit_softcapping", family.head_cap)
    return HeadRows(weight=rows, cap=None if given is None else float(given))


def _name(files: SafetensorsFolder, head: str, prefix: str, embedding: str, raw: dict[str, object]) -> str:
    """The tensor that scores tokens.

    A config that says nothing is of a model whose family shares the embeddings, or holds a head of its own.
    """
    present, tied = files.names(), raw.get("tie_word_embeddings")
    if not tied and head in present:
        return head
    if tied is False:
        raise ModelError(f"{files.folder}: the LM head, {head}, is missing", hint="download the model again")
    return next((name for name in (prefix + embedding, embedding) if name in present), prefix + embedding)
