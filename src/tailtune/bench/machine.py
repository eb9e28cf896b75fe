"""The machine and the packages that a measurement depends on; the optional ones are loaded only when they are used."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tailtune.errors import SetupError
from tailtune.runs import versions

OPTIONAL = ("transformers", "accelerate", "onnx", "onnxruntime")
"""What is measured against; the extra ``bench`` installs them."""

_INSTALL = "pip install 'tailtune[bench]'"


def require(names: Sequence[str] = OPTIONAL) -> None:
    """Refuse to start when one of the packages is missing.

    Raises:
        SetupError: It names all that are missing and the command that installs them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(f"packages missing for the bench: {', '.join(missing)}", hint=_INSTALL)


def library(name: str) -> Any:
    """Return an optional module, for example ``transformers`` or ``onnxruntime.quantization``.

    Raises:
        SetupError: If it, or something that it needs, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SetupError(f"package missing for the bench: {error.name}", hint=_INSTALL) from error


def describe(threads: int) -> dict[str, Any]:
    """Return what the numbers depend on: processor, cores, threads and versions; no paths, no names of people.

    Args:
        threads: That PyTorch uses.
    """
    found = versions()
    for name in OPTIONAL:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return {"processor": _processor(), "cores": os.cpu_count(), "threads": threads, "versions": found}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
