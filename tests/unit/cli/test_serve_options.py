"""What serve may be told, by flag and by variable, and what it refuses before it loads anything."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from support.command_line import call, require_refusal
from tailtune.cli.serve_options import ServeOptions, parameters
from tailtune.errors import ConfigError
from tailtune.service.limits import Limits


def test_defaults() -> None:
    """Those of the limits."""
    assert ServeOptions().limits("cpu") == Limits()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"body_bytes": "0"}, "--body-bytes 0: expected above 0"),
        ({"body_bytes": "much"}, "--body-bytes 'much' is no size"),
        ({"seconds": "0s"}, "--seconds '0s' is no time above 0"),
        ({"seconds": "30"}, "--seconds '30' is no time above 0"),
        ({"batch_tokens": 20_000}, "--batch-tokens 20000: more than the 16384 that may wait"),
        ({"waiting_tokens": 500}, "--batch-tokens 1024: more than the 500 that may wait"),
    ],
)
def test_nonsense(given: dict[str, object], said: str) -> None:
    """One line each."""
    with pytest.raises(ConfigError) as refused:
        ServeOptions(**given).limits("cpu")  # type: ignore[arg-type]
    assert said in str(refused.value)


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option has one; the flag wins."""
    seen: list[ServeOptions] = []
    app = typer.Typer()

    def command(**given: object) -> None:
        seen.append(ServeOptions(**given))  # type: ignore[arg-type]

    command.__signature__ = inspect.Signature(parameters())  # type: ignore[attr-defined]
    app.command()(command)
    for name, value in {
        "BUNDLE": "runs/spam",
        "TEXTS": "7",
        "BODY_BYTES": "1MB",
        "API_KEY_FILE": "/run/secrets/keys",
        "ALLOW_HOST": "a.org b.org",
        "ALLOW_ANYONE": "true",
        "LOG_TEXTS": "0",
        "PORT": "81",
    }.items():
        monkeypatch.setenv(f"TAILTUNE_SERVE_{name}", value)
    assert CliRunner().invoke(app, ["--port", "82"]).exit_code == 0
    (options,) = seen
    assert (options.bundle, options.texts, options.body_bytes, options.port) == ("runs/spam", 7, "1MB", 82)
    assert (options.api_key_file, options.allow_host) == (Path("/run/secrets/keys"), ["a.org", "b.org"])
    assert (options.allow_anyone, options.log_texts) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--texts", "0"], "--texts"),
        (["--requests", "-1"], "--requests"),
        (["--port", "65536"], "--port"),
        (["--host", "0.0.0.0"], "anyone who reaches it could ask"),
        (["--api-key-file", "no-such-file"], "--api-key-file no-such-file: No such file"),
        (["--allow-origin", "example.org"], "--allow-origin 'example.org'"),
        (["--allow-host", "http://a"], "--allow-host 'http://a'"),
    ],
)
def test_refusals_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    """Exit code 2 and one line, although the bundle is none."""
    assert said in require_refusal(call(capsys, "serve", tmp_path, *arguments), 2)
