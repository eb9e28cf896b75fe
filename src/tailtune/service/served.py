"""A bundle in service: verified, tried on its golden texts, with what its run measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tailtune.bundle import find_bundle
from tailtune.errors import BundleError
from tailtune.predict import Predictor


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """One version of one classifier.

    Attributes:
        name: What requests call it.
        path: As given: a bundle or a run folder.
        predictor: Answers.
        metrics: What the run measured; empty where the bundle has none.
    """

    name: str
    path: Path
    predictor: Predictor
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, name: str, path: Path, *, device: str = "auto", threads: int | None = None) -> Served:
        """Return the classifier at ``path`` after its files were compared with their hashes and its golden texts asked.

        Args:
            name: What requests call it.
            path: A bundle or a run folder.
            device: "auto", "cpu", "cuda" or "mps".
            threads: Processor threads; default as PyTorch has it.

        Raises:
            BundleError: If it is damaged, or answers otherwise than when it was saved.
        """
        predictor = Predictor.load(path, device=device, threads=threads)
        if not predictor.bundle.golden:
            raise BundleError(f"{path}: holds no golden texts to try it on", hint="save it again with this version")
        predictor.check_golden()
        return cls(name=name, path=path, predictor=predictor, metrics=_metrics(find_bundle(path)))

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest: what version it is."""
        return self.predictor.bundle.digest

    def costs(self, texts: Sequence[str]) -> list[int]:
        """Return [texts] tokens that the classifier reads of each, those of overlapping windows as often as read.

        Raises:
            DataError: If a text holds half a character; it names which.
        """
        tokens, windows = self.predictor.bundle.tokenizer.read(texts)
        found: list[int] = np.add.reduceat(tokens.lengths, windows.offsets[:-1]).tolist() if len(texts) else []
        return found


def _metrics(folder: Path) -> dict[str, Any]:
    file = folder / "metrics.json"
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
