"""One tree, drawn in the docstring, with the exit codes people script against."""

from __future__ import annotations

import errno
import inspect
from pathlib import Path

import pytest

from tailtune import errors
from tailtune.errors import BundleError, ConfigError, DataError, ModelError, SetupError, TailtuneError, setup_error


@pytest.mark.parametrize(
    ("kind", "code"), [(ConfigError, 2), (DataError, 3), (ModelError, 4), (BundleError, 4), (SetupError, 5)]
)
def test_exit_codes_are_the_documented_ones(kind: type[TailtuneError], code: int) -> None:
    """Scripts depend on them; changing one needs a changelog entry."""
    error = kind("what", hint="do this")
    assert error.exit_code == code
    assert str(error) == "what (do this)"
    assert str(kind("what")) == "what"


def test_every_class_is_drawn_in_the_docstring() -> None:
    """The tree in the docstring is the tree in the code."""
    classes = [name for name, item in vars(errors).items() if inspect.isclass(item) and issubclass(item, TailtuneError)]
    assert classes
    assert all(f" {name} " in f" {errors.__doc__} " or f"{name}\n" in str(errors.__doc__) for name in classes)


def test_data_errors_say_where() -> None:
    """File and line come first, as editors and people expect."""
    assert DataError("broken", path=Path("a.csv"), line=3).message == "a.csv:3: broken"
    assert DataError("broken", path="a.csv").message == "a.csv: broken"
    assert DataError("broken", line=3).message == "broken"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_named_as_such(code: int) -> None:
    """Whatever the system calls it, the person reads that there is no room, and what to do."""
    error = setup_error(OSError(code, "whatever", "/x/file"), "saving the bundle")
    assert error.message == "no room on the disk while saving the bundle /x/file"
    assert error.hint is not None
    assert "TAILTUNE_HOME" in error.hint


def test_other_system_errors_keep_the_systems_words() -> None:
    """The reason is not lost, and there is still only one line."""
    error = setup_error(PermissionError(errno.EACCES, "Permission denied", "/x"), "writing")
    assert error.message == "Permission denied while writing /x"
    assert setup_error(OSError("odd"), "writing").message == "odd while writing"
