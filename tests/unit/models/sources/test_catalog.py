"""What a model reference means, what is refused, and what counts as cached. Nothing here needs a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tailtune.errors import ConfigError, ModelError, SetupError
from tailtune.models.sources.catalog import entries, find_kept, is_cached, kept, pull, remove, resolve
from tailtune.models.sources.facts import inspect
from tailtune.storage import sha256_file

_NAME = "smollm2-135m-instruct"


def _copy(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def _as_cached(model: Path, home: Path, name: str = _NAME) -> Path:
    """A folder that looks as ``pull`` leaves it, around a tiny model."""
    folder = _copy(model, home / "models" / name)
    files = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in folder.iterdir()}
    (folder / "source.json").write_text(json.dumps({"name": name, "files": files}), encoding="utf-8")
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
@pytest.mark.parametrize("asked", [resolve, pull])
def test_an_unknown_reference_names_what_works(reference: str, asked: Callable[[str], object]) -> None:
    """Neither folder, name nor hub id: the same line from both, with a name that works and where the others are."""
    with pytest.raises(ConfigError, match=f"{reference}: neither a model of the catalogue .such as {_NAME}") as caught:
        asked(reference)
    assert caught.value.hint in (f"did you mean {_NAME}?", "`tailtune models list` shows the catalogue")


def test_a_near_miss_is_guessed() -> None:
    """A slip of the finger gets the right name back, whatever its case."""
    with pytest.raises(ConfigError, match="did you mean gpt2-medium"):
        pull("GPT2-Medum")


def test_a_file_of_no_known_form_is_refused(tmp_path: Path) -> None:
    """It says which forms there are."""
    (tmp_path / "model.xyz").write_bytes(b"data")
    with pytest.raises(ConfigError, match="no form that is known") as caught:
        resolve(str(tmp_path / "model.xyz"))
    assert "GGUF" in str(caught.value)


def test_a_tokenizer_in_two_files_is_enough(tiny_llama: Path, tmp_path: Path) -> None:
    """A folder as GPT-2's first repositories had it; one of the two is not enough."""
    folder = _copy(tiny_llama, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json"):
        resolve(str(folder))
    (folder / "merges.txt").write_text("#version: 0.2", encoding="utf-8")
    assert resolve(str(folder)).path == folder


@pytest.mark.parametrize("name", [entry.name for entry in entries() if entry.restrictions])
def test_a_restricted_licence_is_told_before_anything_is_fetched(name: str, own_home: Path) -> None:
    """Whoever asks for the model hears the licence, what it asks, and the command that accepts it."""
    with pytest.raises(ConfigError, match="not an open-source one") as caught:
        resolve(name)
    assert caught.value.hint is not None
    assert f"tailtune models pull {name} --accept-licence" in caught.value.hint
    assert not (own_home / "models").exists()


def test_a_restricted_model_in_the_cache_needs_no_second_consent(tiny_llama: Path, own_home: Path) -> None:
    """Whoever put it there accepted it."""
    folder = _as_cached(tiny_llama, own_home, "gemma-3-1b")
    found = resolve("gemma-3-1b")
    assert (found.path, found.licence) == (folder, "Gemma Terms of Use")


def test_which_source_was_not_used_stays_known(tiny_llama: Path, own_home: Path) -> None:
    """From the manifest, each time the model is asked for."""
    folder = _as_cached(tiny_llama, own_home)
    manifest = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    manifest |= {"source": "hub a/b@c", "not_used": ["some-wheel==1: pip could not fetch it"]}
    (folder / "source.json").write_text(json.dumps(manifest), encoding="utf-8")
    found = pull(_NAME)
    assert found.source == "hub a/b@c"
    assert found.notes == (f"{_NAME} is from hub a/b@c; not used: some-wheel==1: pip could not fetch it",)


def test_what_is_removed_is_the_whole_folder(tiny_llama: Path, own_home: Path) -> None:
    """Its bytes were counted, what waits of an attempt that broke off goes too, and other models stay."""
    folder, other = (_as_cached(tiny_llama, own_home, name) for name in (_NAME, "gpt2"))
    waiting = folder.with_name(f".{_NAME}.arriving")
    waiting.mkdir()
    (waiting / "part").write_bytes(b"x" * 1000)
    model = find_kept(_NAME)
    assert model.bytes == 1000 + sum(file.stat().st_size for file in folder.iterdir())
    remove(model)
    assert (folder.exists(), waiting.exists(), other.exists()) == (False, False, True)
    assert [model.name for model in kept()] == ["gpt2"]
    with pytest.raises(ConfigError, match="which holds gpt2"):
        find_kept(_NAME)


def test_removing_never_follows_a_link(tiny_llama: Path, tmp_path: Path, own_home: Path) -> None:
    """A model that somebody keeps elsewhere stays there."""
    elsewhere = _copy(tiny_llama, tmp_path / "elsewhere")
    (own_home / "models").mkdir()
    (own_home / "models" / "gpt2").symlink_to(elsewhere)
    remove(find_kept("gpt2"))
    assert kept() == ()
    assert (elsewhere / "config.json").is_file()


@pytest.mark.parametrize("reference", ["/etc", "org/name", "gpt2"])
def test_only_what_is_in_the_cache_can_be_removed(reference: str) -> None:
    """Folders of one's own and the hub's cache are not."""
    with pytest.raises(ConfigError, match="not in th"):
        find_kept(reference)


def test_an_unreachable_hub_is_one_line_that_names_what_works(tmp_path: Path) -> None:
    """The hub's client reads its settings at import, hence a process of its own; port 9 refuses at once."""
    code = (
        "from tailtune.errors import SetupError\n"
        "from tailtune.models.sources.catalog import resolve\n"
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
        "import sys; from tailtune.models.sources.facts import inspect; "
        "inspect(sys.argv[1]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tiny_llama)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
