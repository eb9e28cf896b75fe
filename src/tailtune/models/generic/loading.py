"""Weights of a model that runs through the reference library, from a Hugging Face folder of safetensors.

Files are read here, each tensor checked; the library gives them the names of its modules, joining and splitting as its
versions want. Its own reading, which would also take pickles, adapters and code, is not used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailtune.errors import ModelError
from tailtune.models.generic.config import GenericConfig, read_generic
from tailtune.models.generic.decoder import GenericDecoder
from tailtune.models.generic.library import UNFIT, first_line, library_config, quietly, transformers
from tailtune.models.generic.stem import Stopped, states_of
from tailtune.models.generic.structure import some_ids
from tailtune.models.tensor_files import SafetensorsFolder
from tailtune.models.weights import fill
from tailtune.storage import read_json
from tailtune.text.packing import pack

# In files and not needed: heads that have no prefix either, and what the maths gives.
_SURPLUS = ("lm_head.weight", "lm_head.bias", "score.weight", ".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
# Tokens of the texts that a loaded model is checked with, and how far its states may be off, relative to the largest.
_LENGTHS = (3, 7)
_SAME = 1e-4
# Most tensors that an error names.
_NAMED = 4


def load_generic(folder: Path, *, depth: int | None = None) -> GenericDecoder:
    """Return the pretrained model in a Hugging Face folder, in fp32 on the CPU, in eval mode.

    It has been compared, on two short texts at every depth, with runs of the reference library's own model.

    Args:
        folder: Holds config.json and one or more safetensors files.
        depth: Read only the lowest ``depth`` blocks; default all.

    Raises:
        ModelError: If the library does not know the model, it cannot be cut, or a tensor is missing, misshapen or not
            finite.
        SetupError: If the library is not installed.
    """
    config = read_generic(read_json(folder / "config.json"))
    depth = config.blocks if depth is None else depth
    model = _filled(config, folder, depth)
    decoder = GenericDecoder(config, blocks=depth)
    state, names = model.state_dict(), reference_names(decoder)
    fill(decoder, {ours: state[theirs] for ours, theirs in names.items()}, where=str(folder))
    try:
        with quietly(), torch.inference_mode():
            _require_same(decoder, model, folder)
    except UNFIT as error:
        raise ModelError(f"{folder}: this {config.title} does not run in transformers: {first_line(error)}") from error
    return decoder


def reference_names(decoder: GenericDecoder) -> dict[str, str]:
    """Return our name -> the reference library's, for every tensor of ``decoder``."""
    structure = decoder.config.structure
    return {name: _reference_name(name, structure.layers, structure.final_norm) for name in decoder.state_dict()}


def _reference_name(name: str, layers: str, final_norm: str) -> str:
    part, _, rest = name.partition(".")
    if part == "blocks":
        # Blocks keep the number of the first one with these weights, and those come in the order of the list.
        return f"{layers}.{rest}"
    return f"{final_norm}.{rest}" if part == "final_norm" else rest


def _filled(config: GenericConfig, folder: Path, depth: int) -> Any:
    """The library's own model, with ``depth`` blocks, filled from the folder."""
    files = SafetensorsFolder(folder)
    kept = max((place + 1 for place in config.structure.order[:depth]), default=0)
    base = transformers().MODEL_MAPPING[type(library_config(config.reference))]
    wanted = sorted(_wanted(files.names(), config, base.base_model_prefix, kept))
    files.require(wanted)
    for name in wanted:
        files.require_finite(name)
    tensors = {name: files.read(name).float() for name in wanted}
    try:
        with quietly(), torch.random.fork_rng(devices=[]):
            model, told = _cut(base, config.structure.layers, kept).from_pretrained(
                None,
                config=library_config(config.reference),
                state_dict=tensors,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                trust_remote_code=False,
            )
    except UNFIT as error:
        raise ModelError(f"{folder}: transformers cannot load this {config.title}: {first_line(error)}") from error
    _require_names(model, told, folder, config, base.base_model_prefix)
    return model.eval().requires_grad_(False)


