"""What is known of a model that runs through the reference library, before any weight is read. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tailtune.errors import ModelError
from tailtune.models.generic.library import harmless, library_config, transformers

if TYPE_CHECKING:
    from tailtune.models.generic.structure import Structure

# As DecoderConfig.family; no family of tables has that name.
GENERIC = "generic"
# Configs say in one of these how long texts may be.
_CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "n_ctx")
# Of models that set no limit (ALiBi, recurrent ones) so much is read at once.
_UNLIMITED = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class GenericConfig:
    """The shape of a decoder or encoder, in the words of ``DecoderConfig`` where it has them.

    Attributes:
        reference: Its config.json, see ``harmless``.
        structure: Where things are in it.
        heads: Query heads; None where it has none.
        key_value_heads: Key and value heads; None where it has none.
        context: Longest text in tokens.
        causal: Tokens see those before them; else all, and a text is read at its first.
    """

    reference: Mapping[str, Any]
    structure: Structure
    heads: int | None
    key_value_heads: int | None
    context: int
    causal: bool

    @property
    def family(self) -> str:
        """The same for all of them."""
        return GENERIC

    @property
    def is_plain(self) -> bool:
        """Whether readers of bundles of format 4 know such models: none of them."""
        return False

    @property
    def title(self) -> str:
        """What the reference library calls it."""
        return str(self.reference["model_type"])

    @property
    def vocabulary(self) -> int:
        """Rows of the embedding."""
        return self.structure.vocabulary

    @property
    def width(self) -> int:
        """D, the size of a hidden state."""
        return self.structure.width

    @property
    def blocks(self) -> int:
        """L, the number of blocks."""
        return len(self.structure.order)

    def as_json(self) -> dict[str, Any]:
        """Return what ``read_generic`` and a person with another version of the library need."""
        version = f"transformers {transformers().__version__}"
        return {"family": GENERIC, "library": version, "reference": dict(self.reference)}


def read_generic(raw: Mapping[str, Any]) -> GenericConfig:
    """Return what is known of the model that a config.json describes.

    Args:
        raw: The parsed config.json.

    Raises:
        ModelError: If the reference library does not know it, or it is neither a decoder nor an encoder of texts that
            can be cut.
        SetupError: If the library is not installed.
    """
    from tailtune.models.generic.structure import structure_of

    _require_text_model(raw)
    reference = harmless(raw)
    config = library_config(reference)
    structure = structure_of(reference)
    texts = config.get_text_config()
    heads = _count(texts, "num_attention_heads")
    lengths = [length for name in _CONTEXT if (length := _count(texts, name))]
    most = (lengths or [structure.positions or _UNLIMITED])[0]
    return GenericConfig(
        reference=reference,
        structure=structure,
        heads=heads,
        key_value_heads=_count(texts, "num_key_value_heads") or heads,
        context=min(most, structure.positions or most),
        causal=_is_causal(config),
    )


def known_types() -> dict[str, tuple[bool, bool]]:
    """Return model_type -> whether the library has it as a decoder, and as an encoder, of texts."""
    auto = transformers().models.auto.modeling_auto
    causal, masked = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return {name: (name in causal, name in masked) for name in auto.MODEL_MAPPING_NAMES}


def _require_text_model(raw: Mapping[str, Any]) -> None:
    model_type = raw.get("model_type")
    if raw.get("quantization_config"):
        raise ModelError(
            "config.json says that the weights are quantised, which is not read",
            hint="take the model that they were made from",
        )
    if not any(known_types().get(str(model_type), ())):
        if model_type in known_types():
            raise ModelError("for transformers it is neither a decoder nor an encoder of texts")
        code = ", and the code that comes with it (auto_map) is never run" if raw.get("auto_map") else ""
        raise ModelError(f"transformers {transformers().__version__} does not know it{code}")
    if library_config(harmless(raw)).is_encoder_decoder:
        raise ModelError("it is an encoder with a decoder: a text is read by one of both alone")


def _is_causal(config: Any) -> bool:
    causal, masked = known_types()[config.model_type]
    return causal and (bool(getattr(config, "is_decoder", False)) or not masked)


def _count(config: Any, name: str) -> int | None:
    try:
        value = getattr(config, name, None)
    except RuntimeError:  # the library's, where it differs from block to block
        return None
    return value if isinstance(value, int) and value > 0 else None
