"""The command line as a caller sees it: exit code, what was printed where, and what it left on the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tailtune.cli import main

# The command line under a limit on the size of the files it may write: what a full disk does, without filling one.
_LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from tailtune.cli import main
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one command came to.

    Attributes:
        code: Exit code.
        out: All of stdout.
        err: All of stderr.
    """

    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """Return the outcome of one command line, run in this process."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Outcome(code=code, out=captured.out, err=captured.err)


def call_limited(file_bytes: int, *arguments: object) -> Outcome:
    """Return the outcome of one command line in a process of its own that can write no file beyond ``file_bytes``."""
    return process([sys.executable, "-c", _LIMITED, str(file_bytes), *map(str, arguments)])


def process(arguments: Sequence[str], **settings: Any) -> Outcome:
    """Return the outcome of one process; ``settings`` are those of ``subprocess.run``."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=dict(os.environ), **settings)
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def require_refusal(outcome: Outcome, code: int) -> str:
    """Return the error line of a refused command, after checking that it is all there is but for one hint."""
    assert outcome.code == code, outcome
    assert outcome.out == ""
    lines = outcome.err.splitlines()
    assert 1 <= len(lines) <= 2, outcome.err
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert "Traceback" not in outcome.err
    return lines[0]


def contents(*folders: Path) -> dict[str, bytes | None]:
    """Return every path below ``folders``, hidden ones too, with the bytes of files and None for folders."""
    found = [path for folder in folders for path in folder.rglob("*")]
    return {str(path): path.read_bytes() if path.is_file() else None for path in found}


def read_metrics(run: Path) -> dict[str, Any]:
    """Return the metrics of a run folder."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return metrics


def json_lines(text: str) -> list[dict[str, Any]]:
    """Return one object per line of ``text``."""
    return [json.loads(line) for line in text.splitlines()]
