"""The bundle: a saved classifier, a folder that runs alone and offline.

::

    bundle.json             format, labels, method, depth, precision, rules, origin, SHA-256 of every other file
    backbone.safetensors    embeddings and the blocks below the cut, our names
    classifier.safetensors  the probe's arrays, or the tail's blocks, final norm and head
    scope.safetensors       only if asked for: what tells texts that are unlike the training texts
    tokenizer.json          as the model came with it; what its other files decide is written into it
    metrics.json README.md  what the run measured, and a model card

safetensors and JSON only: reading a bundle never runs code from it. Knows nothing about training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError
from torch import Tensor

from tailtune import __version__
from tailtune.errors import BundleError, ModelError
from tailtune.label_rules import AnyRules, read_rules
from tailtune.labels import LabelSet
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import Pooling, ProbeScorer, Scorer, TailScorer, own_pooling
from tailtune.models.int8 import Precision, int8_twin
from tailtune.models.mapped import shapes_of, tensors_of
from tailtune.models.parts import Part, Shape, make_part, shape_from_json
from tailtune.models.tensor_files import TensorFile, write_tensors
from tailtune.models.weights import fill
from tailtune.rules import Rules
from tailtune.storage import canonical_json, read_json, sha256_bytes, sha256_file
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import LongRule

# Format 1 knew no precision: its backbones are fp32. Format 2 knew no rules: a reader of it would give probabilities
# that are not calibrated and ignore thresholds, so bundles that have rules are of format 3. Format 3 read the beginning
# of every long text, knew no scope, and one label per text: only bundles with another rule for long texts, a scope or
# any number of labels per text are of format 4. Format 4 knew GPT-2 and Llama, and never padded: bundles of models with
# anything that these do not have, and those that read pads, are of format 5. Format 5 knew tails read at one token:
# those that read the mean of all are of format 6.
FORMAT = 6
_WITH_VARIANTS, _WITH_READING, _WITH_RULES, _WITHOUT_RULES = 5, 4, 3, 2
MANIFEST = "bundle.json"
BACKBONE, CLASSIFIER, TOKENIZER = "backbone.safetensors", "classifier.safetensors", "tokenizer.json"
SCOPE = "scope.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A classifier in memory.

    Attributes:
        decoder: Embeddings and the blocks below the cut.
        scorer: What turns their features into class scores.
        tokenizer: Reads long texts as the classifier was trained on them.
        labels: Names of the classes, in the order of the scores.
        precision: Of the products below the cut.
        about: Where it came from, for people: model name, source and hash, data source and hash.
        golden: Texts of our own with the probabilities this classifier gave them when it was saved.
        rules: What happens to its probabilities before they are given out.
        scope: What tells texts that are unlike the training texts; None where it was not asked for.
    """

    decoder: Part
    scorer: Scorer
    tokenizer: Tokenizer
    labels: LabelSet
    precision: Precision = "fp32"
    about: Mapping[str, Any] = field(default_factory=dict)
    golden: tuple[tuple[str, tuple[float, ...]], ...] = ()
    rules: AnyRules = field(default_factory=Rules)
    scope: Scope | None = None


