"""Where things are in a reference model: its blocks, its final norm, which of its weights serve what.

Found by running it: on zeros, with recorders for blocks, so a model of any size is looked through in a second or two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tailtune.errors import ModelError
from tailtune.models.generic.library import UNFIT, first_line, quietly
from tailtune.models.generic.skeleton import skeleton
from tailtune.models.generic.stem import Recorder, Recording, record, record_into, states_of

# Texts and tokens of the trial: more than one of each, and not the same number, so that axes cannot be mixed up.
_COUNT, _LENGTH = 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """What was found.

    Attributes:
        layers: Path of the list of blocks.
        order: [L] for each block its place in that list; ALBERT calls one module again and again.
        results: How many values a block returns as a tuple; None for the states alone.
        final_norm: Path of the module between the last block and the model's output; "" for none.
        embedding: Names of the parameters that the states below the first block depend on.
        shared: Names of the parameters outside of the blocks that blocks are called with.
        vocabulary: Rows of the embedding.
        width: D.
        positions: Rows of a table of learned positions that a text can use; None without one.
    """

    layers: str
    order: tuple[int, ...]
    results: int | None
    final_norm: str
    embedding: frozenset[str]
    shared: frozenset[str]
    vocabulary: int
    width: int
    positions: int | None

    def name(self, number: int) -> str:
        """Return the number under which the weights of a block are kept: that of the first one to use them."""
        return str(self.order.index(self.order[number]))


def some_ids(config: Any, *, count: int, length: int, vocabulary: int) -> Tensor:
    """Return [count, length] int64 token ids of which none is the pad: for runs where only that matters.

    Args:
        config: The library's.
        count: Texts.
        length: Tokens each.
        vocabulary: Token ids there are.
    """
    ids = torch.arange(count * length).flip(0) % max(1, vocabulary - 1)  # descending, unlike positions
    pad = getattr(config, "pad_token_id", None)
    return (ids if pad is None else ids + (ids >= pad)).view(count, length)


def structure_of(reference: Mapping[str, Any]) -> Structure:
    """Return the structure of the model that the config describes.

    Args:
        reference: See ``harmless``.

    Raises:
        ModelError: If its blocks are no list of modules of which each gets the states that the one before returned.
        SetupError: If the reference library is not installed.
    """
    return _structure_of(json.dumps(reference, sort_keys=True))


@functools.lru_cache(maxsize=16)
def _structure_of(reference: str) -> Structure:
    raw = json.loads(reference)
    model = skeleton(raw)
    try:
        with quietly(), torch.random.fork_rng(devices=[]), torch.inference_mode(mode=False), torch.enable_grad():
            return _find(model)
    except UNFIT as error:
        why = first_line(error)
        raise ModelError(f"model_type {raw['model_type']!r}: its modules cannot be cut at a depth: {why}") from error


def _find(model: Any) -> Structure:
    path, layers = _largest_list(model)
    blocks = record_into(layers, None)
    _materialise(model)
    embedding = model.get_input_embeddings()
    vocabulary = int(embedding.num_embeddings)
    ids = some_ids(model.config, count=_COUNT, length=_LENGTH, vocabulary=vocabulary)
    results = _results(model, ids, blocks[0])
    record_into(layers, results)
    seen: list[_Seen] = []
    recording = Recording(until=None, mark=True)
    hooks = [
        module.register_forward_hook(_noting(name, seen, recording), with_kwargs=True)
        for name, module in model.named_modules()
        if name and not isinstance(module, Recorder)
    ]
    out = record(model, ids, recording)[0]
    for hook in hooks:
        hook.remove()
    _require_chain(recording)
    still = _unrecorded(model, seen, before=len(recording.calls))
    shared = still | _dependencies(model, _tensors([(call.arguments, call.keywords) for call in recording.calls]))
    if any(model.get_parameter(name) is embedding.weight for name in shared):
        raise ValueError("blocks are called with more of the tokens than the states below them")
    return Structure(
        layers=path,
        order=tuple(recording.places),
        results=results,
        final_norm=_final_norm(seen, recording, out),
        embedding=still | _dependencies(model, [recording.calls[0].states]),
        shared=shared,
        vocabulary=vocabulary,
        width=recording.calls[0].states.shape[-1],
        positions=_positions(model, seen, embedding),
    )


def _largest_list(model: nn.Module) -> tuple[str, nn.ModuleList | nn.Sequential]:
    """The list of modules that holds most of the parameters, the outermost of equals, and its path."""
    lists = [
        (sum(parameter.numel() for parameter in module.parameters()), path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module)
    ]
    if not lists:
        raise ValueError("there is no list of blocks")
    _, path, layers = max(lists, key=lambda entry: entry[0])
    return path, layers


def _materialise(module: nn.Module) -> None:
    """Give parameters values: vectors random ones, so that norms tell; all else zeros.

    They are numpy's, which leaves them to the system: its pages take no memory until they are written to.
    """
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and parameter.is_meta:
                size = tuple(parameter.shape)
                values = torch.rand(size) if len(size) == 1 else torch.from_numpy(np.zeros(size, dtype=np.float32))
                part._parameters[name] = nn.Parameter(values)


def _results(model: nn.Module, ids: Tensor, block: nn.Module) -> int | None:
    """How many values the first block returns as a tuple; None where it returns the states alone."""
    recording = Recording(until=1)
    record(model, ids, recording)
    (call,) = recording.calls
    if call.states.shape[:2] != ids.shape or call.states.dim() != 3:
        raise ValueError(f"{list(ids.shape)} tokens become states of shape {list(call.states.shape)}")
    _materialise(block)
    out = call.run(block, call.states)
    above = states_of(out)
    if not isinstance(above, Tensor) or above.shape != call.states.shape:
        raise ValueError(f"a block returns {type(above).__name__}")
    return None if isinstance(out, Tensor) else len(out)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """A call of a module outside of the blocks: its name, what it was given and returned, blocks called before."""

    name: str
    given: tuple[Tensor, ...]
    returned: Any
    after: int


def _noting(name: str, seen: list[_Seen], recording: Recording) -> Callable[..., None]:
    def note(_: nn.Module, arguments: tuple[Any, ...], keywords: Mapping[str, Any], returned: Any) -> None:
        given = tuple(_tensors([arguments, keywords]))
        seen.append(_Seen(name=name, given=given, returned=returned, after=len(recording.calls)))

    return note


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _tensors(part)


def _same(one: Any, other: Tensor) -> bool:
    return isinstance(one, Tensor) and one.shape == other.shape and torch.equal(one, other)


def _require_chain(recording: Recording) -> None:
    """Every block but the first must be given what the one before returned: else more happens between them."""
    for number, (call, before) in enumerate(zip(recording.calls[1:], recording.returned, strict=False), start=1):
        if not _same(call.states, before):
            raise ValueError(f"something is computed between blocks {number - 1} and {number}")


def _final_norm(seen: Sequence[_Seen], recording: Recording, out: Tensor) -> str:
    """Path of the module that makes the model's output of what the last block returned; "" where that is the output."""
    last = recording.returned[-1]
    if _same(out, last):
        return ""
    after = [call for call in seen if call.after == len(recording.calls)]
    found = [call.name for call in after if call.given and _same(call.given[0], last) and _same(call.returned, out)]
    if not found:
        raise ValueError("more than one module stands between the last block and the output")
    return min(found, key=len)


