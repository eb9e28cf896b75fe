"""What a family of models is: a reader of its config.json and tables of its weights' names.

Knows nothing about tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tailtune.errors import ModelError
from tailtune.models.shape import Activation, DecoderConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """Where one of our tensors comes from.

    Attributes:
        names: Reference names, joined along the output dimension; ``{}`` stands for the block number.
        transposed: The reference stores [input, output] (GPT-2's Conv1D) where we store [output, input].
        interleaved: The reference stores query, key and value head by head; we store all queries first.
    """

    names: tuple[str, ...]
    transposed: bool = False
    interleaved: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """One family: the ``model_type`` values it covers, its config reader and its weight names.

    Attributes:
        title: What people call it.
        model_types: Values of ``model_type`` in config.json.
        prefix: Put before every weight name by the reference library's language models; bare names are read too.
        read: Turns config.json into a DecoderConfig.
        weights: Our name -> Weight, for weights that exist once.
        block_weights: Our name inside a block -> Weight.
        ignored: Patterns of names that may be there and are not needed: heads, and what the maths gives.
        head: Name of a decoder's LM head where that does not share the embeddings.
        head_cap: Scores of words are bent into ± this by tanh, where config.json says nothing else; None for none.
    """

    title: str
    model_types: tuple[str, ...]
    prefix: str
    read: Callable[[Raw], DecoderConfig]
    weights: Mapping[str, Weight]
    block_weights: Mapping[str, Weight]
    ignored: tuple[str, ...] = ()
    head: str = "lm_head.weight"
    head_cap: float | None = None


def with_bias(table: Mapping[str, Weight]) -> dict[str, Weight]:
    """Add the bias beside every weight; which of them exist is for the config to say."""
    both = dict(table)
    for name, weight in table.items():
        names = tuple(source.removesuffix("weight") + "bias" for source in weight.names)
        both[name.removesuffix("weight") + "bias"] = Weight(names=names, interleaved=weight.interleaved)
    return both


_ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}

# A key that no reader asked for and whose name holds one of these words may change the maths.
_WORDS = (
    "activation", "alibi", "attention", "attn", "bias", "cap", "expert", "gate", "layer", "mlp", "moe", "multiplier",
    "norm", "parallel", "position", "quantization", "residual", "rope", "rotary", "router", "scal", "sliding", "sparse",
    "window",
)  # fmt: skip
# Training, heads, outputs, and how the reference library computes: nothing here changes hidden states.
_HARMLESS = re.compile(
    r"dropout|pdrop|initializer|init_|token_id|output_|attn_implementation|layerdrop|classifier|decoder_bias|"
    r"final_logit|problem_type|_in_fp32|fusion|skip_bias_add|offset_alibi|deterministic|sparse_pred|full_attn_mod|"
    r"pretraining|transformers|_name_or_path|lm_head|logits|_experts_implementation"
)


# Far above that of any model, and soon counted through.
_MOST_BLOCKS = 10_000


class Raw:
    """A config.json that remembers what was asked of it, so that what nobody asked for can be refused.

    Args:
        values: The parsed file.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, ``default`` where it is missing or null."""
        self._asked.add(key)
        value = self.values.get(key)
        return default if value is None else value

    def exact(self, key: str, default: Any) -> Any:
        """Return the value of ``key``, null too, ``default`` only where it is missing."""
        self._asked.add(key)
        return self.values.get(key, default)

    def know(self, *keys: str) -> None:
        """Note that these keys need nothing done: ``refuse_the_rest`` lets them pass."""
        self._asked.update(keys)

    def need(self, *keys: str) -> Any:
        """Return the value of the first of these keys that is there.

        Raises:
            ModelError: If none is.
        """
        values = [value for key in keys if (value := self.get(key)) is not None]
        if not values:
            raise ModelError(f"config.json has no {keys[0]!r}", hint="is this the folder of a pretrained model?")
        return values[0]

    def count(self, *keys: str) -> int:
        """Return the whole number under the first of these keys that is there.

        Raises:
            ModelError: If there is none.
        """
        value = self.need(*keys)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ModelError(f"config.json: {keys[0]} = {value!r}, expected a whole number")
        return value

    def blocks(self, *keys: str) -> int:
        """Return the number of blocks under the first of these keys that is there.

        Raises:
            ModelError: If there is none, or it is that of no model.
        """
        value = self.count(*keys)
        if value > _MOST_BLOCKS:
            raise ModelError(f"config.json: {keys[0]} = {value}, expected at most {_MOST_BLOCKS}")
        return value

    def only(self, key: str, default: Any, *accepted: Any) -> None:
        """Return when ``key`` has one of the accepted values.

        Raises:
            ModelError: If it has another one.
        """
        got = self.get(key, default)
        if got not in accepted:
            raise _refusal(key, got, accepted)

    def activation(self, key: str, default: str) -> Activation:
        """Return the activation that ``key`` names.

        Raises:
            ModelError: If it is not supported.
        """
        got = self.get(key, default)
        if got not in _ACTIVATIONS:
            raise _refusal(key, got, tuple(_ACTIVATIONS))
        return _ACTIVATIONS[got]

    def refuse_the_rest(self) -> None:
        """Return when no key is left that may change the maths and that nobody asked for.

        Raises:
            ModelError: If there is one.
        """
        for key, value in self.values.items():
            if key in self._asked or not value or _HARMLESS.search(key):
                continue
            if any(word in key for word in _WORDS):
                raise ModelError(
                    f"config.json has {key} = {str(value)[:80]!r}, which is not known in this family and may change "
                    "the model's answers",
                    hint="remove the key if it does not, or ask for support",
                )


def _refusal(key: str, got: Any, accepted: tuple[Any, ...]) -> ModelError:
    known = ", ".join(map(repr, accepted))
    return ModelError(f"config.json asks for {key} = {got!r}, which is not supported; supported: {known}")
