"""Tailtune: a pretrained language model becomes a text classifier with trustworthy probabilities."""

from __future__ import annotations

__version__ = "0.1.0"
