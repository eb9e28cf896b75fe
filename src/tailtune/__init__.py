"""Tailtune: a pretrained language model becomes a text classifier with trustworthy probabilities.

Importing the package imports neither torch nor anything else that is slow; names are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailtune.classifier import TextClassifier
    from tailtune.errors import TailtuneError
    from tailtune.predict import Prediction, Predictor

__version__ = "0.1.0"

_HOMES = {
    "Prediction": "tailtune.predict",
    "Predictor": "tailtune.predict",
    "TailtuneError": "tailtune.errors",
    "TextClassifier": "tailtune.classifier",
}

__all__ = ["Prediction", "Predictor", "TailtuneError", "TextClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
