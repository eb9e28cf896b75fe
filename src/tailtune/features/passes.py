"""The passes of one pretrained decoder, in fp32 or int8, each with a feature store of its own.

What a precision needs is made when it is first asked for. Knows nothing about labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailtune.features.backbone import Backbone, Wanted, choose_device
from tailtune.features.store import Features, FeatureStore
from tailtune.models.int8 import Precision, to_int8
from tailtune.models.parts import Part
from tailtune.progress import Progress, silent
from tailtune.text.tokenizer import Tokens
from tailtune.text.windows import Windows

# What the features of a store depend on besides the weights. The number rises when int8 results change.
_FIELDS: Mapping[Precision, Mapping[str, Any]] = {"fp32": {"dtype": "float32"}, "int8": {"dtype": "int8", "scheme": 1}}


def store_of(root: Path, *, weights: str, precision: Precision) -> FeatureStore:
    """Return the store of what frozen blocks with these weights give in that precision.

    Args:
        root: Parent folder of all stores.
        weights: Hash of the pretrained weights.
        precision: Of the products.
    """
    return FeatureStore(root, {"weights": weights, **_FIELDS[precision]})


@dataclass(frozen=True, kw_only=True, slots=True)
class Pass:
    """What one pass had to compute.

    Attributes:
        precision: Of its products.
        depth: Blocks.
        texts: Distinct texts asked for.
        computed_texts: Those of them that were not in the store.
        computed_tokens: Their tokens.
        spared_tokens: Those of them that are the same in all texts, a template's words, and were computed once.
    """

    precision: Precision
    depth: int
    texts: int
    computed_texts: int
    computed_tokens: int
    spared_tokens: int = 0


class Passes:
    """Runs backbones over texts and remembers what that cost.

    Args:
        decoder: fp32, with every block that may be asked for.
        weights: Hash of the pretrained weights.
        store: Folder of the feature stores.
        device: "auto", "cpu", "cuda" or "mps".
    """

    def __init__(self, decoder: Part, *, weights: str, store: Path, device: str) -> None:
        self.decoder = decoder
        self.done: list[Pass] = []
        self._weights = weights
        self._store = store
        self._device = device
        self._backbones: dict[Precision, Backbone] = {}

    def backbone(self, precision: Precision) -> Backbone:
        """Return the frozen part in that precision.

        Raises:
            SetupError: If the device is not there or cannot compute that way.
        """
        if precision not in self._backbones:
            device = choose_device(self._device, precision)
            decoder = to_int8(self.decoder.below(len(self.decoder.blocks))) if precision == "int8" else self.decoder
            self._backbones[precision] = Backbone(decoder, device=device)
        return self._backbones[precision]

    def features(
        self,
        tokens: Tokens,
        wanted: Wanted,
        *,
        precision: Precision,
        windows: Windows | None = None,
        progress: Progress = silent,
    ) -> Features:
        """Return the wanted features of every text, from the store where they are there.

        States at depth 0 are not stored, they are looked up in the embeddings whenever they are asked for.

        Args:
            tokens: Ragged token ids of the texts, or of their windows.
            wanted: Depths of pooled vectors and token states.
            precision: Of the frozen products.
            windows: Which belong to which text; default: each is a text.
            progress: Told packed tokens done.
        """
        store = store_of(self._store, weights=self._weights, precision=precision)
        backbone = self.backbone(precision)
        stored = replace(wanted, states=tuple(depth for depth in wanted.states if depth))
        features = store.features(backbone, tokens, stored, progress=progress).embedded_by(backbone)
        if windows is not None:
            features.windows = windows
        self.done.append(
            Pass(
                precision=precision,
                depth=wanted.depth,
                texts=features.distinct_texts,
                computed_texts=features.computed_texts,
                computed_tokens=features.computed_tokens,
                spared_tokens=features.spared_tokens,
            )
        )
        return features

    def lacking_tokens(self, tokens: Tokens, wanted: Wanted, *, precision: Precision) -> int:
        """Return how many tokens a pass would have to compute, see ``FeatureStore.lacking_tokens``.

        Args:
            tokens: Ragged token ids of the texts, or of their windows.
            wanted: Depths of pooled vectors and token states.
            precision: Of the frozen products.
        """
        return store_of(self._store, weights=self._weights, precision=precision).lacking_tokens(tokens, wanted)

    def below(self, depth: int, precision: Precision) -> Part:
        """Return the backbone of ``depth`` blocks, ready for a bundle."""
        part = self.decoder.below(depth)
        return to_int8(part) if precision == "int8" else part
