"""One measurement in a process of its own, so that its peak memory is its own: ``python -m tailtune.bench.child``.

A job is a module of this package with a function ``run(request)``; requests and answers are JSON files.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tailtune.errors import SetupError, TailtuneError
from tailtune.storage import write_json

# Everything lies on the disk already; the reference library must not ask the network about it.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
_NOTHING_SAID = "it said nothing"


class JobFailed(SetupError):
    """A measurement did not come to an end.

    Args:
        job: Its name.
        why: The last line it wrote on stderr.
    """

    def __init__(self, job: str, why: str) -> None:
        super().__init__(f"bench: {job} failed: {why}")
        self.why = why


def run_job(job: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of one job, run in a fresh process.

    Args:
        job: Name of a module of this package.
        request: What its ``run`` wants, ready for JSON.

    Raises:
        JobFailed: If the process did not end well.
    """
    with tempfile.TemporaryDirectory(prefix="tailtune-bench-") as name:
        asked, answered = Path(name) / "request.json", Path(name) / "answer.json"
        write_json(asked, dict(request))
        done = subprocess.run(
            [sys.executable, "-m", __name__, job, str(asked), str(answered)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **_OFFLINE},
            check=False,
        )
        if done.returncode != 0:
            raise JobFailed(job, next(reversed(done.stderr.strip().splitlines()), _NOTHING_SAID))
        answer: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
        return answer


def main(arguments: list[str]) -> int:
    """Return the exit code after running one job.

    Args:
        arguments: Job, file of the request, file for the answer.
    """
    job, asked, answered = arguments
    try:
        answer = importlib.import_module(f"tailtune.bench.{job}").run(json.loads(Path(asked).read_text("utf-8")))
        write_json(Path(answered), answer)
    except TailtuneError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
