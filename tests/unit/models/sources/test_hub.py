"""Models from a hub, against a server on loopback that speaks its protocol: what is fetched, pinned, and refused.

The hub's client reads its settings at import, hence processes of their own.
"""

from __future__ import annotations

import json
import random
import string
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import Outcome, process
from support.hub_server import TOKEN, HubServer, Repository, files_of
from support.tiny_models import write_tiny_llama
from tailtune.models.sources.hub import snapshot
from tailtune.storage import sha256_bytes

NAME = "some-org/tiny"


@pytest.fixture
def tiny(hub: HubServer, tiny_llama: Path) -> Repository:
    """The tiny Llama in a repository, among files that nobody should fetch."""
    surplus = {
        "pytorch_model.bin": b"pickle",
        "modeling.py": b"code",
        "consolidated.safetensors": b"twice",
        "onnx/model.safetensors": b"below",
        "README.md": b"card",
    }
    return hub.add(NAME, tiny_llama, **surplus)


def run(*arguments: object) -> Outcome:
    return process([sys.executable, "-m", "tailtune.cli", *map(str, arguments)], timeout=180)


def pull(reference: str = NAME) -> dict[str, Any]:
    outcome = run("models", "pull", reference, "--json")
    assert outcome.code == 0, outcome.err
    facts: dict[str, Any] = json.loads(outcome.out)
    return {**facts, "said": outcome.err}


def refused(code: int, *arguments: object) -> str:
    """The one line, and the hint, of a command that must fail; nothing on stdout."""
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    lines = outcome.err.splitlines()
    assert [line.partition(":")[0] for line in lines] in (["error"], ["error", "hint"]), outcome.err
    return outcome.err


def sharded(folder: Path) -> Path:
    """Split the weights of a tiny model into two files with an index."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    where = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(names)}
    for file in set(where.values()):
        save_file({name: tensors[name] for name in names if where[name] == file}, folder / file)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def test_only_files_that_are_read_are_fetched(hub: HubServer, tiny: Repository, tiny_llama: Path) -> None:
    """Byte for byte those of the model; no pickle, no code, no second copy of the weights, no subfolder; no bars."""
    facts = pull()
    assert files_of(Path(facts["path"])) == files_of(tiny_llama)
    assert (facts["said"], facts["licence"]) == ("", "apache-2.0")
    fetched = {path.rpartition("/")[2] for _, path, _ in hub.asked if "/resolve/" in path or "/cdn/" in path}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def test_a_branch_is_pinned_to_its_commit(hub: HubServer, tiny: Repository, tmp_path: Path) -> None:
    """When the branch moves, its name means the new commit, and the old commit still gives the old files."""
    old = tiny.branches["main"]
    first = pull()
    assert first["source"] == f"hub {NAME}@{old}"
    new = tiny.commit(files_of(write_tiny_llama(tmp_path / "new", seed=1)))
    second = pull()
    assert second["source"] == f"hub {NAME}@{new}"
    weights = [(Path(facts["path"]) / "model.safetensors").read_bytes() for facts in (first, second)]
    assert weights[0] != weights[1]
    again = pull(f"{NAME}@{old}")
    assert (again["source"], again["path"]) == (first["source"], first["path"])


def test_a_named_revision_is_fetched(hub: HubServer, tiny: Repository, tmp_path: Path) -> None:
    """A branch with a slash in its name, as pull requests have."""
    commit = tiny.commit(files_of(write_tiny_llama(tmp_path / "new", seed=1)), branch="refs/pr/1")
    assert pull(f"{NAME}@refs/pr/1")["source"] == f"hub {NAME}@{commit}"
    assert "no such revision" in refused(2, "models", "pull", f"{NAME}@absent")


def test_without_the_hub_the_cache_serves(hub: HubServer, tiny: Repository) -> None:
    """The same folder, and a note that tells the commit; what was never fetched is refused, with what works."""
    first = pull()
    hub.stop()
    again = pull()
    assert (again["path"], again["source"]) == (first["path"], first["source"])
    assert "taken from the cache" in again["said"]
    assert tiny.branches["main"] in again["said"]
    assert pull(f"{NAME}@{tiny.branches['main']}")["path"] == first["path"]
    assert "smollm2-135m-instruct" in refused(5, "models", "pull", "some-org/other")


def test_offline_by_order_asks_nobody(hub: HubServer, tiny: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE: the cache serves, and the hub hears nothing."""
    first = pull()
    hub.asked.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert pull()["path"] == first["path"]
    assert not hub.asked
    refused(5, "models", "pull", "some-org/other")


