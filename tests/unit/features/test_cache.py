"""What lies in the cache is told, and removed whole: the longest unused first."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from support.texts import backbone, random_tokens
from tailtune.features.backbone import Wanted
from tailtune.features.cache import (
    Stored,
    model_names,
    remove,
    remove_abandoned,
    remove_empty,
    stored,
    stores,
    surplus,
)
from tailtune.features.store import FeatureStore
from tailtune.models.weights import fingerprint
from tailtune.storage import sha256_file, write_json


@pytest.fixture
def root(tmp_path: Path, tiny_llama: Path) -> Path:
    """Two stores: the first with two segments, unused for ten and two days, the second with one, just used."""
    model = backbone(tiny_llama)
    for name, seed, days in (("a", 1, 10), ("a", 2, 2), ("b", 1, 0)):
        before = {segment.folder for segment in stored(tmp_path)}
        store = FeatureStore(tmp_path, {"weights": name, "dtype": "float32"})
        store.features(model, random_tokens([5] * (seed + 1), seed=seed), Wanted(pooled=(1, 2)))
        (new,) = (segment for segment in stored(tmp_path) if segment.folder not in before)
        used = time.time() - 24 * 3600 * days
        os.utime(new.folder, (used, used))
    return tmp_path


def test_stores_tell_what_they_hold(root: Path) -> None:
    """The last used first; texts and bytes are those of the files."""
    recent, older = stores(root)
    assert (recent.fields["weights"], older.fields["weights"]) == ("b", "a")
    assert (len(recent.segments), len(older.segments)) == (1, 2)
    assert (recent.texts, older.texts) == (2, 5)
    files = [path for path in older.folder.glob("segment-*/*") if path.is_file()]
    assert older.bytes == sum(path.stat().st_size for path in files) > 0
    assert older.used == pytest.approx(time.time() - 2 * 24 * 3600, abs=60)


def test_a_store_whose_description_is_lost_is_still_shown(root: Path) -> None:
    """Whatever became of store.json, the segments take room."""
    (stores(root)[0].folder / "store.json").write_text("{")
    assert [dict(store.fields).get("weights") for store in stores(root)] == [None, "a"]
    assert stores(root)[0].bytes > 0


def test_surplus_takes_the_longest_unused_and_no_more_than_needed() -> None:
    """Folders to keep stay even when nothing else is left."""
    segments = [Stored(folder=Path(str(number)), bytes=10, used=float(number)) for number in range(4)]
    assert [segment.folder.name for segment in surplus(segments, 40)] == []
    assert [segment.folder.name for segment in surplus(segments, 39)] == ["0"]
    assert [segment.folder.name for segment in surplus(segments, 20)] == ["0", "1"]
    assert [segment.folder.name for segment in surplus(segments, 20, {Path("0")})] == ["1", "2"]
    assert [segment.folder.name for segment in surplus(segments, -5, {Path("3")})] == ["0", "1", "2"]


def test_removed_segments_leave_nothing(root: Path) -> None:
    """The others stay; a segment that somebody else removed first is no error."""
    oldest, *others = stored(root)
    remove([oldest])
    remove([oldest])
    assert stored(root) == others
    assert not list(root.glob("*/.segment-*"))


def test_empty_stores_go_and_those_at_work_stay(root: Path) -> None:
    """A store whose only segment is under construction belongs to a process."""
    recent, older = stores(root)
    remove(recent.segments)
    remove(older.segments)
    (older.folder / ".segment-new").mkdir()
    remove_empty(root)
    assert [path.name for path in root.iterdir()] == [older.folder.name]


def test_half_written_and_half_removed_segments_go_after_a_day(root: Path) -> None:
    """In every store; the young ones may be somebody's."""
    folder = stores(root)[1].folder
    (folder / ".segment-old").mkdir()
    (folder / ".segment-young").mkdir()
    os.utime(folder / ".segment-old", (0, 0))
    remove_abandoned(root)
    assert [path.name for path in folder.glob(".segment-*")] == [".segment-young"]


def test_catalogue_models_are_known_by_their_fingerprint(tmp_path: Path, tiny_llama: Path) -> None:
    """The recorded hashes give what hashing the files gives; a damaged record names nothing."""
    files = {name: {"sha256": sha256_file(tiny_llama / name)} for name in ("config.json", "model.safetensors")}
    write_json(tmp_path / "tiny" / "source.json", {"files": files})
    write_json(tmp_path / "broken" / "source.json", {"files": {"config.json": {}}})
    assert model_names(tmp_path) == {fingerprint(tiny_llama): "tiny"}


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """Before the first training there is no cache."""
    assert stored(tmp_path / "none") == []
    assert stores(tmp_path / "none") == []
    assert model_names(tmp_path / "none") == {}
