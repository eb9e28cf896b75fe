"""docs/how-to/serve.md cannot rot: its curl lines and the README's are answered, its flags, files and names exist."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from support.serving import saved, serving
from tailtune.cli import main

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")
CODE = re.findall(r"^    (\S.*)$", PAGE, re.MULTILINE)
README = (ROOT / "README.md").read_text(encoding="utf-8")
CURL = [line for line in CODE + re.findall(r"^    (\S.*)$", README, re.MULTILINE) if line.startswith("curl ")]
KEY = "0123456789abcdef0123456789abcdef"


def test_flags_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Each flag that is given to the command, in a line or in a sentence, is in its help."""
    assert main(["serve", "--help"]) == 0
    there = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    lines = [line for line in CODE if "tailtune serve " in line]
    assert len(lines) > 5
    given = {flag for line in lines for flag in re.findall(r" (--[a-z-]+)", line.partition("tailtune serve")[2])}
    sentences = re.sub(r"^    .*$", "", PAGE, flags=re.MULTILINE)
    given |= set(re.findall(r"`(--[a-z-]+)", sentences)) - {"--build-arg"}
    assert given <= there


def test_curl_lines_are_answered(tmp_path: Path, tiny_llama: Path) -> None:
    """As they stand, but for the port: by a service with keys, which the lines without one do not get past."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not on this machine")
    assert len(CURL) > 11
    bundle, keys = saved(tiny_llama, tmp_path / "spam"), tmp_path / "keys"
    keys.write_text(f"alice: {KEY}\n", encoding="utf-8")
    with serving(bundle, "--api-key-file", keys, log=tmp_path / "log") as process:
        for line in CURL:
            words = shlex.split(line.replace(":8000", f":{process.port}").replace("$KEY", KEY))
            show = ["--silent", "--output", str(tmp_path / "out"), "--write-out", "%{http_code}"]
            statuses = [
                subprocess.run([*words, *show, *more], capture_output=True, text=True, check=True).stdout
                for more in ([], ["--header", f"X-API-Key: {KEY}"])
            ]
            free = "Bearer" in line or line.endswith("/ping")
            assert statuses == ["200" if free else "401", "200"], line
        metrics = httpx.get(f"{process.url}/metrics", headers={"X-API-Key": KEY}).text
    assert [name for name in re.findall(r"`(tailtune_[a-z_]+)`", PAGE) if name not in metrics] == []


def test_files_exist() -> None:
    """Links, scripts and what lies in deploy/."""
    folder = ROOT / "docs" / "how-to"
    assert [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if not (folder / link).exists()] == []
    named = re.findall(r"\b((?:deploy|bench)/[A-Za-z@_.]+\w)", PAGE)
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).exists()] == []