def _dependencies(model: nn.Module, tensors: Iterable[Tensor]) -> frozenset[str]:
    """Names of the parameters that the tensors are computed from, read off autograd's graph: nothing is computed."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    found: set[str] = set()
    seen: set[Any] = set()
    open_: list[Any] = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    while open_:
        node = open_.pop()
        if node in seen:
            continue
        seen.add(node)
        found |= names.get(id(getattr(node, "variable", None)), set())
        open_ += [following for following, _ in node.next_functions if following is not None]
    return frozenset(found)


def _unrecorded(model: nn.Module, seen: Sequence[_Seen], *, before: int) -> frozenset[str]:
    """Names of the parameters of modules called before the last block that compute where autograd does not look."""
    names = set()
    for call in seen:
        if call.after < before and not any(tensor.requires_grad for tensor in _tensors(call.returned)):
            module = model.get_submodule(call.name)
            names |= {f"{call.name}.{name}" for name, _ in module.named_parameters(recurse=False)}
    return frozenset(names)


def _positions(model: nn.Module, seen: Sequence[_Seen], embedding: nn.Module) -> int | None:
    """Positions that a text can have in the tables that are asked for ascending numbers; None without such a table."""
    rows = []
    for call in seen:
        table = model.get_submodule(call.name)
        if isinstance(table, nn.Embedding) and table is not embedding and len(call.given) == 1:
            asked = call.given[0].flatten()[:_LENGTH].tolist()
            if asked == list(range(int(asked[0]), int(asked[0]) + _LENGTH)):
                rows.append(table.num_embeddings - int(asked[0]))
    return min(rows, default=None)
