"""Files and folders that hold a model in another form than Hugging Face's: what they are, and the way into the cache.

A form is a line in ``formats``. What it makes lies under the hash of the file's content: the same bytes are converted
once, wherever they lie and whatever they are called.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tailtune.errors import setup_error
from tailtune.models.hashes import remembered_sha256
from tailtune.models.sources.kept import is_whole, read_manifest, write_manifest
from tailtune.progress import Progress, silent
from tailtune.storage import cache_home, folder_bytes, locked, require_room, sha256_bytes, writing_folder

# Rises when a converter writes something else for the same file: older conversions are then made anew.
_SCHEME = 1


class Convert(Protocol):
    """Writes a Hugging Face folder made from something else."""

    def __call__(self, source: Path, folder: Path, *, progress: Progress = silent) -> None:
        """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json into ``folder``."""


@dataclass(frozen=True, slots=True)
class Format:
    """One form that a model comes in.

    Attributes:
        title: What people call it.
        recognises: Says whether a path holds it, from names and first bytes.
        convert: Makes a Hugging Face folder of it.
    """

    title: str
    recognises: Callable[[Path], bool]
    convert: Convert


def formats() -> tuple[Format, ...]:
    """Return every form that is converted, the surest to recognise first."""
    from tailtune.models.first_gpt2.book import convert_book, is_book_state
    from tailtune.models.first_gpt2.openai import convert_openai, is_openai_checkpoint
    from tailtune.models.gguf.convert import convert_gguf, is_gguf

    return (
        Format("a GGUF file", is_gguf, convert_gguf),
        Format("OpenAI's GPT-2 files", is_openai_checkpoint, convert_openai),
        Format("a state dict of the book's GPTModel", is_book_state, convert_book),
    )


def format_of(path: Path) -> Format | None:
    """Return the form of the model at ``path``; None for a Hugging Face folder and for what is not known."""
    return next((form for form in formats() if form.recognises(path)), None)


def converted_home() -> Path:
    """Return the folder of the cache with all that was converted from files of one's own."""
    return cache_home() / "models" / "converted"


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """What was made of a file or folder.

    Attributes:
        folder: In Hugging Face layout, in the cache.
        sha256: Of what it was made from.
    """

    folder: Path
    sha256: str


def convert(path: Path, form: Format, *, progress: Progress = silent) -> Converted:
    """Return what ``form`` makes of ``path``, from the cache where the same content was converted before.

    Raises:
        ModelError: If it cannot be converted.
        SetupError: If the disk has no room, or refuses.
    """
    digest = content_sha256(path)
    folder = converted_home() / digest
    if not _is_current(folder):
        with locked(folder.with_suffix(".lock")):
            if not _is_current(folder):  # another process may have made it while this one waited
                shutil.rmtree(folder, ignore_errors=True)
                _convert(path, form, digest, folder, progress)
    return Converted(folder=folder, sha256=digest)


def _is_current(folder: Path) -> bool:
    return is_whole(folder) and read_manifest(folder).get("scheme") == _SCHEME


def _convert(path: Path, form: Format, digest: str, folder: Path, progress: Progress) -> None:
    size = path.stat().st_size if path.is_file() else folder_bytes(path)
    require_room(folder, size, f"converting {path} into")  # at least: fp32 takes as much, out of 4 bits 8 times more
    about = {"name": path.name, "source": str(path.resolve()), "sha256": digest, "form": form.title, "scheme": _SCHEME}
    with writing_folder(folder) as temporary:
        form.convert(path, temporary, progress=progress)
        write_manifest(temporary, about)


def content_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of a folder's files.

    Raises:
        SetupError: If it cannot be read.
    """
    try:
        if path.is_file():
            return remembered_sha256(path)
        files = sorted(file for file in path.iterdir() if file.is_file())
        return sha256_bytes("\n".join(f"{file.name} {remembered_sha256(file)}" for file in files).encode())
    except OSError as error:
        raise setup_error(error, f"reading {path}") from error
