"""The bundle: a saved classifier, a folder that runs alone and offline.

::

    bundle.json             format, labels, method, depth, precision, rules, origin, SHA-256 of every other file
    backbone.safetensors    embeddings and the blocks below the cut, our names
    classifier.safetensors  the probe's arrays, or the tail's blocks, final norm and head
    scope.safetensors       only if asked for: what tells texts that are unlike the training texts
    member-1.safetensors    only of a blend: a member that counts n-grams, these in member-1.json
    member-1/               only of a blend: a member with a backbone, a bundle of its own
    tokenizer.json          as the model came with it; what its other files decide is written into it
    metrics.json README.md  what the run measured, and a model card

safetensors and JSON only: reading a bundle never runs code from it. Knows nothing about training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import torch

from tailtune import __version__
from tailtune.blend_files import AGAIN, NAMES, NUMBERS, load_tensors, read_ngrams, write_ngrams
from tailtune.errors import BundleError, ConfigError, ModelError
from tailtune.label_rules import AnyRules, LabelRules, read_rules
from tailtune.labels import LabelSet
from tailtune.methods.blend import Blend, Member
from tailtune.methods.members import BackboneMember
from tailtune.methods.ngrams import NgramMember
from tailtune.methods.scope import Scope
from tailtune.methods.scorers import Scorer
from tailtune.methods.words import GuidedProbe, WordScorer
from tailtune.models.int8 import Precision, int8_twin
from tailtune.models.mapped import shapes_of, tensors_of
from tailtune.models.parts import Part, Shape, make_part, shape_from_json
from tailtune.models.tensor_files import write_tensors
from tailtune.models.weights import fill
from tailtune.rules import Rules
from tailtune.scorer_files import describe_scorer, describe_tail, read_scorer
from tailtune.storage import canonical_json, read_json, sha256_bytes, sha256_file
from tailtune.template import Template
from tailtune.text.tokenizer import Tokenizer
from tailtune.text.windows import LongRule

# Format 1 knew no precision: its backbones are fp32. Format 2 knew no rules: a reader of it would give probabilities
# that are not calibrated and ignore thresholds, so bundles that have rules are of format 3. Format 3 read the beginning
# of every long text, knew no scope, and one label per text: only bundles with another rule for long texts, a scope or
# any number of labels per text are of format 4. Format 4 knew GPT-2 and Llama, and never padded: bundles of models with
# anything that these do not have, and those that read pads, are of format 5. Format 5 knew one classifier, tails that
# read one token, and texts as they are given: bundles with several classifiers, one without a backbone, a tail that
# reads the mean, a template that makes the texts, or classes that are words of the LM head are of format 6.
FORMAT = 6
_WITH_MODEL, _WITH_READING, _WITH_RULES, _WITHOUT_RULES = 5, 4, 3, 2
MANIFEST = "bundle.json"
BACKBONE, CLASSIFIER, TOKENIZER = "backbone.safetensors", "classifier.safetensors", "tokenizer.json"
SCOPE, MEMBER = "scope.safetensors", "member"


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
        blend: Weights of the scorer and of further classifiers; None where it answers alone.
        digest: SHA-256 of its manifest, which has those of all files; empty where it was never saved.
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
    blend: Blend | None = None
    digest: str = ""


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
    described, tensors = describe_scorer(bundle.scorer)
    write_tensors(folder / CLASSIFIER, tensors)
    (folder / TOKENIZER).write_bytes(bundle.tokenizer.json_bytes)
    if bundle.scope is not None:
        arrays = bundle.scope.arrays().items()
        write_tensors(folder / SCOPE, {name: torch.from_numpy(array) for name, array in arrays})
    described = _write_blend(bundle, folder, described)
    for name, content in extra.items():
        (folder / name).write_text(content, encoding="utf-8")
    rules, long = bundle.rules.as_json(), bundle.tokenizer.long.as_json()
    pad, template = bundle.tokenizer.pad, bundle.tokenizer.template
    manifest = {
        "format_version": _format(bundle),
        "tailtune": __version__,
        "classifier": described,
        "decoder": bundle.decoder.config.as_json(),
        "cut": len(bundle.decoder.blocks),
        **({} if bundle.decoder.has_embeddings else {"embeddings": False}),
        "precision": bundle.precision,
        "max_tokens": bundle.tokenizer.max_tokens,
        **bundle.labels.to_json(),
        "about": dict(bundle.about),
        "golden": [{"text": text, "probabilities": list(row)} for text, row in bundle.golden],
        **({"rules": rules} if rules else {}),
        **({"long": long} if long else {}),
        **({} if pad is None else {"pad": pad}),
        **({} if template is None else {"template": template.spelled}),
        **({"scope": {"depth": bundle.scope.depth}} if bundle.scope else {}),
        "files": {
            name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for name, path in _files(folder).items()
        },
    }
    manifest["digest"] = _digest(manifest)
    (folder / MANIFEST).write_text(canonical_json(manifest), encoding="utf-8")


def _files(folder: Path) -> dict[str, Path]:
    """The files that the manifest answers for, by name: of a member's own bundle its manifest, which has the others."""
    found = (path / MANIFEST if path.is_dir() else path for path in sorted(folder.iterdir()))
    return {path.relative_to(folder).as_posix(): path for path in found}


