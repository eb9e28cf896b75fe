"""The run folder: where the result of one training lies, and what every run records about the machine and the time."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError, SetupError

PACKAGES = ("tailtune", "torch", "numpy", "scikit-learn", "tokenizers", "safetensors", "polars", "gguf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One finished training.

    Attributes:
        folder: Holds bundle/, metrics.json, report.html, report.md, predictions.jsonl, doubts.csv, config.json,
            events.jsonl and split.json.
        metrics: The content of metrics.json.
    """

    folder: Path
    metrics: dict[str, Any]

    @property
    def bundle(self) -> Path:
        """The saved classifier."""
        return self.folder / "bundle"


def new_folder(out: str | None, data: str) -> Path:
    """Return where the run will lie, after checking that it can be made; nothing is created yet.

    Args:
        out: As asked for: absent or an empty folder. Default: runs/<stem of data>-<date>-<time>.
        data: File or name of the labelled texts.

    Raises:
        ConfigError: If ``out`` holds something already.
        SetupError: If it cannot be written there.
    """
    folder = Path(out) if out else _dated(Path("runs"), Path(data).stem or "texts")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: is not an empty folder", hint="name a new one; no run is overwritten")
    nearest = next(parent for parent in folder.absolute().parents if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise SetupError(f"--out {folder}: {nearest} cannot be written", hint="name another folder with --out")
    return folder


def _dated(parent: Path, stem: str) -> Path:
    first = parent / f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (first if number == 1 else first.with_name(f"{first.name}-{number}") for number in range(1, 1000))
    return next(name for name in names if not name.exists())


class Stopwatch:
    """Seconds per stage.

    Args:
        clock: Returns seconds.

    Attributes:
        started: By that clock.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self.clock = clock
        self.started = clock()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to the stage ``name``."""
        started = self.clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - started

    def as_json(self) -> dict[str, float]:
        """Return seconds per stage and ``total``, rounded to milliseconds."""
        total = self.clock() - self.started
        return {name: round(seconds, 3) for name, seconds in (*self.seconds.items(), ("total", total))}


def peak_rss_mib() -> float:
    """Return the most memory this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024), 1)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on: Python, the platform and the packages."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