def test_what_another_program_fetched_serves_too(hub: HubServer, tiny: Repository, tmp_path: Path) -> None:
    """The hub's cache is shared: a model fetched by its client alone is used without the hub, at its commit."""
    code = f"from huggingface_hub import snapshot_download; snapshot_download({NAME!r})"
    assert process([sys.executable, "-c", code], timeout=120).code == 0
    hub.stop()
    assert pull()["source"] == f"hub {NAME}@{tiny.branches['main']}"


def test_a_damaged_cache_does_not_serve(hub: HubServer, tiny: Repository) -> None:
    """A file cut short in the hub's cache: refused without the hub, fetched anew with it."""
    folder = Path(pull()["path"])
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.resolve().write_bytes(whole[:-10])
    said = refused(4, "models", "pull", NAME)
    assert "when this commit was fetched before" in said or "as the hub says" in said
    assert (Path(pull()["path"]) / "model.safetensors").read_bytes() == whole


def test_shards_are_fetched_by_their_index(hub: HubServer, tmp_path: Path, tiny_llama: Path) -> None:
    """Both, and the model they make is the one that was split."""
    hub.add(NAME, sharded(write_tiny_llama(tmp_path / "model")))
    facts = json.loads(run("models", "inspect", NAME, "--json").out)
    assert len(facts["sha256"]) == 2
    assert facts["parameters"] == json.loads(run("models", "inspect", tiny_llama, "--json").out)["parameters"]


def test_a_shard_that_the_hub_lacks_is_named(hub: HubServer, tmp_path: Path) -> None:
    """Before any of the large files is fetched."""
    folder = sharded(write_tiny_llama(tmp_path / "model"))
    (folder / "model-00002-of-00002.safetensors").unlink()
    hub.add(NAME, folder)
    assert "model-00002-of-00002.safetensors" in refused(4, "models", "pull", NAME)
    assert not hub.transfers(".safetensors")


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"config.json", "tokenizer.json", "pytorch_model.bin"}, "pickled weights only"),
        ({"config.json", "tiny.gguf"}, "GGUF files only"),
        ({"model.safetensors", "tokenizer.json"}, "lacks config.json"),
        ({"model.safetensors", "config.json"}, "lacks tokenizer.json"),
    ],
)
def test_a_repository_without_a_usable_model_is_refused(
    hub: HubServer, tiny: Repository, kept: set[str], said: str
) -> None:
    """With the way out, and before anything is fetched."""
    files = {**tiny.commits[tiny.branches["main"]], "tiny.gguf": b"GGUF"}
    tiny.commit({name: data for name, data in files.items() if name in kept})
    assert said in refused(4, "models", "pull", NAME)
    assert not [path for _, path, _ in hub.asked if "/resolve/" in path]


def test_a_tokenizer_in_two_files_is_enough(hub: HubServer, tiny: Repository) -> None:
    """vocab.json and merges.txt, as GPT-2's first repositories had it."""
    files = dict(tiny.commits[tiny.branches["main"]])
    del files["tokenizer.json"]
    tiny.commit({**files, "vocab.json": b"{}", "merges.txt": b"#version: 0.2"})
    assert {"vocab.json", "merges.txt"} <= set(files_of(Path(pull()["path"])))


def test_an_absent_repository_is_a_wrong_argument(hub: HubServer) -> None:
    """One line, with the hint that it may be one that needs a token."""
    said = refused(2, "models", "pull", "some-org/absent")
    assert "no such model on the hub, or no right to read it" in said
    assert "HF_TOKEN" in said


@pytest.mark.parametrize("status", [401, 403])
def test_a_private_repository_is_refused(hub: HubServer, tiny: Repository, status: int) -> None:
    """The hub answers 401 to strangers and 403 to the wrong account."""
    tiny.status = status
    assert "HF_TOKEN" in refused(2, "models", "pull", NAME)


