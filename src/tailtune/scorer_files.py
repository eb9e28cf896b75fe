"""The scorer of a bundle: what its manifest says of it, and its tensors. Reading one runs no code from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from tailtune.blend_files import AGAIN, load_tensors
from tailtune.errors import BundleError
from tailtune.methods.scorers import NoScorer, Pooling, ProbeScorer, Scorer, TailScorer, own_pooling
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.models.parts import Shape, make_part
from tailtune.models.weights import fill


def describe_scorer(scorer: Scorer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what the manifest says of ``scorer``, and its tensors by name."""
    if isinstance(scorer, TailScorer):
        return describe_tail(scorer), dict(scorer.state_dict())
    if isinstance(scorer, ProbeScorer):
        arrays = {name: torch.from_numpy(getattr(scorer, name)) for name in ("mean", "scale", "weight", "bias")}
        return {"method": "probe", "depths": list(scorer.depths), "pooling": scorer.pooling}, arrays
    if isinstance(scorer, NoScorer):
        return {"method": "none"}, {}
    if isinstance(scorer, WordScorer):
        described = {"method": "words", "first": scorer.depth, "owners": list(scorer.owners), "cap": scorer.cap}
        return described, dict(scorer.state_dict())
    if isinstance(scorer, GuidedProbe):
        both = {"probe": describe_scorer(scorer.probe), "words": describe_scorer(scorer.words)}
        tensors = {f"{part}.{name}": tensor for part, (_, own) in both.items() for name, tensor in own.items()}
        described = {"method": "guided probe", "strength": scorer.strength}
        return {**described, **{part: own for part, (own, _) in both.items()}}, tensors
    raise TypeError(type(scorer))


def describe_tail(scorer: Scorer) -> dict[str, Any]:
    """Return what a tail is; {} for others. How it was trained is for people: it reads like any other."""
    if not isinstance(scorer, TailScorer):
        return {}
    part, own = scorer.decoder, own_pooling(causal=scorer.decoder.config.causal)
    return {
        "method": "tail",
        "first": part.first,
        "blocks": len(part.blocks),
        **({} if scorer.pooling == own else {"pooling": scorer.pooling}),
        **({} if scorer.kind == "tail" else {"trained": scorer.kind}),
    }


def read_scorer(path: Path, described: Mapping[str, Any], config: Shape, classes: int) -> Scorer:
    """Return the scorer whose tensors are in the file ``path``.

    Args:
        path: Of a bundle.
        described: What its manifest says of the scorer.
        config: Shape of the model.
        classes: C.

    Raises:
        BundleError: If it is of a newer version, or file and manifest do not fit together.
    """
    return _scorer(path, load_tensors(path), described, config, classes)


def _scorer(
    path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any], config: Shape, classes: int
) -> Scorer:
    """The scorer that is described so; a scorer of two parts has the tensors of each under its name."""
    if described.get("pooling", "last") not in get_args(Pooling):
        raise BundleError(f"{path}: pooling {described['pooling']!r} is not known", hint="install a newer tailtune")
    if described["method"] == "guided probe":
        probe, words = (
            _scorer(path, _inside(tensors, part), described[part], config, classes) for part in ("probe", "words")
        )
        if not isinstance(probe, ProbeScorer) or not isinstance(words, WordScorer):
            raise BundleError(f"{path}: not a probe and words", hint=AGAIN)
        return GuidedProbe(probe=probe, words=words, strength=float(described["strength"]))
    if described["method"] == "words":
        return _words(path, tensors, described, config, classes)
    if described["method"] == "tail":
        part = make_part(config, first=described["first"], blocks=described["blocks"], embeddings=False)
        with torch.device("meta"):
            tail = TailScorer(part, classes, pooling=described.get("pooling"), kind=described.get("trained", "tail"))
        fill(tail, tensors, where=str(path))
        return tail
    if described["method"] == "none":
        return NoScorer(classes)
    if described["method"] == "probe":
        arrays = {name: tensors[name].numpy() for name in ("mean", "scale", "weight", "bias")}
        return ProbeScorer(depths=tuple(described["depths"]), pooling=described["pooling"], **arrays)
    raise BundleError(f"{path}: method {described['method']!r} is not known", hint="install a newer tailtune")


def _inside(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): value for name, value in tensors.items() if name.startswith(f"{part}.")}


def _words(
    path: Path, tensors: Mapping[str, Tensor], described: Mapping[str, Any], config: Shape, classes: int
) -> WordScorer:
    owners = [int(owner) for owner in described["owners"]]
    if set(owners) != set(range(classes)):
        raise BundleError(f"{path}: words of classes {sorted(set(owners))}, not of all {classes}", hint=AGAIN)
    part = make_part(config, first=described["first"], blocks=0, embeddings=False)
    with torch.device("meta"):
        scorer = WordScorer(part, owners, cap=described["cap"])
    fill(scorer, tensors, where=str(path))
    return scorer
