"""A run that fails in its own process says why in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tailtune.bench.child import JobFailed, main, run_job
from tailtune.errors import DataError, SetupError
from tailtune.storage import write_json


def test_a_job_that_breaks_is_told_by_its_last_line() -> None:
    """Of its traceback only what went wrong, with the name of the job; no traceback of ours hides it."""
    with pytest.raises(JobFailed) as failed:
        run_job("nowhere", {})
    assert failed.value.why == "ModuleNotFoundError: No module named 'tailtune.bench.nowhere'"
    assert failed.value.message == f"bench: nowhere failed: {failed.value.why}"
    assert isinstance(failed.value, SetupError)


def test_a_job_that_refuses_says_so_in_one_line(asked: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    """An error that the job explains is the only line on stderr, which is what the caller shows; no answer is left."""
    write_json(tmp_path / "request.json", {**asked, "data": "absent.csv"})
    code = main(["baselines", str(tmp_path / "request.json"), str(tmp_path / "answer.json")])
    said = capsys.readouterr()
    assert code == DataError.exit_code
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "absent.csv" in said.err
    assert not (tmp_path / "answer.json").exists()