@pytest.mark.parametrize("token", [None, "hf_other"])
def test_a_gated_repository_needs_consent(
    hub: HubServer, tiny: Repository, token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its list of files is public, its files are not; with a token that may read them, they come."""
    tiny.gated = True
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    said = refused(2, "models", "pull", NAME)
    assert "gated" in said
    assert "HF_TOKEN" in said
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pull()["source"] == f"hub {NAME}@{tiny.branches['main']}"


def test_a_hub_in_trouble_is_one_line(hub: HubServer, tiny: Repository) -> None:
    """Not the caller's fault: exit code 5."""
    tiny.status = 500
    assert "cannot be reached or broke off" in refused(5, "models", "pull", NAME)


def test_a_transfer_that_breaks_off_goes_on(hub: HubServer, tmp_path: Path) -> None:
    """With the rest of the file, from what the client had passed on in its steps of 10 MiB; nobody is told."""
    folder = write_tiny_llama(tmp_path / "model", width=512)
    hub.add(NAME, folder)
    hub.cuts["model.safetensors"] = 1
    facts = pull()
    assert files_of(Path(facts["path"])) == files_of(folder)
    assert facts["said"] == ""
    assert hub.transfers("/model.safetensors") == ["", f"bytes={10 * 2**20}-"]


def test_half_a_file_is_never_taken_for_a_whole_one(hub: HubServer, tiny: Repository, tiny_llama: Path) -> None:
    """A transfer that always breaks off is one line; once the hub is well again, the file comes whole."""
    hub.cuts["model.safetensors"] = 1000
    assert "cannot be reached or broke off" in refused(5, "models", "pull", NAME)
    hub.cuts.clear()
    assert files_of(Path(pull()["path"])) == files_of(tiny_llama)


def test_a_snapshot_without_weights_does_not_serve(hub: HubServer, tiny: Repository) -> None:
    """What an interrupted fetch leaves: config and tokenizer, in the cache, without the hub."""
    (Path(pull()["path"]) / "model.safetensors").unlink()
    hub.stop()
    assert "cannot be reached" in refused(5, "models", "pull", NAME)


def test_other_bytes_under_the_same_commit_are_an_error(hub: HubServer, tiny: Repository, tmp_path: Path) -> None:
    """A commit never changes: the hash of the first fetch is remembered, and the file is not kept."""
    folder = Path(pull()["path"])
    commit = tiny.branches["main"]
    tokenizer = tiny.commits[commit]["tokenizer.json"]
    tiny.commits[commit]["tokenizer.json"] = tokenizer + b"\n"
    for file in folder.iterdir():
        file.resolve().unlink()
        file.unlink()
    said = refused(4, "models", "pull", NAME)
    assert f"when this commit was fetched before {sha256_bytes(tokenizer)}" in said
    assert not (folder / "tokenizer.json").exists()


def test_a_disk_without_room_is_told_before_anything_large_comes(hub: HubServer, tiny: Repository) -> None:
    """The hub tells all sizes beforehand."""
    tiny.sizes["model.safetensors"] = 10**17
    assert "no room on the disk" in refused(5, "models", "pull", NAME)
    assert not hub.transfers("/model.safetensors")


def test_progress_counts_the_bytes(hub: HubServer, tiny: Repository, tmp_path: Path, tiny_llama: Path) -> None:
    """From within the client's threads: it only rises, and ends at the size of what was fetched."""
    code = (
        "import sys; from pathlib import Path; from tailtune.models.sources.hub import snapshot\n"
        "told = []\n"
        "def progress(stage, done, total, unit): told.append((done, total))\n"
        f"snapshot({NAME!r}, into=Path(sys.argv[1]), progress=progress)\n"
        "print(*(f'{done}/{total}' for done, total in told))"
    )
    outcome = process([sys.executable, "-c", code, str(tmp_path / "into")], timeout=120)
    assert outcome.code == 0, outcome.err
    told = [tuple(map(int, pair.split("/"))) for pair in outcome.out.split()]
    size = (tiny_llama / "model.safetensors").stat().st_size
    assert told[-1] == (size, size)
    small = [done for done, total in told if total != size]
    assert small == sorted(small)


def test_a_run_records_the_commit(hub: HubServer, tiny: Repository, tmp_path: Path) -> None:
    """In metrics.json and in the bundle, so that the run can be made again when the branch has moved on."""
    draw = random.Random(0)
    words = ["".join(draw.choices(string.ascii_lowercase, k=6)) for _ in range(200)]
    rows = [f"{' '.join(draw.choices(words, k=8))},{label}\n" for label in ("ham", "spam") for _ in range(40)]
    (tmp_path / "messages.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    quick = ("--method", "probe", "--depth", "2", "--no-baselines", "--no-doubts", "--no-highlights", "--quiet")
    out = tmp_path / "run"
    outcome = run("train", tmp_path / "messages.csv", "--model", NAME, "--out", out, *quick)
    assert outcome.code == 0, outcome.err
    source = f"hub {NAME}@{tiny.branches['main']}"
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8"))["model"]["source"] == source
    bundle = json.loads((out / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert bundle["about"]["model"]["source"] == source


def test_fetched_weights_are_those_of_the_model(hub: HubServer, tiny: Repository, tiny_llama: Path) -> None:
    """The decoder read from the snapshot has every weight of the one that was uploaded."""
    from tailtune.models.weights import load_decoder

    loaded = load_decoder(Path(pull()["path"])).state_dict()
    expected = load_decoder(tiny_llama).state_dict()
    assert loaded.keys() == expected.keys()
    for name, tensor in loaded.items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())


def test_what_is_no_hub_id_is_refused_without_asking() -> None:
    """The client's own rule, in one line; no hub is needed for it."""
    from tailtune.errors import ConfigError

    with pytest.raises(ConfigError, match="not a hub id"):
        snapshot("org/--wrong..name")