def write_bundle(bundle: Bundle, folder: Path, *, extra: Mapping[str, str]) -> None:
    """Write ``bundle`` into the existing empty ``folder``; the caller renames it into place.

    Args:
        bundle: What to save.
        folder: Exists.
        extra: Further text files, name -> content.

    Raises:
        SetupError: If the disk has no room.
    """
    write_tensors(folder / BACKBONE, tensors_of(bundle.decoder), like=shapes_of(bundle.decoder))
    described, tensors = _describe(bundle.scorer)
    write_tensors(folder / CLASSIFIER, tensors)
    (folder / TOKENIZER).write_bytes(bundle.tokenizer.json_bytes)
    if bundle.scope is not None:
        arrays = bundle.scope.arrays().items()
        write_tensors(folder / SCOPE, {name: torch.from_numpy(array) for name, array in arrays})
    for name, content in extra.items():
        (folder / name).write_text(content, encoding="utf-8")
    rules, long = bundle.rules.as_json(), bundle.tokenizer.long.as_json()
    pad = bundle.tokenizer.pad
    manifest = {
        "format_version": _format(bundle),
        "tailtune": __version__,
        "classifier": described,
        "decoder": bundle.decoder.config.as_json(),
        "cut": len(bundle.decoder.blocks),
        "precision": bundle.precision,
        "max_tokens": bundle.tokenizer.max_tokens,
        **bundle.labels.to_json(),
        "about": dict(bundle.about),
        "golden": [{"text": text, "probabilities": list(row)} for text, row in bundle.golden],
        **({"rules": rules} if rules else {}),
        **({"long": long} if long else {}),
        **({} if pad is None else {"pad": pad}),
        **({"scope": {"depth": bundle.scope.depth}} if bundle.scope else {}),
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(folder.iterdir())
        },
    }
    manifest["digest"] = _digest(manifest)
    (folder / MANIFEST).write_text(canonical_json(manifest), encoding="utf-8")


def _format(bundle: Bundle) -> int:
    """The oldest format that says all of it, so that older versions read what they can."""
    if "pooling" in _describe_tail(bundle.scorer):
        return FORMAT
    if not bundle.decoder.config.is_plain or bundle.tokenizer.pad is not None:
        return _WITH_VARIANTS
    if bundle.tokenizer.long.as_json() or bundle.scope is not None or bundle.labels.several:
        return _WITH_READING
    return _WITH_RULES if bundle.rules.as_json() else _WITHOUT_RULES


def _digest(manifest: Mapping[str, Any]) -> str:
    return sha256_bytes(canonical_json({k: v for k, v in manifest.items() if k != "digest"}).encode())


