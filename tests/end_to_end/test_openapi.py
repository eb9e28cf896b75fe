"""The OpenAPI document and the running service say the same, whatever is sent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import validate

from support.classifiers import pair_bundle
from support.serving import Process, saved, serving
from tailtune.bundle import read_bundle

KEY = "of-the-checker-of-the-document"
# Where the document cannot say all that is refused: a function that is another classifier's, a text that is longer
# than truncate_prompt_tokens allows, a shape that other texts would fill, lines that are no JSON.
CONFIG = """
hooks = "support.schemathesis_hooks"

[parameters]
"path.name" = "mail"
"path.version" = "{version}"

[[operations]]
include-path = ["/", "/predict", "/invocations", "/v2/models/{{name}}/infer",
  "/v2/models/{{name}}/versions/{{version}}/infer"]
[operations.checks]
positive_data_acceptance.expected-statuses = [200, 404, 422]

[[operations]]
include-path = "/classify"
[operations.checks]
positive_data_acceptance.expected-statuses = [200, 400, 404]
"""


@pytest.fixture(scope="module")
def bundle(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes pairs, so that all of TEI's inputs have an answer."""
    return saved(tiny_llama, tmp_path_factory.mktemp("openapi") / "mail", pair_bundle)


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("log")
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    keys.chmod(0o600)
    with serving(bundle, "--api-key-file", keys, log=folder / "log") as server:
        yield server


def test_the_document_is_valid(server: Process) -> None:
    """By the schema of OpenAPI."""
    validate(httpx.get(f"{server.url}/openapi.json", headers={"x-api-key": KEY}).json())


def test_schemathesis(server: Process, bundle: Path, tmp_path: Path) -> None:
    """All answers conform to the document, none is a failure; what it does not allow, or has no key, is refused."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(version=read_bundle(bundle).digest[:12]), encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run", f"{server.url}/openapi.json"]
    how = ["--phases", "examples,coverage,fuzzing", "--checks", "all", "--max-examples", 8]
    how += ["--generation-deterministic", "--no-color", "--header", f"Authorization: Bearer {KEY}"]
    found = subprocess.run(
        [str(part) for part in (*command, *how)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
