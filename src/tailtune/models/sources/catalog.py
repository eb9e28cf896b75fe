"""Pretrained models by name: what a reference means, and where it lies once fetched. Does not import torch."""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tailtune.errors import ConfigError, SetupError, setup_error
from tailtune.models.sources.entries import ENTRIES, Entry
from tailtune.models.sources.fetch import arriving, fetch
from tailtune.models.sources.folders import require_model_folder
from tailtune.models.sources.formats import convert, converted_home, format_of
from tailtune.models.sources.kept import is_whole, read_manifest
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, folder_bytes, locked

_DEFAULT = ENTRIES[0].name


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedModel:
    """A model folder in Hugging Face layout that is there.

    Attributes:
        name: As it was asked for.
        path: The folder.
        source: Where it came from, as a person would say it.
        licence: Of the weights; "" when not known.
        notes: What people should know of how it came.
    """

    name: str
    path: Path
    source: str
    licence: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptModel:
    """A model in the cache.

    Attributes:
        name: Catalogue name, or the name of the file it was made from.
        path: The folder.
        source: Where it came from.
        bytes: Of all its files.
        converted_from: SHA-256 of the file of one's own it was made from; "" for a model of the catalogue.
    """

    name: str
    path: Path
    source: str
    bytes: int
    converted_from: str = ""


def entries() -> tuple[Entry, ...]:
    """Return the catalogue."""
    return ENTRIES


def find_entry(name: str) -> Entry | None:
    """Return the model of the catalogue called ``name``; None where there is none."""
    return next((entry for entry in ENTRIES if entry.name == name), None)


def pull(name: str, *, accept_licence: bool = False, progress: Progress = silent) -> ResolvedModel:
    """Return the catalogue model ``name``, fetched and converted into the cache if it is not there yet.

    Args:
        name: Of the catalogue.
        accept_licence: A licence with restrictions was read and is accepted.
        progress: Told the bytes fetched.

    Raises:
        ConfigError: If there is no such name, or its licence was not accepted.
        SetupError: If it cannot be fetched, or the disk has no room.
        ArtefactError: If what was fetched is not what it should be.
    """
    entry = find_entry(name)
    if entry is None:
        raise _unknown(name)
    folder = _folder(name)
    if not is_whole(folder):
        if entry.restrictions and not accept_licence:
            raise ConfigError(
                f"{name} is under the {entry.licence}, not an open-source one: {entry.restrictions}",
                hint=f"read that licence; if you accept it: tailtune models pull {name} --accept-licence",
            )
        with locked(_lock(name)):
            if not is_whole(folder):  # another process may have fetched it while this one waited
                shutil.rmtree(folder, ignore_errors=True)
                with _offline_hint():
                    fetch(entry, folder, progress)
    return _kept(entry, folder)


def _kept(entry: Entry, folder: Path) -> ResolvedModel:
    manifest = read_manifest(folder)
    parts = (manifest.get("source", entry.sources[0].title), manifest.get("member"))
    refused = tuple(f"{entry.name} is from {parts[0]}; not used: {said}" for said in manifest.get("not_used", ()))
    source = ": ".join(part for part in parts if part)
    return ResolvedModel(name=entry.name, path=folder, source=source, licence=entry.licence, notes=refused)


def is_cached(name: str) -> bool:
    """Say whether the catalogue model ``name`` is in the cache, whole."""
    return is_whole(_folder(name))


def kept() -> tuple[KeptModel, ...]:
    """Return every model in the cache: those of the catalogue, and what was converted from files of one's own."""
    home, own = converted_home().parent, converted_home()
    names = {re.sub(r"^\.(.+)\.arriving$", r"\1", folder.name) for folder in _folders(home)}
    fetched = [
        KeptModel(
            name=name,
            path=home / name,
            source=str(read_manifest(home / name).get("source", "")),
            bytes=folder_bytes(home / name) + folder_bytes(arriving(home / name)),
        )
        for name in sorted(names)
    ]
    return (*fetched, *map(_converted, _folders(own)))


def _converted(folder: Path) -> KeptModel:
    manifest = read_manifest(folder)
    return KeptModel(
        name=str(manifest.get("name", folder.name)),
        path=folder,
        source=str(manifest.get("source", "")),
        bytes=folder_bytes(folder),
        converted_from=str(manifest.get("sha256", folder.name)),
    )


def _folders(home: Path) -> list[Path]:
    return sorted(folder for folder in home.glob("*") if folder.is_dir() and folder != converted_home())


