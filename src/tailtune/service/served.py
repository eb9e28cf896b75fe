"""A bundle in service: verified, tried on its golden texts, with what its run measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tailtune.bundle import MANIFEST, find_bundle
from tailtune.drift import Reference
from tailtune.errors import BundleError
from tailtune.predict import Predictor
from tailtune.service.drift import Drift
from tailtune.storage import folder_bytes, read_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One version of one classifier.

    Attributes:
        name: What requests call it.
        path: As given: a bundle or a run folder, or a link to one, which may lead elsewhere by now.
        folder: Of the bundle that was loaded.
        predictor: Answers.
        metrics: What the run measured; empty where the bundle has none.
        drift: How far its answers have moved from the validation rows; those of another version do not count.
        loaded_at: Seconds since 1970.
        previous: Digest of the version that it took the place of; None for the one that the service started with.
    """

    name: str
    path: Path
    folder: Path
    predictor: Predictor
    metrics: Mapping[str, Any] = field(default_factory=dict)
    drift: Drift = field(default_factory=lambda: Drift(None))
    loaded_at: float = field(default_factory=time.time)
    previous: str | None = None

    @classmethod
    def load(cls, name: str, path: Path, *, device: str = "auto", threads: int | None = None) -> Served:
        """Return the classifier at ``path`` after its files were compared with their hashes and its golden texts asked.

        Args:
            name: What requests call it.
            path: A bundle or a run folder, or a link to one: it is followed once, so that one that is switched
                meanwhile does not mix two versions.
            device: "auto", "cpu", "cuda" or "mps".
            threads: Processor threads; default as PyTorch has it.

        Raises:
            BundleError: If it is damaged, answers otherwise than when it was saved, or tells of other labels.
        """
        folder = find_bundle(path).resolve()
        predictor = Predictor.load(folder, device=device, threads=threads)
        if not predictor.bundle.golden:
            raise BundleError(f"{path}: holds no golden texts to try it on", hint="save it again with this version")
        try:
            predictor.check_golden(elsewhere=True)
        except BundleError as error:
            raise BundleError(f"{path}: {error.message}", hint="train it again, or install what saved it") from error
        metrics = _metrics(folder)
        reference = Reference.from_json(metrics["drift"], predictor.labels) if "drift" in metrics else None
        return cls(name=name, path=path, folder=folder, predictor=predictor, metrics=metrics, drift=Drift(reference))

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest: what version it is."""
        return self.predictor.bundle.digest

    @property
    def file_bytes(self) -> int:
        """Of all its files; in memory it takes about as many."""
        return folder_bytes(self.folder)

    def costs(self, texts: Sequence[str]) -> list[int]:
        """Return [texts] tokens that the classifier reads of each, those of overlapping windows as often as read.

        Raises:
            DataError: If a text holds half a character; it names which.
        """
        tokens, windows = self.predictor.bundle.tokenizer.read(texts)
        found: list[int] = np.add.reduceat(tokens.lengths, windows.offsets[:-1]).tolist() if len(texts) else []
        return found


Outcome = Literal["loaded", "unchanged", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reload:
    """What came of the last look at the version that a classifier's path leads to.

    Attributes:
        name: Of the classifier.
        outcome: "failed" where the old version stays; the log has why.
        at: Seconds since 1970.
        seconds: It took.
    """

    name: str
    outcome: Outcome
    at: float
    seconds: float


def digest_at(path: Path) -> str:
    """Return the digest that the bundle at ``path`` says it has.

    Raises:
        BundleError: If there is none.
    """
    manifest = find_bundle(path) / MANIFEST
    found = read_json(manifest, BundleError).get("digest")
    if not isinstance(found, str):
        raise BundleError(f"{manifest}: has no digest")
    return found


def state_of(path: Path) -> frozenset[tuple[str, int, int]]:
    """Return name, size and time of the files of the bundle that ``path`` leads to.

    Raises:
        BundleError: If it leads to none.
        OSError: If they are being replaced meanwhile.
    """
    found = ((file, file.stat()) for file in find_bundle(path).resolve().rglob("*") if file.is_file())
    return frozenset((str(file), status.st_size, status.st_mtime_ns) for file, status in found)


def _metrics(folder: Path) -> dict[str, Any]:
    file = folder / "metrics.json"
    return read_json(file, BundleError) if file.is_file() else {}
