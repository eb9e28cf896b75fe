"""A reference model without weights: its modules, with parameters on the meta device and all other tensors real.

What other tensors there are (masks, angles, tables that the maths gives) follows from the config, and no file holds it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from tailtune.errors import ModelError
from tailtune.models.generic.library import UNFIT, first_line, library_config, quietly, transformers


class _Switch(threading.local):
    on = False


_SWITCH = _Switch()


@functools.cache
def _register() -> None:
    """Once for the whole process and never undone: other threads may be making modules of their own meanwhile."""
    # Its annotation says that a hook returns nothing, its documentation that it may return another parameter.
    register_module_parameter_registration_hook(_to_meta)  # type: ignore[arg-type]


def _to_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
    if not _SWITCH.on or parameter is None or parameter.is_meta:
        return None
    return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Make every parameter that this thread registers one without memory, before any value is drawn for it."""
    _register()
    _SWITCH.on = True
    try:
        with torch.device("cpu"):
            yield
    finally:
        _SWITCH.on = False


def skeleton(reference: Mapping[str, Any]) -> Any:
    """Return the reference library's model of that config in eval mode, its parameters without memory.

    Args:
        reference: The config, see ``harmless``.

    Raises:
        ModelError: If the library cannot make it.
        SetupError: If it is not installed.
    """
    config = library_config(reference)
    try:
        with quietly(), _parameters_on_meta():
            model = transformers().AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32)
    except UNFIT as error:
        model_type = reference["model_type"]
        raise ModelError(f"transformers cannot make a {model_type} of this config.json: {first_line(error)}") from error
    return model.eval()