def find_kept(reference: str) -> KeptModel:
    """Return the model in the cache that ``reference`` means, so that it can be removed.

    Args:
        reference: Catalogue name; or of something converted the path it was made from, its name, or its SHA-256 from
            the first 8 digits on.

    Raises:
        ConfigError: If there is none, or several.
    """
    here = kept()
    path = str(Path(reference).expanduser().resolve())
    made = [model for model in here if model.converted_from]
    found = (
        [model for model in here if not model.converted_from and model.name == reference]
        or [model for model in made if model.source == path]
        or [model for model in made if model.name == reference]
        or [model for model in made if len(reference) >= 8 and model.converted_from.startswith(reference)]
    )
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(model.converted_from[:12] for model in found)
        raise ConfigError(f"{reference}: several models were made of files of that name: {several}", hint="name one")
    if _is_hub_id(reference) and not Path(reference).exists():
        hint = "models by hub id lie in the hub's own cache, which other programs share: `hf cache` shows and cleans it"
        raise ConfigError(f"{reference}: not in this cache", hint=hint)
    known = ", ".join(model.name for model in here) or "nothing"
    raise ConfigError(f"{reference}: not in the cache, which holds {known}")


def remove(model: KeptModel) -> None:
    """Remove a model from the cache.

    Raises:
        SetupError: If it cannot be removed.
    """
    lock = model.path.with_suffix(".lock") if model.converted_from else _lock(model.path.name)
    with locked(lock):
        try:
            for folder in (model.path, arriving(model.path)):
                if folder.is_symlink():
                    folder.unlink()  # somebody put the models elsewhere: what it leads to is not ours
                elif folder.exists():
                    shutil.rmtree(folder)
        except OSError as error:
            raise setup_error(error, f"removing {model.path}") from error


def resolve(reference: str, *, accept_licence: bool = False, progress: Progress = silent) -> ResolvedModel:
    """Return the model that ``reference`` means.

    Args:
        reference: Catalogue name, local folder or file in a form that is known, or hub id ``org/name[@revision]``.
        accept_licence: As for ``pull``.
        progress: Told what is fetched and converted.

    Raises:
        ConfigError: If it is none of these.
        ModelError: If the folder lacks a file that is needed, or the file cannot be converted.
        SetupError: If it cannot be fetched.
    """
    # The catalogue first: a folder that happens to have such a name must not change the weights; ./name is the folder.
    if find_entry(reference) is not None:
        return pull(reference, accept_licence=accept_licence, progress=progress)
    path = Path(reference).expanduser()
    if path.exists():
        return _local(path, progress)
    if _is_hub_id(reference):
        return _from_hub(reference, progress)
    raise _unknown(reference)


def _local(path: Path, progress: Progress) -> ResolvedModel:
    name = path.resolve().name
    if (form := format_of(path)) is not None:
        made = convert(path, form, progress=progress)
        return ResolvedModel(name=name, path=made.folder, source=f"{path} (sha256 {made.sha256})")
    if path.is_dir():
        require_model_folder(path)
        return ResolvedModel(name=name, path=path, source=str(path))
    from tailtune.models.sources.formats import formats

    known = ", ".join(form.title for form in formats())
    raise ConfigError(f"{path}: a file of no form that is known", hint=f"give a Hugging Face folder, or {known}")


def _from_hub(reference: str, progress: Progress) -> ResolvedModel:
    from tailtune.models.sources.hub import snapshot

    name, _, revision = reference.partition("@")
    with _offline_hint():
        got = snapshot(name, revision or None, progress=progress)
    # What was used stays known when the hub's branch moves on.
    source = f"hub {name}@{got.commit}"
    notes = (got.note,) if got.note else ()
    return ResolvedModel(name=name, path=got.folder, source=source, licence=got.licence, notes=notes)


@contextlib.contextmanager
def _offline_hint() -> Iterator[None]:
    try:
        yield
    except SetupError as error:
        if error.hint is not None:
            raise
        raise SetupError(error.message, hint=f"works without the hub: {_DEFAULT}, or a local folder") from error


def _is_hub_id(reference: str) -> bool:
    return bool(re.fullmatch(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?", reference))


def _unknown(reference: str) -> ConfigError:
    near = difflib.get_close_matches(reference.casefold(), [entry.name for entry in ENTRIES], n=1)
    return ConfigError(
        f"{reference}: neither a model of the catalogue (such as {_DEFAULT}), nor a local folder or file, "
        "nor a hub id like org/name",
        hint=f"did you mean {near[0]}?" if near else "`tailtune models list` shows the catalogue",
    )


def _folder(name: str) -> Path:
    return cache_home() / "models" / name


def _lock(name: str) -> Path:
    return _folder(f"{name}.lock")