def _format(bundle: Bundle) -> int:
    """The oldest format that says all of it, so that older versions read what they can."""
    of_words = isinstance(bundle.scorer, WordScorer | GuidedProbe)
    pooled = "pooling" in describe_tail(bundle.scorer)
    if bundle.blend is not None or bundle.tokenizer.template is not None or of_words or pooled:
        return FORMAT
    if not bundle.decoder.config.is_plain or bundle.tokenizer.pad is not None:
        return _WITH_MODEL
    if bundle.tokenizer.long.as_json() or bundle.scope is not None or bundle.labels.several:
        return _WITH_READING
    return _WITH_RULES if bundle.rules.as_json() else _WITHOUT_RULES


def _digest(manifest: Mapping[str, Any]) -> str:
    return sha256_bytes(canonical_json({k: v for k, v in manifest.items() if k != "digest"}).encode())


def _write_blend(bundle: Bundle, folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """Write the members of a blend; what the manifest says of it, and ``own`` itself where there is none."""
    blend = bundle.blend
    if blend is None:
        return own
    members = [_write_member(member, folder / f"{MEMBER}-{at}", bundle) for at, member in enumerate(blend.members, 1)]
    return {"method": blend.method, "own": own, "weights": list(blend.weights), "members": members}


def _write_member(member: Member, path: Path, bundle: Bundle) -> dict[str, Any]:
    """Write one member to ``path``, or beside it with a suffix."""
    if isinstance(member, NgramMember):
        write_ngrams(member.model, path)
        return {"method": "ngrams", "name": member.name}
    if isinstance(member, BackboneMember):
        path.mkdir()
        alone = Bundle(
            decoder=member.decoder,
            scorer=member.scorer,
            tokenizer=member.tokenizer,
            labels=bundle.labels,
            precision=member.precision,
            rules=LabelRules.plain(len(bundle.labels)) if bundle.labels.several else Rules(),
        )
        write_bundle(alone, path, extra={})
        return {"method": "backbone", "model": member.model, "name": member.name}
    raise TypeError(type(member))


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
    except (AttributeError, KeyError, TypeError, ValueError, ConfigError, ModelError) as error:
        raise BundleError(f"{folder}: does not hold a classifier: {error}") from error


def _verify(folder: Path, manifest: Mapping[str, Any]) -> None:
    version = manifest.get("format_version")
    if not isinstance(version, int) or version > FORMAT:
        raise BundleError(
            f"{folder}: bundle format {version!r}, this version reads up to {FORMAT}", hint="install a newer tailtune"
        )
    if manifest.get("digest") != _digest(manifest):
        raise BundleError(f"{folder / MANIFEST}: was changed after it was saved", hint=AGAIN)
    for name, expected in manifest["files"].items():
        file = folder / name
        inside = Path(name).name == name or _MEMBER_MANIFEST.fullmatch(name)
        if not inside or not file.is_file():
            raise BundleError(f"{file}: is missing from the bundle", hint=AGAIN)
        if (size := file.stat().st_size) != expected["bytes"]:
            raise BundleError(f"{file}: {size} bytes, saved with {expected['bytes']}", hint=AGAIN)
        if (got := sha256_file(file)) != expected["sha256"]:
            raise BundleError(f"{file}: sha256 {got[:12]}…, saved with {expected['sha256'][:12]}…", hint=AGAIN)
    for name in (BACKBONE, CLASSIFIER, TOKENIZER, *((SCOPE,) if "scope" in manifest else ())):
        if name not in manifest["files"]:
            raise BundleError(f"{folder / MANIFEST}: does not list {name}", hint=AGAIN)


# The manifest of a member; every other file lies in the folder itself, and none outside.
_MEMBER_MANIFEST = re.compile(rf"{MEMBER}-[1-9][0-9]*/{re.escape(MANIFEST)}")


def _build(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    config = shape_from_json(manifest["decoder"])
    labels = LabelSet.from_json(manifest)
    described = manifest["classifier"]
    embeddings = manifest.get("embeddings", True)
    decoder = make_part(config, blocks=manifest["cut"], embeddings=embeddings, final_norm=False)
    precision = _precision(folder, manifest)
    if precision == "int8":
        with torch.device("meta"):
            decoder = int8_twin(decoder)
    fill(decoder, load_tensors(folder / BACKBONE), where=str(folder / BACKBONE))
    golden = tuple((entry["text"], tuple(entry["probabilities"])) for entry in manifest["golden"])
    return Bundle(
        decoder=decoder,
        scorer=read_scorer(folder / CLASSIFIER, described.get("own", described), config, len(labels)),
        tokenizer=Tokenizer.load(
            folder / TOKENIZER,
            max_tokens=manifest["max_tokens"],
            long=LongRule.from_json(manifest.get("long", {})),
            pad=_pad(folder, manifest, config),
            template=Template.parse(manifest["template"]) if "template" in manifest else None,
        ),
        labels=labels,
        precision=precision,
        about=manifest["about"],
        golden=golden,
        rules=read_rules(manifest.get("rules", {}), labels),
        scope=_read_scope(folder / SCOPE, manifest["scope"]) if "scope" in manifest else None,
        blend=_read_blend(folder, manifest, labels) if "members" in described else None,
        digest=manifest["digest"],
    )


def _read_blend(folder: Path, manifest: Mapping[str, Any], labels: LabelSet) -> Blend:
    described = manifest["classifier"]
    members = tuple(
        _read_member(folder, f"{MEMBER}-{at}", saved, manifest["files"], labels)
        for at, saved in enumerate(described["members"], 1)
    )
    weights = tuple(float(weight) for weight in described["weights"])
    return Blend(weights=weights, members=members, several=labels.several)


def _read_member(
    folder: Path, name: str, saved: Mapping[str, Any], listed: Mapping[str, Any], labels: LabelSet
) -> Member:
    kinds = {"ngrams": (name + NAMES, name + NUMBERS), "backbone": (f"{name}/{MANIFEST}",)}
    if saved["method"] not in kinds:
        hint = "install a newer tailtune"
        raise BundleError(f"{folder}: member {saved['method']!r} of a blend is not known", hint=hint)
    for file in kinds[saved["method"]]:
        if file not in listed:
            raise BundleError(f"{folder / MANIFEST}: does not list {file}", hint=AGAIN)
    if saved["method"] == "ngrams":
        model = read_ngrams(folder / name)
        if len(model.bias) != len(labels):
            raise BundleError(f"{folder / name}: scores {len(model.bias)} classes, expected {len(labels)}", hint=AGAIN)
        return NgramMember(model)
    inner = read_bundle(folder / name)
    if inner.labels != labels or inner.blend is not None:
        raise BundleError(f"{folder / name}: is no member of this classifier", hint=AGAIN)
    return BackboneMember(
        model=saved["model"],
        decoder=inner.decoder,
        precision=inner.precision,
        scorer=inner.scorer,
        tokenizer=inner.tokenizer,
    )


def _pad(folder: Path, manifest: Mapping[str, Any], config: Shape) -> int | None:
    pad = manifest.get("pad")
    if pad is not None and (type(pad) is not int or not 0 <= pad < config.vocabulary):
        raise BundleError(f"{folder}: pads with token {pad!r}, of {config.vocabulary}")
    return pad


def _read_scope(path: Path, described: Mapping[str, Any]) -> Scope:
    arrays = {name: tensor.numpy() for name, tensor in load_tensors(path).items()}
    return Scope.of(int(described["depth"]), arrays)


def _precision(folder: Path, manifest: Mapping[str, Any]) -> Precision:
    precision = manifest.get("precision", "fp32")
    if precision not in get_args(Precision):
        raise BundleError(f"{folder}: precision {precision!r} is not known", hint="install a newer tailtune")
    return cast("Precision", precision)


__all__ = ["Bundle", "find_bundle", "read_bundle", "write_bundle"]
