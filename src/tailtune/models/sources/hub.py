"""Models from a Hugging Face hub: only the files that are read, a commit that is pinned, hashes that are remembered.

What a branch means is asked first, then every file is fetched at that commit. A record per repository keeps which
commit a branch meant last, for days without a network, and the hashes of each commit's files: a commit never changes,
so other bytes under the same commit are an error. Fetching, going on after a break and the hub's own cache are the work
of huggingface_hub.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tailtune.errors import ArtefactError, ConfigError, SetupError, setup_error
from tailtune.models.sources.entries import INDEX
from tailtune.models.sources.folders import TOKENIZERS, require_model_files, require_model_folder, shards
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, locked, require_room, sha256_file, write_json

_SMALL = {"config.json", "tokenizer_config.json", "special_tokens_map.json", INDEX, *(n for p in TOKENIZERS for n in p)}
_WEIGHTS = "model.safetensors"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN_HINT = "set HF_TOKEN to a token of an account that may read it"
# The hub answers within a second; a network that swallows everything must not cost minutes.
_ASK_SECONDS = 10.0


class HubUnreachable(SetupError):
    """The hub did not answer, or broke off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Files of one commit, on this machine.

    Attributes:
        folder: Where they lie.
        commit: Of the repository.
        files: Their names.
        licence: As its owner declares it; "" when not known.
        note: What people should know of how it came; "" for nothing.
    """

    folder: Path
    commit: str
    files: tuple[str, ...]
    licence: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Listing:
    """What the hub says of one commit: sizes of its files, and hashes of the large ones."""

    commit: str
    licence: str
    sizes: Mapping[str, int]
    sha256: Mapping[str, str]


def snapshot(
    repository: str,
    revision: str | None = None,
    *,
    into: Path | None = None,
    sha256: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Snapshot:
    """Return the model files of a repository at ``revision``, fetched where they are not here yet.

    Args:
        repository: Id such as ``org/name``.
        revision: Branch, tag or commit; None for the main branch.
        into: Folder of its own for the files; files left there by an attempt that broke off are gone on with. None for
            the hub's cache, where an earlier fetch is good enough when the hub cannot be reached.
        sha256: File -> hash, of those that are known beforehand.
        progress: Told the bytes fetched.

    Raises:
        ConfigError: If there is no such repository or revision, or no right to read it.
        ModelError: If it holds no model that can be read.
        ArtefactError: If a file is not what it should be; it is removed.
        SetupError: If the hub cannot be reached or breaks off, or the disk has no room.
    """
    said = f"{repository}@{revision}" if revision else repository
    try:
        listing = _ask(repository, revision, said)
    except HubUnreachable as error:
        if into is not None:
            raise
        return _from_cache(repository, revision, error)
    small, weights = _chosen(listing, said)
    with locked(_record(repository).with_suffix(".lock")):
        fetch = _Fetch(repository=repository, listing=listing, into=into, said=said, progress=progress)
        folder = fetch.get(small)
        if INDEX in small:
            weights = shards(folder / INDEX)
            if absent := [name for name in weights if name not in listing.sizes]:
                raise ArtefactError(
                    f"{said}: its index of weights names {', '.join(absent)}, which the hub does not have",
                    hint="its upload is not complete; name another revision",
                )
        fetch.get(weights)
        files = fetch.verified(folder, [*small, *weights], sha256 or {})
        _remember(repository, revision, listing, files)
    return Snapshot(folder=folder, commit=listing.commit, files=tuple(files), licence=listing.licence)


def _ask(repository: str, revision: str | None, said: str) -> _Listing:
    from huggingface_hub import HfApi

    with _clear_errors(said):
        info = HfApi().model_info(repository, revision=revision, files_metadata=True, timeout=_ASK_SECONDS)
    if not info.sha:
        raise SetupError(f"{said}: the hub names no commit", hint="is HF_ENDPOINT a hub?")
    files = [file for file in info.siblings or [] if "/" not in file.rfilename]
    return _Listing(
        commit=info.sha,
        licence=str(info.card_data.get("license") or "") if info.card_data else "",
        sizes={file.rfilename: file.size or 0 for file in files},
        sha256={file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None},
    )


def _chosen(listing: _Listing, said: str) -> tuple[list[str], list[str]]:
    """Config and tokenizer, and weights: one file, or all there are; an index of shards has the last word."""
    require_model_files(listing.sizes, said)
    small = sorted(_SMALL & set(listing.sizes))
    weights = sorted(name for name in listing.sizes if name.endswith(".safetensors"))
    return small, [_WEIGHTS] if _WEIGHTS in weights else weights


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fetch:
    """One fetch of files of one commit."""

    repository: str
    listing: _Listing
    into: Path | None
    said: str
    progress: Progress

    def get(self, names: Sequence[str]) -> Path:
        """Return the folder, which now holds ``names``."""
        from huggingface_hub import constants, snapshot_download

        missing = [name for name in names if not self._here(name)]
        total = sum(self.listing.sizes[name] for name in missing)
        where = self.into or Path(constants.HF_HUB_CACHE)
        if missing:
            require_room(where, total, f"fetching {self.said} into")
        with _clear_errors(self.said):
            folder = snapshot_download(
                self.repository,
                revision=self.listing.commit,
                allow_patterns=[name.replace("[", "[[]") for name in names],
                ignore_patterns=["*/*"],
                local_dir=self.into,
                tqdm_class=_bars(f"fetching {self.said}", total, self.progress),
            )
        return Path(folder)

    def _here(self, name: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        if self.into is not None:
            return (self.into / name).is_file()
        return isinstance(try_to_load_from_cache(self.repository, name, revision=self.listing.commit), str)

    def verified(self, folder: Path, names: Sequence[str], known: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return size and hash of each file, after comparing them with all that is known of them."""
        before = _read(self.repository)["commits"].get(self.listing.commit, {})
        found = {}
        for name in names:
            status = (folder / name).stat()
            seen = {"bytes": status.st_size, "changed": status.st_mtime_ns}
            old = before.get(name, {})
            if all(old.get(key) == value for key, value in seen.items()):
                found[name] = old  # hashed when it came, and the same file since
                continue
            digest = sha256_file(folder / name)
            self._require(folder / name, digest, known.get(name), "in the catalogue")
            self._require(folder / name, digest, self.listing.sha256.get(name), "as the hub says")
            self._require(folder / name, digest, old.get("sha256"), "when this commit was fetched before")
            found[name] = {**seen, "sha256": digest}
        return found

    def _require(self, file: Path, digest: str, expected: str | None, why: str) -> None:
        if expected in (None, digest):
            return
        file.resolve().unlink(missing_ok=True)  # in the hub's cache the name is a link to the bytes
        file.unlink(missing_ok=True)
        raise ArtefactError(
            f"{self.said}: {file.name} of commit {self.listing.commit[:12]}: sha256 {digest}, {why} {expected}",
            hint="the file was changed on its way or on the hub; it was removed: try again, or name another source",
        )


