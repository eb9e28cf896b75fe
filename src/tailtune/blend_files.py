"""The files of a member that counts n-grams: what it counts as JSON, its numbers as safetensors. No pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from tailtune.errors import BundleError
from tailtune.models.tensor_files import TensorFile, write_tensors
from tailtune.storage import read_json
from tailtune.text.ngrams import Kind, NgramModel

NAMES, NUMBERS = ".json", ".safetensors"
AGAIN = "the folder was changed or damaged; copy it again or train again"


def write_ngrams(model: NgramModel, path: Path) -> None:
    """Write ``model`` to two files called ``path`` with the suffixes NAMES and NUMBERS.

    Raises:
        SetupError: If they cannot be written.
    """
    names = {"kind": model.kind, "classes": list(model.classes), "vocabulary": list(model.vocabulary)}
    path.with_suffix(NAMES).write_text(json.dumps(names, ensure_ascii=False), encoding="utf-8")
    numbers = {name: torch.from_numpy(array) for name, array in model.arrays().items()}
    write_tensors(path.with_suffix(NUMBERS), numbers)


def read_ngrams(path: Path) -> NgramModel:
    """Return the classifier in the two files called ``path`` with the suffixes NAMES and NUMBERS.

    Raises:
        BundleError: If one cannot be read.
        KeyError: If something is missing in them.
        ValueError: If names and numbers do not fit together.
    """
    names = read_json(path.with_suffix(NAMES), BundleError)
    numbers = {name: tensor.numpy() for name, tensor in load_tensors(path.with_suffix(NUMBERS)).items()}
    return NgramModel(
        kind=cast("Kind", names["kind"]),
        classes=tuple(names["classes"]),
        vocabulary=tuple(names["vocabulary"]),
        rarity=numbers["rarity"],
        weight=numbers["weight"],
        bias=numbers["bias"],
    )


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a file of a bundle, by name.

    Raises:
        BundleError: If it is no whole safetensors file.
    """
    try:
        file = TensorFile(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    return {name: file.tensor(name) for name in file.names()}
