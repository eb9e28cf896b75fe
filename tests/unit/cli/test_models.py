"""``tailtune models`` as the shell sees it: what is listed, refused, removed, and what a machine reads of it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, require_refusal
from support.gguf_files import write_gguf_of
from tailtune.models.sources.kept import write_manifest

KEYS = [
    *("name", "description", "licence", "restrictions", "gated", "parameters", "context", "blocks", "width"),
    *("download_bytes", "source", "sources", "cached", "path", "bytes"),
]


@pytest.fixture
def kept_model(own_home: Path, tiny_llama: Path) -> Path:
    """A tiny model in the cache, as if it were gpt2."""
    folder = Path(shutil.copytree(tiny_llama, own_home / "models" / "gpt2"))
    write_manifest(folder, {"name": "gpt2", "source": "hub openai-community/gpt2@abc"})
    return folder


def listed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    outcome = call(capsys, "models", "list", "--json", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    value: dict[str, Any] = json.loads(outcome.out)
    return value


def test_the_list_for_machines(kept_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stable keys; what is not known beforehand is null, and what is here tells where and how large."""
    facts = listed(capsys)
    assert list(facts) == ["models", "converted"]
    models = {model["name"]: model for model in facts["models"]}
    assert all(list(model) == KEYS for model in models.values())
    here = models["gpt2"]
    assert (here["cached"], here["path"]) == (True, str(kept_model))
    assert here["bytes"] == sum(file.stat().st_size for file in kept_model.iterdir())
    absent = models["gpt2-medium"]
    assert (absent["cached"], absent["path"], absent["bytes"]) == (False, None, None)
    assert absent["sources"] == [
        {
            "kind": "hub",
            "repository": "openai-community/gpt2-medium",
            "revision": "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            "sha256": None,
        }
    ]
    assert models["pythia-14m"]["sources"][0]["revision"] is None
    kinds = [source["kind"] for source in models["minilm-l6"]["sources"]]
    assert kinds == ["pip", "hub"]
    assert {model["name"] for model in models.values() if model["gated"]} == {
        *("llama-3.2-1b", "gemma-3-270m", "gemma-3-1b"),
    }
    assert all(bool(model["restrictions"]) == model["gated"] for model in models.values())