def _describe(scorer: Scorer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if isinstance(scorer, TailScorer):
        return _describe_tail(scorer), dict(scorer.state_dict())
    if isinstance(scorer, ProbeScorer):
        arrays = {name: torch.from_numpy(getattr(scorer, name)) for name in ("mean", "scale", "weight", "bias")}
        return {"method": "probe", "depths": list(scorer.depths), "pooling": scorer.pooling}, arrays
    raise TypeError(type(scorer))


def _describe_tail(scorer: Scorer) -> dict[str, Any]:
    """What a tail is; empty for others. How it was trained is for people: it reads like any other."""
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


def find_bundle(path: Path) -> Path:
    """Return the bundle folder that ``path`` means: itself, or the ``bundle`` inside a run folder.

    Raises:
        BundleError: If it is neither.
    """
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file():
            return folder
    what = "no such folder" if not path.exists() else f"neither a bundle (no {MANIFEST}) nor a run folder"
    raise BundleError(f"{path}: {what}", hint="give a folder that `tailtune train` made")


def read_bundle(path: Path) -> Bundle:
    """Return the classifier saved at ``path``, after every file was compared with its SHA-256.

    Args:
        path: A bundle or a run folder.

    Raises:
        BundleError: If a file is missing, changed or truncated, or the format is newer than this version.
    """
    folder = find_bundle(path)
    manifest = read_json(folder / MANIFEST, BundleError)
    try:
        _verify(folder, manifest)
        return _build(folder, manifest)
    except (AttributeError, KeyError, TypeError, ValueError, ModelError) as error:
        raise BundleError(f"{folder}: does not hold a classifier: {error}") from error


def _verify(folder: Path, manifest: Mapping[str, Any]) -> None:
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT:
        raise BundleError(
            f"{folder}: bundle format {version!r}, this version reads up to {FORMAT}", hint="install a newer tailtune"
        )
    if manifest.get("digest") != _digest(manifest):
        raise BundleError(f"{folder / MANIFEST}: was changed after it was saved", hint=_AGAIN)
    for name, expected in manifest["files"].items():
        file = folder / name
        if Path(name).name != name or not file.is_file():
            raise BundleError(f"{file}: is missing from the bundle", hint=_AGAIN)
        if (size := file.stat().st_size) != expected["bytes"]:
            raise BundleError(f"{file}: {size} bytes, saved with {expected['bytes']}", hint=_AGAIN)
        if (got := sha256_file(file)) != expected["sha256"]:
            raise BundleError(f"{file}: sha256 {got[:12]}…, saved with {expected['sha256'][:12]}…", hint=_AGAIN)
    for name in (BACKBONE, CLASSIFIER, TOKENIZER, *((SCOPE,) if "scope" in manifest else ())):
        if name not in manifest["files"]:
            raise BundleError(f"{folder / MANIFEST}: does not list {name}", hint=_AGAIN)


_AGAIN = "the folder was changed or damaged; copy it again or train again"


def _build(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    config = shape_from_json(manifest["decoder"])
    labels = LabelSet.from_json(manifest)
    decoder = make_part(config, blocks=manifest["cut"], final_norm=False)
    precision = _precision(folder, manifest)
    if precision == "int8":
        with torch.device("meta"):
            decoder = int8_twin(decoder)
    fill(decoder, _load(folder / BACKBONE), where=str(folder / BACKBONE))
    golden = tuple((entry["text"], tuple(entry["probabilities"])) for entry in manifest["golden"])
    return Bundle(
        decoder=decoder,
        scorer=_read_scorer(folder / CLASSIFIER, manifest["classifier"], config, len(labels)),
        tokenizer=Tokenizer.load(
            folder / TOKENIZER,
            max_tokens=manifest["max_tokens"],
            long=LongRule.from_json(manifest.get("long", {})),
            pad=_pad(folder, manifest, config),
        ),
        labels=labels,
        precision=precision,
        about=manifest["about"],
        golden=golden,
        rules=read_rules(manifest.get("rules", {}), labels),
        scope=_read_scope(folder / SCOPE, manifest["scope"]) if "scope" in manifest else None,
    )


def _pad(folder: Path, manifest: Mapping[str, Any], config: Shape) -> int | None:
    pad = manifest.get("pad")
    if pad is not None and (type(pad) is not int or not 0 <= pad < config.vocabulary):
        raise BundleError(f"{folder}: pads with token {pad!r}, of {config.vocabulary}")
    return pad


def _read_scope(path: Path, described: Mapping[str, Any]) -> Scope:
    arrays = {name: tensor.numpy() for name, tensor in _load(path).items()}
    return Scope.of(int(described["depth"]), arrays)


def _precision(folder: Path, manifest: Mapping[str, Any]) -> Precision:
    precision = manifest.get("precision", "fp32")
    if precision not in get_args(Precision):
        raise BundleError(f"{folder}: precision {precision!r} is not known", hint="install a newer tailtune")
    return cast("Precision", precision)


def _read_scorer(path: Path, described: Mapping[str, Any], config: Shape, classes: int) -> Scorer:
    tensors = _load(path)
    if described.get("pooling", "last") not in get_args(Pooling):
        raise BundleError(f"{path}: pooling {described['pooling']!r} is not known", hint="install a newer tailtune")
    if described["method"] == "tail":
        part = make_part(config, first=described["first"], blocks=described["blocks"], embeddings=False)
        with torch.device("meta"):
            tail = TailScorer(part, classes, pooling=described.get("pooling"), kind=described.get("trained", "tail"))
        fill(tail, tensors, where=str(path))
        return tail
    if described["method"] == "probe":
        arrays = {name: tensors[name].numpy() for name in ("mean", "scale", "weight", "bias")}
        return ProbeScorer(depths=tuple(described["depths"]), pooling=described["pooling"], **arrays)
    raise BundleError(f"{path}: method {described['method']!r} is not known", hint="install a newer tailtune")


def _load(path: Path) -> dict[str, Tensor]:
    try:
        file = TensorFile(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    return {name: file.tensor(name) for name in file.names()}


__all__ = ["Bundle", "find_bundle", "read_bundle", "write_bundle"]
