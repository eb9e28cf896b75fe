"""Models of the catalogue from the cache that the caller really has, fetched into it when they are not there yet."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tailtune.errors import ConfigError, SetupError
from tailtune.models.sources.catalog import pull
from tailtune.storage import cache_home

NAME = "smollm2-135m-instruct"
# Read at import: every test gets a TAILTUNE_HOME of its own, and half a gigabyte is not converted once for each.
_HOME = cache_home()


@functools.cache
def _pulled(name: str) -> Path | str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(_HOME))
        try:
            return pull(name).path
        except (ConfigError, SetupError) as error:
            return str(error)


def catalogue_model(name: str) -> Path:
    """Return the folder of a model, to be read only; skip the test, with the reason, where it cannot be had."""
    found = _pulled(name)
    if isinstance(found, str):
        pytest.skip(f"{name} cannot be had: {found}")
    return found


def default_model() -> Path:
    """Return the default model's folder, to be read only; skip the test, with the reason, where it cannot be had."""
    return catalogue_model(NAME)
