"""``tailtune cache`` as the shell sees it: what is shown, what is removed, what stays."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from support.command_line import call, require_refusal
from support.texts import backbone, random_tokens
from tailtune.cli.cache import size_text
from tailtune.features.backbone import Wanted
from tailtune.features.cache import stored
from tailtune.features.store import FeatureStore
from tailtune.models.weights import fingerprint
from tailtune.storage import sha256_file, write_json

DAY = 24 * 3600


@pytest.fixture
def home(own_home: Path, tiny_llama: Path) -> Path:
    """A cache with a model and its features: 3 segments of one store, unused for 0, 20 and 40 days."""
    files = {name: {"sha256": sha256_file(tiny_llama / name)} for name in ("config.json", "model.safetensors")}
    write_json(own_home / "models" / "tiny" / "source.json", {"files": files})
    for days in (40, 20, 0):
        store = FeatureStore(own_home / "features", {"weights": fingerprint(tiny_llama), "dtype": "float32"})
        before = {segment.folder for segment in stored(own_home / "features")}
        store.features(backbone(tiny_llama), random_tokens([5, 5], seed=days), Wanted(pooled=(1,)))
        (new,) = (segment for segment in stored(own_home / "features") if segment.folder not in before)
        os.utime(new.folder, (time.time() - days * DAY,) * 2)
    return own_home


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    outcome = call(capsys, "cache", *arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    value: dict[str, Any] = json.loads(outcome.out)
    return value


def test_stores_and_models_are_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model by its name, the sizes of the files, the limit."""
    facts = shown(capsys)
    (store,) = facts["stores"]
    assert (store["model"], store["precision"], store["segments"], store["texts"]) == ("tiny", "float32", 3, 6)
    assert store["bytes"] == sum(segment.bytes for segment in stored(home / "features"))
    assert facts["limit_bytes"] == 20 * 2**30
    assert facts["models"] == [{"name": "tiny", "bytes": (home / "models/tiny/source.json").stat().st_size}]
    text = call(capsys, "cache").out
    assert "tiny" in text
    assert "0 min" in text
    assert "21.5 GB (TAILTUNE_CACHE_LIMIT)" in text


def test_an_empty_cache_is_shown(own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there is no error."""
    assert shown(capsys)["stores"] == []
    assert "0 bytes of at most" in call(capsys, "cache").out
    assert call(capsys, "cache", "clean").out == "nothing to remove; 0 bytes of features left\n"


def test_cleaning_by_age(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was not used since goes; a dry run only says so."""
    said = call(capsys, "cache", "clean", "--older-than", "30d", "--dry-run").out
    assert said.startswith("would remove 1 segment of 1 store, freeing ")
    assert len(stored(home / "features")) == 3
    assert call(capsys, "cache", "clean", "--older-than", "30d").out.startswith("removed 1 segment of 1 store, freed ")
    assert len(stored(home / "features")) == 2
    assert len(shown(capsys, "clean", "--older-than", "2w")["removed"]) == 1


def test_cleaning_to_a_size(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The longest unused goes first, until the rest fits."""
    *_, last = segments = stored(home / "features")
    facts = shown(capsys, "clean", "--larger-than", str(last.bytes))
    assert facts["freed_bytes"] == sum(segment.bytes for segment in segments[:2])
    assert (facts["left_bytes"], stored(home / "features")) == (last.bytes, [last])


def test_cleaning_without_options_keeps_to_the_limit(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within the limit nothing goes; a lower limit is obeyed at once."""
    assert shown(capsys, "clean")["removed"] == []
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", "1KB")
    shown(capsys, "clean")
    assert sum(segment.bytes for segment in stored(home / "features")) <= 1000


def test_cleaning_all_features_leaves_models(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No store is left, and the model is untouched."""
    assert len(shown(capsys, "clean", "--all")["removed"]) == 3
    assert not list((home / "features").iterdir())
    assert (home / "models" / "tiny" / "source.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clean", "--older-than", "soon"], "--older-than 'soon' is no age"),
        (["clean", "--older-than", "3"], "--older-than '3' is no age"),
        (["clean", "--larger-than", "big"], "--larger-than 'big' is no size"),
        (["tidy"], "tidy"),
    ],
)
def test_wrong_use_is_refused(home: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line, and nothing is removed."""
    assert said in require_refusal(call(capsys, "cache", *arguments), 2)
    assert len(stored(home / "features")) == 3


def test_an_unreadable_limit_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The variable is named."""
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", "5 bananas")
    assert "TAILTUNE_CACHE_LIMIT '5 bananas' is no size" in require_refusal(call(capsys, "cache"), 2)


def test_sizes_read_well() -> None:
    """Powers of a thousand, one decimal; beyond gigabytes the number grows."""
    sizes = [size_text(size) for size in (0, 999, 1000, 54_321, 21_474_836_480, 5e12)]
    assert sizes == ["0 bytes", "999 bytes", "1.0 kB", "54.3 kB", "21.5 GB", "5,000.0 GB"]