def _cut(base: type[nn.Module], layers: str, kept: int) -> Any:
    """The class ``base``, of which only the lowest blocks are made."""

    class Cut(base):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            blocks = self.get_submodule(layers)
            for place in reversed(range(kept, len(blocks))):
                del blocks[place]

    # The library looks up by these what it knows of a class.
    Cut.__name__, Cut.__qualname__, Cut.__module__ = base.__name__, base.__qualname__, base.__module__
    return Cut


def _wanted(present: set[str], config: GenericConfig, prefix: str, kept: int) -> set[str]:
    """The names to read: no heads, where a prefix tells them, and no blocks above the cut."""
    inside = {name for name in present if name.startswith(f"{prefix}.")} or present
    numbered = re.compile(rf"(?:^|\.){re.escape(config.structure.layers)}\.(\d+)\.")
    above = {name for name in inside if (found := numbered.search(name)) and int(found[1]) >= kept}
    return inside - above


def _require_names(model: Any, told: Mapping[str, Any], folder: Path, config: GenericConfig, prefix: str) -> None:
    """Every parameter that is used must have come from the files, in its shape; of the others some are known."""
    structure = config.structure
    used = structure.embedding | structure.shared
    parts = tuple(f"{path}." for path in (structure.layers, structure.final_norm) if path)
    missing = sorted(name for name in told["missing_keys"] if name in used or name.startswith(parts))
    missing = [name for name in missing if name in dict(model.named_parameters())]
    if missing:
        raise ModelError(f"{folder}: {len(missing)} tensors are missing: {', '.join(missing[:_NAMED])}")
    for name, got, expected in sorted(told["mismatched_keys"]):
        raise ModelError(f"{folder}: {name} has shape {list(got)}, expected {list(expected)}")
    surplus = sorted(name for name in told["unexpected_keys"] if not name.endswith(_SURPLUS))
    if surplus:
        named = ", ".join(surplus[:_NAMED])
        raise ModelError(f"{folder}: {len(surplus)} tensors are not known in this {config.title}: {named}")


def _require_same(decoder: GenericDecoder, model: Any, folder: Path) -> None:
    """States at every depth, also those above a cut in the middle, must be those of runs of the model itself."""
    config, blocks = decoder.config, len(decoder.blocks)
    texts = [some_ids(model.config, count=1, length=n, vocabulary=config.vocabulary) for n in _LENGTHS]
    own = [_own_states(model, ids, config, blocks) for ids in texts]
    expected = [torch.cat(states) for states in zip(*own, strict=True)]
    batch = pack(np.arange(len(texts)), np.array(_LENGTHS))
    layout = decoder.layout(batch, torch.device("cpu"))
    got = {0: decoder.embed(torch.cat(texts, dim=1).flatten(), layout)}
    got |= dict(decoder.climb(got[0], layout))
    middle = blocks // 2
    upper = GenericDecoder(config, first=middle, blocks=blocks - middle, embeddings=False, final_norm=False)
    state = decoder.state_dict()
    upper.load_state_dict({name: state[name] for name in upper.state_dict()}, assign=True)
    above = dict(upper.climb(expected[middle], upper.layout(batch, torch.device("cpu"))))
    for depth, states in [*got.items(), *above.items()]:
        error = (states - expected[depth]).abs().max() / expected[depth].abs().max().clamp_min(1e-30)
        if not error <= _SAME:
            raise ModelError(
                f"{folder}: cut at depth {depth} this {config.title} gives other states than the whole model, "
                f"{error:.2g} of the largest: it cannot be used"
            )


def _own_states(model: Any, ids: Tensor, config: GenericConfig, blocks: int) -> list[Tensor]:
    """[T, D] below the first block and after each one, in a run of the model's own forward."""
    states: list[Tensor] = []
    layers = model.get_submodule(config.structure.layers)

    def before(_: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
        if not states:
            states.append((arguments[0] if arguments else keywords["hidden_states"]).clone())

    def after(_: nn.Module, __: Any, returned: Any) -> None:
        states.append(states_of(returned).clone())
        if len(states) > blocks:
            raise Stopped

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers]
    try:
        model(input_ids=ids)
    except Stopped:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return [state.flatten(0, 1) for state in states]
