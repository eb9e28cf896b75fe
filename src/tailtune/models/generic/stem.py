"""What a reference model does before its blocks and between them: its own forward, with recorders in their places.

A recorder notes what a block would have been called with and hands its input on; when the last one of interest has been
called, the forward is stopped. Nothing has to be known of masks, positions or embeddings.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

_STATES = "hidden_states"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """What a block is called with.

    Attributes:
        states: [count, length, D] that it is given.
        arguments: Positional arguments after the states.
        keywords: Keyword arguments, where the states are not given by name.
    """

    states: Tensor
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    @classmethod
    def of(cls, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Call:
        """Return the call with these arguments; every block takes the states first, whether by name or not."""
        if arguments:
            return cls(states=arguments[0], arguments=arguments[1:], keywords=keywords)
        rest = {name: value for name, value in keywords.items() if name != _STATES}
        return cls(states=keywords[_STATES], arguments=(), keywords=rest)

    def run(self, block: nn.Module, states: Tensor) -> Any:
        """Return what ``block`` makes of ``states`` in this call, in its own form."""
        return block(states, *self.arguments, **self.keywords)


def states_of(returned: Any) -> Tensor:
    """Return the states in what a block returned."""
    states: Tensor = returned[0] if isinstance(returned, tuple | list) else returned
    return states


class Stopped(Exception):
    """The forward of a reference model has come as far as it was wanted."""


@dataclass(kw_only=True, slots=True)
class Recording:
    """One forward.

    Attributes:
        until: Stop at this many calls; None goes on to the end.
        calls: Of the blocks so far.
        places: Of those blocks in their list.
        returned: What recorders returned as states, where they are told to tell them apart.
        mark: Return other states than given, to see which states the next block gets.
    """

    until: int | None
    calls: list[Call] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    returned: list[Tensor] = field(default_factory=list)
    mark: bool = False


_RECORDING: ContextVar[Recording | None] = ContextVar("recording", default=None)


class Recorder(nn.Module):
    """Stands in for a block.

    Args:
        block: Whose plain attributes it has: some forwards ask a block what kind it is.
        place: Of the block in its list.
        results: How many values a block returns as a tuple; None for the states alone.
    """

    def __init__(self, block: nn.Module, place: int, results: int | None) -> None:
        super().__init__()
        own = vars(self)
        own.update({name: value for name, value in vars(block).items() if name not in own})
        self._place = place
        self._results = results

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            raise AttributeError(f"the model asks its blocks for {name!r}, which is not there without them") from error

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the states given, in the form in which a block returns them."""
        recording = _RECORDING.get()
        if recording is None:
            raise RuntimeError("a recorder is called outside of a recording")
        call = Call.of(arguments, keywords)
        recording.calls.append(call)
        recording.places.append(self._place)
        if len(recording.calls) == recording.until:
            raise Stopped
        states = call.states
        if recording.mark:
            states = torch.rand_like(states)
            recording.returned.append(states)
        return states if self._results is None else (states, *[None] * (self._results - 1))


def record_into(layers: nn.ModuleList | nn.Sequential, results: int | None) -> list[nn.Module]:
    """Put a recorder in the place of every block, and return the blocks.

    Args:
        layers: Of a model; changed.
        results: As for ``Recorder``.
    """
    blocks = list(layers)
    for place, block in enumerate(blocks):
        layers[place] = Recorder(block, place, results)
    return blocks


def record(model: nn.Module, ids: Tensor, recording: Recording) -> Any:
    """Return what the model returns for ``ids`` [count, length], None where it was stopped; fill ``recording``.

    Args:
        model: With recorders for blocks.
        ids: int64.
        recording: Fresh.
    """
    token = _RECORDING.set(recording)
    try:
        return model(input_ids=ids)
    except Stopped:
        return None
    finally:
        _RECORDING.reset(token)


def freeze(model: nn.Module, needed: frozenset[str]) -> nn.Module:
    """Return ``model`` with no parameters: those needed become buffers, the others zeros that take no memory.

    A buffer is in no optimizer, and in the state dict only where it is needed.

    Args:
        model: Its parameters without memory.
        needed: Their names.
    """
    for path, part in model.named_modules():
        for name in list(part._parameters):
            parameter = part._parameters.pop(name)
            if parameter is None:
                part.register_parameter(name, None)
                continue
            keep = f"{path}.{name}".removeprefix(".") in needed
            empty = torch.empty_like(parameter, requires_grad=False)
            zeros = torch.zeros((), dtype=parameter.dtype, device="cpu").expand(parameter.shape)
            part.register_buffer(name, empty if keep else zeros, persistent=keep)
        if hasattr(part, "config") and hasattr(type(part), "dtype"):
            kind: Any = type(part)
            part.__class__ = _knowing_its_dtype(kind)
    return model


@functools.cache
def _knowing_its_dtype(kind: Any) -> Any:
    """The class of a reference model, which would ask its parameters for dtype and device."""
    known = {"dtype": torch.float32, "device": property(lambda self: next(self.buffers()).device)}
    return type(kind.__name__, (kind,), {"__module__": kind.__module__, **known})
