"""A state dict saved by ``torch.save`` becomes a safetensors file, in a process of its own with limits.

A pickle can run code while it is read. This process never unpickles; the one that does, ``pickled_child``, first looks
at what the pickle asks for, then lets PyTorch read tensors and nothing else, and has so much memory, time and disk.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

from tailtune.errors import ModelError
from tailtune.models.first_gpt2 import pickled_child
from tailtune.storage import require_room

PICKLED = (".pth", ".pt", ".bin", ".ckpt")
# Beyond what PyTorch takes by itself: the file mapped, a copy of what shares memory, and what is written.
_ROOM_FACTOR, _LEAST_ROOM = 4, 1 << 28
_ZIP = b"PK\x03\x04"
_LEAST_SECONDS, _BYTES_PER_SECOND = 120, 10_000_000


def to_safetensors(source: Path, folder: Path) -> Path:
    """Return a new safetensors file in ``folder`` with the tensors that ``source`` holds.

    Args:
        source: A state dict saved by ``torch.save``, PyTorch 1.6 or later, or such a one under ``model_state_dict``.
        folder: Exists.

    Raises:
        ModelError: If it is anything but tensors by name, damaged, or needs more memory or time than it may have.
        SetupError: If the disk has no room.
    """
    size = source.stat().st_size
    # Both ends: what only ends as an archive would be read by an older way, which had a hole (CVE-2025-32434).
    with source.open("rb") as file:
        begins = file.read(len(_ZIP)) == _ZIP
    if not begins or not zipfile.is_zipfile(source):
        hint = "whole files of PyTorch 1.6 or later are zip archives; save it again with torch.save"
        raise ModelError(f"{source}: cut short, or not written by torch.save", hint=hint)
    require_room(folder, size, "converting into")
    target = folder / "tensors.safetensors"
    room, seconds = _ROOM_FACTOR * size + _LEAST_ROOM, _LEAST_SECONDS + size // _BYTES_PER_SECOND
    # By its path and with -P: neither the current folder nor the one of the script is imported from.
    command = [
        sys.executable,
        "-P",
        pickled_child.__file__,
        str(source.resolve()),
        str(target),
        str(room),
        str(seconds),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{source}: not read within {seconds} seconds") from error
    if done.returncode:
        said = next(reversed(done.stderr.strip().splitlines()), "")
        if done.returncode < 0:
            said = (
                f"reading it needed more than {room >> 20} MiB or {seconds} s, or crashed ({_name(-done.returncode)})"
            )
        raise ModelError(f"{source}: {said}")
    return target


def _name(number: int) -> str:
    return signal.Signals(number).name if number in {each.value for each in signal.Signals} else f"signal {number}"
