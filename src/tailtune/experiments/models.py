"""The pretrained models of the rows: which size is which, whether it is at hand, and its passes over texts.

Larger sizes are gigabytes, so none is fetched without being asked for; a row without its weights says how to get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tailtune.errors import ConfigError
from tailtune.experiments.scorer import usual_start, without_mask
from tailtune.experiments.settings import SIZES, Row, Setting, Size
from tailtune.features.passes import Passes
from tailtune.models.decoder import Decoder
from tailtune.models.parts import Part, Shape, load_part, read_shape
from tailtune.models.random_weights import random_fingerprint, random_part
from tailtune.models.sources import catalog
from tailtune.models.weights import fingerprint
from tailtune.progress import Progress, silent
from tailtune.storage import read_json

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"),
    ("smollm2-135m", "smollm2-360m", "smollm2-1.7b"),
    ("smollm2-135m-instruct", "smollm2-360m-instruct", "smollm2-1.7b-instruct"),
    ("pythia-160m", "pythia-410m", "pythia-1b"),
)
"""Catalogue names from small to xl; a family may have fewer sizes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Absent:
    """A model that is not at hand, which is no failure.

    Attributes:
        why: In words.
        mend: What to do about it, a command where there is one.
    """

    why: str
    mend: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pretrained:
    """A model that is at hand.

    Attributes:
        name: As it was asked for.
        folder: Where it lies.
        shape: From its config.
        weights: Hash of config and weights.
    """

    name: str
    folder: Path
    shape: Shape
    weights: str


def parse_sizes(given: str | None) -> dict[Size, str]:
    """Return size -> model from ``medium=NAME,xl=FOLDER``.

    Raises:
        ConfigError: If it is not of that form.
    """
    found: dict[Size, str] = {}
    for part in (given or "").split(","):
        size, _, name = part.strip().partition("=")
        known = next((known for known in SIZES if known == size), None)
        if part.strip() and (known is None or not name):
            raise ConfigError(f"--sizes {part.strip()}: expected SIZE=MODEL, a size of {', '.join(SIZES)}")
        if known is not None:
            found[known] = name
    return found


def reference_of(row: Row, model: str, sizes: Mapping[Size, str]) -> str | Absent:
    """Return which model a row runs on.

    Args:
        row: May name one, or a size.
        model: The small one.
        sizes: Those that were given.
    """
    if row.model is not None:
        return row.model
    size = row.setting.size
    if size in sizes:
        return sizes[size]
    if size == "small":
        return model
    family = next((family for family in FAMILIES if model in family), (model,))
    place = family.index(model) + SIZES.index(size)
    if place < len(family):
        return family[place]
    return Absent(why=f"{Path(model).name} has no {size} size in the catalogue", mend=f"--sizes {size}=MODEL names one")


class Shelf:
    """The models of one session, each looked up once; one decoder at a time is held.

    Args:
        store: Folder of the feature stores.
        progress: Told what is fetched.
    """

    def __init__(self, store: Path, progress: Progress = silent) -> None:
        self._store = store
        self._progress = progress
        self._known: dict[str, Pretrained | Absent] = {}
        self._held: tuple[str, Part] | None = None
        self._passes: dict[bool, Passes] = {}

    def look_up(self, reference: str, *, fetch: bool) -> Pretrained | Absent:
        """Return the model, or why it is not at hand.

        Args:
            reference: Catalogue name, local folder or file, or hub id.
            fetch: Whether a model that is not here may be fetched.

        Raises:
            TailtuneError: If it may be fetched and cannot be had, or what is here cannot be used.
        """
        if reference not in self._known:
            self._known[reference] = self._looked_up(reference, fetch=fetch)
        return self._known[reference]

    def _looked_up(self, reference: str, *, fetch: bool) -> Pretrained | Absent:
        if not fetch and not _is_here(reference):
            pull = f"tailtune models pull {reference}, or " if catalog.find_entry(reference) else ""
            return Absent(why=f"weights of {reference} not at hand", mend=f"{pull}--fetch")
        model = catalog.resolve(reference, progress=self._progress)
        shape = read_shape(read_json(model.path / "config.json"))
        return Pretrained(name=model.name, folder=model.path, shape=shape, weights=fingerprint(model.path))

    def passes(self, model: Pretrained, setting: Setting, seed: int) -> Passes:
        """Return the passes of a model as a row has it: its weights drawn anew, or its mask taken away.

        Args:
            model: That is at hand.
            setting: Of the row.
            seed: Of weights that are drawn.
        """
        # Features of other weights, or under another mask, are others: the store must not take one for the other.
        weights = f"{setting.weights}, {random_fingerprint(model.shape, seed)}" if drawn(setting) else model.weights
        if self._held is None or self._held[0] != weights:
            self._passes.clear()  # the decoder held before goes before the next one comes
            self._held = None
            self._held = (weights, _decoder(model, setting, seed))
        unmasked = model.shape.causal and not setting.causal
        if unmasked not in self._passes:
            decoder = self._held[1]
            if unmasked:
                assert isinstance(decoder, Decoder)
                decoder, weights = without_mask(decoder), f"{weights}, no causal mask"
            self._passes[unmasked] = Passes(decoder, weights=weights, store=self._store, device="auto")
        return self._passes[unmasked]


def _is_here(reference: str) -> bool:
    """Whether a model needs no network: it is in our cache, a path, or in the hub's cache."""
    if catalog.find_entry(reference) is not None:
        return catalog.is_cached(reference)
    if Path(reference).expanduser().exists():
        return True
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(reference.partition("@")[0], "config.json"), str)


def drawn(setting: Setting) -> bool:
    """Return whether the row starts from weights that are no pretrained ones."""
    return setting.weights != "pretrained"


def _decoder(model: Pretrained, setting: Setting, seed: int) -> Part:
    if setting.weights == "small":
        return random_part(model.shape, depth=model.shape.blocks, seed=seed)
    return usual_start(model.shape, seed) if setting.weights == "usual" else load_part(model.folder)
