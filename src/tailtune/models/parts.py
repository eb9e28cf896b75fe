"""Native or generic: one place decides which decoder a config means. Imports torch only where a decoder is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tailtune.errors import ModelError, SetupError
from tailtune.models.families import FAMILIES, family_of, read_config
from tailtune.models.generic.config import GENERIC, GenericConfig, read_generic
from tailtune.models.shape import DecoderConfig
from tailtune.storage import read_json

if TYPE_CHECKING:
    from tailtune.models.decoder import Decoder
    from tailtune.models.generic.decoder import GenericDecoder

Shape: TypeAlias = DecoderConfig | GenericConfig
Part: TypeAlias = "Decoder | GenericDecoder"
Kind = Literal["native", "generic"]


def kind_of(raw: Mapping[str, Any]) -> Kind:
    """Return whether the model that a config.json describes has a family here, or needs the reference library."""
    return "native" if family_of(raw) else "generic"


def read_shape(raw: Mapping[str, Any]) -> Shape:
    """Return the shape of the model that a config.json describes.

    Args:
        raw: The parsed config.json.

    Raises:
        ModelError: If neither we nor the reference library know it, or one of its settings is not supported.
        SetupError: If it has no family here and the library is not installed.
    """
    if kind_of(raw) == "native":
        return read_config(raw)
    return _read_generic(raw)


def _read_generic(raw: Mapping[str, Any]) -> GenericConfig:
    """As ``read_generic``; errors say too that there is no family here."""
    native = ", ".join(name for family in FAMILIES.values() for name in family.model_types)
    told = f"model_type {raw.get('model_type')!r} is not native (native: {native})"
    try:
        return read_generic(raw)
    except SetupError as error:
        raise SetupError(f"{told}; {error.message}", hint=error.hint) from error
    except ModelError as error:
        raise ModelError(f"{told}; {error.message}", hint=error.hint) from error


def shape_from_json(saved: Mapping[str, Any]) -> Shape:
    """Return the shape whose ``as_json`` is ``saved``.

    Raises:
        ModelError: If the reference library is needed and does not know it any more.
        SetupError: If it is needed and not installed.
    """
    if saved["family"] == GENERIC:
        return _read_generic(saved["reference"])
    return DecoderConfig.from_json(saved)


def title_of(shape: Shape) -> str:
    """Return what people call the family."""
    return shape.title if isinstance(shape, GenericConfig) else FAMILIES[shape.family].title


def make_part(
    shape: Shape, *, first: int = 0, blocks: int | None = None, embeddings: bool = True, final_norm: bool = True
) -> Part:
    """Return a part of a decoder on the meta device: its tensors are still to be given.

    Args:
        shape: Of the whole decoder.
        first: Number of the first block held.
        blocks: How many blocks to hold; default all from ``first`` up.
        embeddings: Hold the embeddings.
        final_norm: Hold the final norm, where there is one.
    """
    import torch

    from tailtune.models.decoder import Decoder
    from tailtune.models.generic.decoder import GenericDecoder

    with torch.device("meta"):
        if isinstance(shape, GenericConfig):
            return GenericDecoder(shape, first=first, blocks=blocks, embeddings=embeddings, final_norm=final_norm)
        return Decoder(shape, first=first, blocks=blocks, embeddings=embeddings, final_norm=final_norm)


def empty_part(shape: Shape) -> Part:
    """Return a part of a decoder that holds nothing, for a classifier without a language model.

    Args:
        shape: Of the whole decoder.
    """
    return make_part(shape, blocks=0, embeddings=False, final_norm=False)


def load_part(folder: Path, *, depth: int | None = None, final_norm: bool = True) -> Part:
    """Return the pretrained decoder in a Hugging Face folder, in fp32 on the CPU, in eval mode.

    Args:
        folder: Holds config.json and one or more safetensors files.
        depth: Read only the lowest ``depth`` blocks; default all.
        final_norm: Of a native one, read the final norm too, which lies in the last of several files.

    Raises:
        ModelError: If it is not supported, or a tensor is missing, misshapen or not finite.
        SetupError: If it has no family here and the reference library is not installed.
    """
    from tailtune.models.generic.loading import load_generic
    from tailtune.models.weights import load_decoder

    raw = read_json(folder / "config.json")
    if kind_of(raw) == "native":
        return load_decoder(folder, depth=depth, final_norm=final_norm)
    return load_generic(folder, depth=depth)
