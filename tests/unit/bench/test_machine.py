"""What is measured against is optional: missing packages are named with the command that installs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tailtune.bench.machine import describe, library, require
from tailtune.errors import SetupError

INSTALL = "pip install 'tailtune[bench]'"


def test_all_missing_packages_are_named_at_once() -> None:
    """One line with every name, so that nobody installs them one after another."""
    with pytest.raises(SetupError) as refused:
        require(("numpy", "no_such_package", "torch", "nor_such_a_one"))
    assert refused.value.message == "packages missing for the bench: no_such_package, nor_such_a_one"
    assert refused.value.hint == INSTALL


def test_nothing_is_said_of_packages_that_are_there() -> None:
    """And none of them is imported for it."""
    before = set(sys.modules)
    require(("numpy", "typer", "hypothesis"))
    assert set(sys.modules) == before


def test_a_missing_module_is_named_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is what an installed one needs."""
    (tmp_path / "half_installed.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("no_such_package", "half_installed"):
        with pytest.raises(SetupError) as refused:
            library(name)
        assert refused.value.message == "package missing for the bench: no_such_package"
        assert refused.value.hint == INSTALL
    assert library("json.decoder").JSONDecodeError is json.JSONDecodeError


def test_the_machine_is_described_without_names_of_people() -> None:
    """Processor, cores, threads and versions; no path, no user, no host."""
    found = describe(2)
    assert found["threads"] == 2
    assert found["processor"]
    assert {"python", "tailtune", "torch"} <= set(found["versions"])
    assert str(Path.home()) not in json.dumps(found)
