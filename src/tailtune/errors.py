"""What can go wrong, by who must act.

::

    TailtuneError                exit code
    ├── ConfigError              2   a flag, a configuration file or an argument is wrong
    ├── DataError                3   the labelled texts cannot be used as they are
    ├── ArtefactError            4   something saved cannot be used
    │   ├── ModelError               pretrained weights, their config or their tokenizer
    │   └── BundleError              a saved classifier
    ├── SetupError               5   this machine: network, disk, permissions, a missing package
    └── TrainingDiverged         2   the loss is no number any more: the learning rate is a flag

Every message is one line: what, where, got against expected. The hint says what to do. Exit code 0 is success.
"""

from __future__ import annotations

import errno
from pathlib import Path


class TailtuneError(Exception):
    """The root of the tree.

    Args:
        message: One line: what is wrong, where, got against expected.
        hint: One line: what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(TailtuneError):
    """A flag, a configuration file or an argument is wrong."""

    exit_code = 2


class DataError(TailtuneError):
    """The labelled texts cannot be used as they are.

    Args:
        message: One line.
        path: The file, when there is one; it is put in front of the message.
        line: 1-based line in that file.
        hint: One line.
    """

    exit_code = 3

    def __init__(
        self, message: str, *, path: Path | str | None = None, line: int | None = None, hint: str | None = None
    ) -> None:
        where = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        super().__init__(where + message, hint=hint)
        self.path = path
        self.line = line


class ArtefactError(TailtuneError):
    """Something saved cannot be used."""

    exit_code = 4


class ModelError(ArtefactError):
    """Pretrained weights, their config or their tokenizer cannot be used."""


class BundleError(ArtefactError):
    """A saved classifier cannot be used."""


class SetupError(TailtuneError):
    """This machine cannot do it: network, disk, permissions, a missing package."""

    exit_code = 5


class TrainingDiverged(TailtuneError):
    """The loss is no number any more; a lower learning rate is needed."""

    exit_code = 2


_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def setup_error(error: OSError, doing: str) -> SetupError:
    """Return the one-line SetupError for an operating system error met while ``doing`` something."""
    where = f" {error.filename}" if error.filename else ""
    if error.errno in _NO_ROOM:
        return SetupError(
            f"no room on the disk while {doing}{where}", hint="free some space, or set TAILTUNE_HOME or --out elsewhere"
        )
    return SetupError(f"{error.strerror or error} while {doing}{where}")
