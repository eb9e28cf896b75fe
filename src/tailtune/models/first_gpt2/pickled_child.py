"""The process that reads a pickle: tensors by name go into a safetensors file, all else is refused.

Run by its path, by ``tailtune.models.first_gpt2.pickled``; imports nothing of the package. What is wrong is its last
line on stderr.
"""

from __future__ import annotations

import pickle
import pickletools
import resource
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = ("Float", "Half", "BFloat16", "Double", "Bool", "Long", "Int", "Short", "Char", "Byte")
# All that a state dict asks for. PyTorch has its own list, which had holes in some versions; both must agree.
_ALLOWED = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"}
_ALLOWED |= {f"torch {kind}Storage" for kind in _KINDS}
_MOST_PICKLE_BYTES = 1 << 24  # GPT-2 xl's names and shapes take 0.1 MB
_UNNAMED = ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4")  # ask for what a stack or a register says, not for a name


def main(arguments: list[str]) -> None:
    """Write the tensors of one file.

    Args:
        arguments: The file, the file to write, bytes of memory and of disk, and seconds that it may take.

    Raises:
        SystemExit: With one line, if it holds anything else or is damaged.
    """
    source, target, room, seconds = Path(arguments[0]), Path(arguments[1]), int(arguments[2]), int(arguments[3])
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    _limit(room, seconds)
    try:
        _require_tensors_only(source)
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
        save_file(_separate(_state(loaded)), target)
    except MemoryError:
        sys.exit(f"reading it needs more than {room >> 20} MiB")
    except (pickle.UnpicklingError, zipfile.BadZipFile) as error:
        sys.exit(f"damaged, or not tensors alone: {_line(error)}")
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, SafetensorError) as error:
        sys.exit(f"damaged: {_line(error)}")


def _limit(room: int, seconds: int) -> None:
    """From here on no more memory than ``room`` beyond what PyTorch itself has taken, where the system can tell."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taken = Path("/proc/self/statm")
    if taken.is_file():
        most = int(taken.read_text(encoding="ascii").split()[0]) * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _require_tensors_only(source: Path) -> None:
    """Refuse a pickle that asks for anything but tensors, before it is read: looking at its codes runs none."""
    with zipfile.ZipFile(source) as archive:
        found = [each for each in archive.infolist() if each.filename.endswith(".pkl")]  # a script has several
        if len(found) != 1 or found[0].file_size > _MOST_PICKLE_BYTES:
            sys.exit(f"not a state dict of torch.save: {len(found)} pickles in it, expected one of a few kilobytes")
        if any(each.compress_type != zipfile.ZIP_STORED for each in archive.infolist()):
            sys.exit("not written by torch.save: its parts are compressed")
        if damaged := archive.testzip():  # PyTorch itself does not compare them
            sys.exit(f"damaged: its part {damaged} does not have its checksum")
        content = archive.read(found[0])
    for code, argument, _ in pickletools.genops(content):
        asked = code.name if code.name in _UNNAMED else argument if code.name in ("GLOBAL", "INST") else None
        if asked is not None and asked not in _ALLOWED:
            what = "what it does not name" if asked in _UNNAMED else str(asked).replace(" ", ".")
            sys.exit(f"asks to run {what}; only a state dict of tensors is read: torch.save(model.state_dict(), FILE)")


def _state(loaded: Any) -> dict[str, Tensor]:
    import torch

    if isinstance(loaded, dict) and isinstance(loaded.get("model_state_dict"), dict):
        loaded = loaded["model_state_dict"]
    if not isinstance(loaded, dict):
        sys.exit(f"holds a {type(loaded).__name__}, expected a state dict")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor) or value.layout != torch.strided:
            sys.exit(f"holds {name!r}: {type(value).__name__}, expected a state dict of tensors by name")
    return loaded


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, each with memory of its own: tied ones share it, and safetensors refuses that."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        start = tensor.untyped_storage().data_ptr()
        shared = start in seen or not tensor.is_contiguous() or tensor.untyped_storage().nbytes() != tensor.nbytes
        seen.add(start)
        out[name] = tensor.detach().clone().contiguous() if shared else tensor.detach()
    return out


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    main(sys.argv[1:])