def _bars(stage: str, total: int, progress: Progress) -> Any:
    """A class of bars, as huggingface_hub makes several of them, that all tell ``progress`` how many bytes came."""
    from huggingface_hub.utils.tqdm import tqdm

    lock = threading.Lock()
    most = 0

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            self.counts_bytes = settings.get("unit") == "B"
            self.came = 0.0
            super().__init__(*arguments, **{**settings, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            nonlocal most
            with lock:  # one thread per file
                self.came += n or 0
                # Bytes that came and bytes that were written are counted by one bar each: the farther one is shown.
                if self.counts_bytes and most < self.came <= total:
                    most = int(self.came)
                    progress(stage, most, total, "bytes")

    return Bar


@contextlib.contextmanager
def _clear_errors(said: str) -> Iterator[None]:
    """Say in one line what the hub or the way to it refused."""
    from huggingface_hub import errors

    # The transport library differs between versions of huggingface_hub; its root is the parent of this error.
    transport = cast("tuple[type[Exception], ...]", errors.HfHubHTTPError.__bases__)
    expected: tuple[type[Exception], ...] = (*transport, errors.EntryNotFoundError)
    try:
        with _quiet_client():
            yield
    except errors.GatedRepoError as error:
        raise ConfigError(
            f"{said}: gated: the hub gives it only to accounts that have accepted its licence there",
            hint=f"accept it on the model's page, then {_TOKEN_HINT}",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError(f"{said}: the hub has no such revision of it") from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigError(f"{said}: no such model on the hub, or no right to read it", hint=_TOKEN_HINT) from error
    except errors.HFValidationError as error:
        raise ConfigError(f"{said}: not a hub id: {_first_line(error)}") from error
    except expected as error:
        if _status(error) in (401, 403):
            raise ConfigError(f"{said}: the hub refuses to give it", hint=_TOKEN_HINT) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise setup_error(error, f"fetching {said}") from error
        raise HubUnreachable(f"{said}: the hub cannot be reached or broke off: {_first_line(error)}") from error


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep the client from telling on stderr what it tries: what it cannot do is raised."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, however often it was wrapped."""
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _from_cache(repository: str, revision: str | None, unreachable: HubUnreachable) -> Snapshot:
    """What an earlier fetch left in the hub's cache, by this program or another one."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    record = _read(repository)
    commit = record["revisions"].get(revision or "main", revision)
    files = record["commits"].get(commit, {})
    try:
        folder = Path(
            snapshot_download(
                repository, revision=commit, local_files_only=True, allow_patterns=[*files] or ["config.json"]
            )
        )
        whole = all((folder / name).stat().st_size == file["bytes"] for name, file in files.items())
    except (LocalEntryNotFoundError, OSError) as error:
        raise unreachable from error
    if not whole:
        raise unreachable
    require_model_folder(folder)
    note = f"{unreachable.message}; {repository}@{folder.name} is taken from the cache"
    return Snapshot(folder=folder, commit=folder.name, files=tuple(files), licence=record["licence"], note=note)


def _record(repository: str) -> Path:
    return cache_home() / "hub" / f"{repository.replace('/', '--')}.json"


def _read(repository: str) -> dict[str, Any]:
    try:
        record = json.loads(_record(repository).read_text(encoding="utf-8"))
        parts = {name: dict(record[name]) for name in ("revisions", "commits")}
        return {"licence": str(record["licence"]), **parts}
    except (OSError, ValueError, KeyError, TypeError):
        return {"licence": "", "revisions": {}, "commits": {}}


def _remember(repository: str, revision: str | None, listing: _Listing, files: Mapping[str, Any]) -> None:
    record = _read(repository)
    if not (revision and _COMMIT.fullmatch(revision)):
        record["revisions"][revision or "main"] = listing.commit
    record["commits"][listing.commit] = {**record["commits"].get(listing.commit, {}), **files}
    record["licence"] = listing.licence
    if record != _read(repository):
        write_json(_record(repository), record)