def test_the_list_for_people(kept_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No name is cut short, restricted licences say so, and only one model is here."""
    out = call(capsys, "models", "list").out
    assert "smollm2-1.7b-instruct" in out
    assert "restricted" in out
    assert sum(" no " in line for line in out.splitlines()) == len(listed(capsys)["models"]) - 1


def test_what_was_converted_is_listed_and_removed(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the file it was made of; afterwards the file is still there and the list is empty."""
    file = write_gguf_of(tiny_llama, tmp_path / "tiny.gguf")
    pulled = json.loads(call(capsys, "models", "pull", file, "--json").out)
    (made,) = listed(capsys)["converted"]
    assert (made["name"], made["source"], made["path"]) == ("tiny.gguf", str(file), pulled["path"])
    assert "tiny.gguf" in call(capsys, "models", "list").out
    cached = json.loads(call(capsys, "cache", "--json").out)["models"]
    assert cached == [{"name": "tiny.gguf", "bytes": made["bytes"]}]
    removed = json.loads(call(capsys, "models", "rm", file, "--yes", "--json").out)
    assert removed == {"removed": "tiny.gguf", "path": pulled["path"], "freed_bytes": made["bytes"]}
    assert listed(capsys)["converted"] == []
    assert file.is_file()


def test_a_folder_of_ones_own_is_never_removed(
    tiny_llama: Path, kept_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is anything removed without a yes where nobody can be asked."""
    assert "not in the cache" in require_refusal(call(capsys, "models", "rm", tiny_llama, "--yes"), 2)
    refused = call(capsys, "models", "rm", "gpt2")
    assert "would be removed" in require_refusal(refused, 2)
    assert "hint: add --yes" in refused.err
    assert (kept_model / "config.json").is_file()
    assert call(capsys, "models", "rm", "gpt2", "--yes").out.startswith("removed gpt2, freed ")
    assert not kept_model.exists()


def answered(said: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command does whose stdin is a terminal where somebody types ``said``."""
    master, slave = pty.openpty()
    os.write(master, said)
    try:
        command = [sys.executable, "-m", "tailtune.cli", *arguments]
        return subprocess.run(command, stdin=slave, capture_output=True, text=True, check=False, timeout=120)
    finally:
        os.close(slave)
        os.close(master)


def test_on_a_terminal_removing_is_asked(kept_model: Path) -> None:
    """A no leaves it there, a yes does not; the question is on stderr."""
    refused = answered(b"n\n", "models", "rm", "gpt2")
    assert (refused.returncode, refused.stdout.strip()) == (130, "")
    assert f"Remove {kept_model}" in refused.stderr
    assert kept_model.is_dir()
    assert answered(b"y\n", "models", "rm", "gpt2").stdout.strip().startswith("removed gpt2")
    assert not kept_model.exists()


def test_on_a_terminal_a_licence_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A no ends with the command that accepts it; after a yes the hub is asked, here one that does not answer."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refused = answered(b"n\n", "models", "pull", "gemma-3-270m")
    assert refused.returncode == 2
    assert "Do you accept this licence?" in refused.stderr
    accepted = answered(b"y\n", "models", "pull", "gemma-3-270m")
    assert accepted.returncode == 5
    assert "the hub cannot be reached" in accepted.stderr


def test_a_restricted_licence_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    """By pull, on stderr with the gate; by train, in one line with the command."""
    outcome = call(capsys, "models", "pull", "llama-3.2-1b")
    assert outcome.code == 2
    assert outcome.err.startswith("llama-3.2-1b: Llama 3.2 Community License, not an open-source one")
    assert "HF_TOKEN" in outcome.err
    assert "tailtune models pull llama-3.2-1b --accept-licence" in outcome.err
    assert "://" not in outcome.err


def test_training_on_a_restricted_model_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is fetched, and no run folder is left."""
    rows = "".join(f"{word} {number},{label}\n" for number in range(20) for word, label in (("win", "a"), ("see", "b")))
    (tmp_path / "rows.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    asked = ("train", tmp_path / "rows.csv", "--model", "gemma-3-270m", "--out", tmp_path / "run", "--quiet")
    outcome = call(capsys, *asked, "--near-duplicates", "marks")
    assert "Gemma Terms of Use" in require_refusal(outcome, 2)
    assert "tailtune models pull gemma-3-270m --accept-licence" in outcome.err
    assert not (tmp_path / "run").exists()


def test_inspect_tells_memory_tokenizer_and_kind(tiny_llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of any folder; 4 bytes for each weight."""
    facts = json.loads(call(capsys, "models", "inspect", tiny_llama, "--json").out)
    assert facts["fp32_bytes"] == 4 * facts["parameters"]
    assert (facts["kind"], facts["tokenizer"]) == ("native", "BPE of bytes")


def test_costs_are_listed_for_a_file(kept_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every model, said to be estimates; tokens are counted where the tokenizer is here."""
    file = tmp_path / "rows.csv"
    file.write_text("text,label\nsee you at nine,ham\nwin a prize,spam\n", encoding="utf-8")
    models = {model["name"]: model for model in listed(capsys, "--for", file)["models"]}
    assert all(list(model) == [*KEYS, "estimate"] for model in models.values())
    assert [name for name, model in models.items() if model["estimate"]["tokens_counted"]] == ["gpt2"]
    assert all(model["estimate"]["texts"] == 2 for model in models.values())
    out = call(capsys, "models", "list", "--for", file).out
    assert out.count("about") == 2 * len(models)
    assert "estimates for 2 texts" in out
    inspected = call(capsys, "models", "inspect", kept_model, "--for", file)
    assert "2 texts, " in inspected.out
    assert "one pass about " in inspected.out
    facts = json.loads(call(capsys, "models", "inspect", kept_model, "--for", file, "--json").out)
    assert facts["estimate"]["tokens"] == models["gpt2"]["estimate"]["tokens"]
