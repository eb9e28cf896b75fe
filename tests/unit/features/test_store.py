"""The feature store computes each distinct text once, for ever, and believes no damaged segment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.texts import backbone, encode, messages, random_tokens
from tailtune.errors import ConfigError, SetupError
from tailtune.features import store as store_module
from tailtune.features.backbone import Backbone, Wanted
from tailtune.features.cache import remove, stored
from tailtune.features.store import FeatureStore, text_keys

WANTED = Wanted(pooled=(1, 3), states=(2,))


@pytest.fixture
def model(tiny_llama: Path) -> Backbone:
    return backbone(tiny_llama)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path, {"weights": "w", "dtype": "float32"})


def test_features_are_those_of_a_direct_pass(model: Backbone, store: FeatureStore) -> None:
    """What comes back, in the order asked for, is what the backbone gives each text alone."""
    tokens = random_tokens([5, 3, 9, 3, 1, 5])
    features = store.features(model, tokens, WANTED)
    for text in range(len(tokens)):
        (alone,) = model.run(tokens.take(np.array([text])), WANTED)
        for depth in WANTED.pooled:
            np.testing.assert_allclose(features.pooled(depth)[text], alone.pooled[depth][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(features.states(2, np.array([text])), alone.states[2], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(features.pooled(3)[text, 1], alone.pooled[3][0, 1], rtol=1e-5, atol=1e-6)


def test_pooled_vectors_are_the_last_and_the_mean_state(model: Backbone, store: FeatureStore) -> None:
    """Pooling agrees with the token states of the same depth."""
    tokens = random_tokens([4, 7])
    features = store.features(model, tokens, Wanted(pooled=(2,), states=(2,)))
    for text in range(2):
        states = features.states(2, np.array([text]))
        np.testing.assert_allclose(features.pooled(2)[text, 0], states[-1], rtol=1e-6)
        np.testing.assert_allclose(features.pooled(2)[text, 1], states.mean(axis=0), rtol=1e-4, atol=1e-6)


def test_a_second_call_computes_nothing(model: Backbone, store: FeatureStore) -> None:
    """Any order, any subset, any lesser wish is served from disk, byte for byte."""
    tokens = random_tokens([5, 3, 9, 3])
    first = store.features(model, tokens, WANTED)
    again = store.features(model, tokens.take(np.array([3, 1, 0])), Wanted(pooled=(3,)))
    assert (first.computed_texts, again.computed_texts, again.computed_tokens) == (4, 0, 0)
    assert np.array_equal(again.pooled(3), first.pooled(3)[[3, 1, 0]])


def test_what_is_lacking_is_what_would_be_computed(model: Backbone, store: FeatureStore) -> None:
    """Tokens of distinct texts that are not there, at all depths that are wanted."""
    tokens = random_tokens([5, 3, 9, 3])
    assert store.lacking_tokens(tokens, WANTED) == 20
    store.features(model, tokens.take(np.array([0, 2])), WANTED)
    assert store.lacking_tokens(tokens, WANTED) == 6
    assert store.lacking_tokens(tokens, Wanted(pooled=(2,))) == 20


def test_added_texts_alone_are_computed(tiny_llama: Path, model: Backbone, store: FeatureStore) -> None:
    """Twenty texts more cost twenty texts; repeated texts cost nothing."""
    texts, _ = messages(80)
    store.features(model, encode(tiny_llama, texts[:60]), WANTED)
    features = store.features(model, encode(tiny_llama, [*texts, *texts[:30]]), WANTED)
    assert (features.computed_texts, features.distinct_texts) == (20, 80)


def test_a_further_depth_is_computed_and_joined(model: Backbone, store: FeatureStore) -> None:
    """Depths of different passes are found together afterwards."""
    tokens = random_tokens([5, 3])
    store.features(model, tokens, Wanted(pooled=(1,)))
    assert store.features(model, tokens, Wanted(states=(4,))).computed_texts == 2
    assert store.features(model, tokens, Wanted(pooled=(1,), states=(4,))).computed_texts == 0


def test_a_depth_the_model_lacks_is_refused(model: Backbone, store: FeatureStore) -> None:
    """The message names both numbers."""
    with pytest.raises(ConfigError, match="depth 5 asked for, but the model has 4 blocks"):
        store.features(model, random_tokens([2]), Wanted(pooled=(5,)))


@pytest.mark.parametrize("damage", ["truncate", "remove", "manifest"])
def test_a_damaged_segment_is_computed_again(model: Backbone, store: FeatureStore, damage: str) -> None:
    """A short array, a missing one or a broken manifest counts as never computed."""
    tokens = random_tokens([5, 3])
    expected = store.features(model, tokens, WANTED).pooled(3)
    (segment,) = store.folder.glob("segment-*")
    array = segment / "pooled-3.bin"
    if damage == "truncate":
        array.write_bytes(array.read_bytes()[:-4])
    elif damage == "remove":
        array.unlink()
    else:
        (segment / "manifest.json").write_text("{")
    features = store.features(model, tokens, WANTED)
    assert features.computed_texts == 2
    assert np.array_equal(features.pooled(3), expected)


def test_stores_of_different_backbones_do_not_mix(model: Backbone, tmp_path: Path) -> None:
    """Another weights hash is another folder, and what it depends on is written in clear."""
    tokens = random_tokens([5])
    FeatureStore(tmp_path, {"weights": "a"}).features(model, tokens, WANTED)
    other = FeatureStore(tmp_path, {"weights": "b"})
    assert other.features(model, tokens, WANTED).computed_texts == 1
    assert json.loads((other.folder / "store.json").read_text()) == {"format": 1, "weights": "b"}


def test_a_pass_that_was_killed_goes_on_where_it_was(
    model: Backbone, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole segments survive an interruption; only the rest is computed."""
    monkeypatch.setattr(store_module, "SEGMENT_TOKENS", 8)
    monkeypatch.setattr(Backbone.run, "__kwdefaults__", {"token_budget": 4})
    tokens = random_tokens([4] * 10)

    def interrupt(stage: str, done: int, total: int, unit: str) -> None:
        if done >= 24:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.features(model, tokens, WANTED, progress=interrupt)
    assert store.features(model, tokens, WANTED).computed_texts == 6
    assert not list(store.folder.glob(".segment-*"))


def test_what_a_killed_process_left_is_removed_after_a_day(model: Backbone, store: FeatureStore) -> None:
    """A segment under construction stays while it may be somebody's, and goes when it cannot."""
    old, new = store.folder / ".segment-old", store.folder / ".segment-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "states-2.bin").write_bytes(b"half")
    os.utime(old, (0, 0))
    store.features(model, random_tokens([5]), WANTED)
    assert not old.exists()
    assert new.exists()


def test_a_full_disk_is_one_line_and_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    """Where a file may not grow, the error is a SetupError and no segment is left, half-written or whole."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests')\n"
        "from support.texts import backbone, random_tokens\n"
        "from tailtune.features.backbone import Wanted\n"
        "from tailtune.features.store import FeatureStore\n"
        "from tailtune.errors import SetupError\n"
        "import resource, signal\n"
        "model, store = backbone(Path(sys.argv[1])), FeatureStore(Path(sys.argv[2]), {'w': 1})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    store.features(model, random_tokens([40] * 20), Wanted(states=(1,)))\n"
        "except SetupError as error:\n    print(error)\n"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_llama), str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ},
    )
    assert done.stdout.startswith("no room on the disk while writing")
    assert not list(tmp_path.rglob("*segment-*"))


def test_no_room_is_said_before_anything_is_computed(model: Backbone, tmp_path: Path) -> None:
    """A pass that cannot fit is refused with both sizes."""
    from tailtune.storage import require_room

    with pytest.raises(SetupError, match=r"MB needed, \d+\.\d MB free"):
        require_room(tmp_path, 10**18, "storing features in")


def test_gathers_over_many_segments_are_in_the_order_asked_for(
    model: Backbone, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts of every segment, some twice, in any order: rows and token states are those of a store of one segment."""
    tokens = random_tokens([3, 9, 4, 7, 5, 8, 2, 6] * 4)
    again = tokens.take(np.random.default_rng(1).integers(0, len(tokens), 50))
    store.features(model, tokens, WANTED)
    monkeypatch.setattr(store_module, "SEGMENT_TOKENS", 8)
    monkeypatch.setattr(Backbone.run, "__kwdefaults__", {"token_budget": 8})
    scattered = FeatureStore(store.folder.parent, {"weights": "other"})
    scattered.features(model, tokens, WANTED)
    assert len(list(scattered.folder.glob("segment-*"))) > 10
    expected, features = store.features(model, again, WANTED), scattered.features(model, again, WANTED)
    assert features.computed_texts == 0
    assert features.distinct_texts == len(np.unique(text_keys(again)))
    np.testing.assert_allclose(features.pooled(3), expected.pooled(3), rtol=1e-5, atol=1e-6)
    some = np.array([7, 0, 41, 7, 30])
    assert len(features.states(2, some)) == again.lengths[some].sum()
    np.testing.assert_allclose(features.states(2, some), expected.states(2, some), rtol=1e-5, atol=1e-6)


def test_a_large_pass_makes_few_segments(model: Backbone, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a segment may be, a pass is cut into about MOST_SEGMENTS at most."""
    monkeypatch.setattr(store_module, "SEGMENT_TOKENS", 4)
    monkeypatch.setattr(store_module, "MOST_SEGMENTS", 5)
    monkeypatch.setattr(Backbone.run, "__kwdefaults__", {"token_budget": 4})
    store.features(model, random_tokens([4] * 60), WANTED)
    assert len(list(store.folder.glob("segment-*"))) == 5


def test_no_texts_have_no_features(model: Backbone, store: FeatureStore) -> None:
    """An empty list is no error and computes nothing."""
    features = store.features(model, random_tokens([]), WANTED)
    assert (features.computed_texts, features.distinct_texts, len(features.lengths)) == (0, 0, 0)


def test_the_longest_unused_features_make_room(
    model: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the limit the oldest goes, of any store; what was used since stays."""
    wanted = Wanted(pooled=(1,))
    batches = [random_tokens([6] * 40, seed=seed) for seed in range(4)]
    stores = [FeatureStore(tmp_path, {"weights": name}) for name in "ab"]
    for age, (store, tokens) in enumerate(zip((*stores, stores[0]), batches, strict=False)):
        store.features(model, tokens, wanted)
        for segment in stored(tmp_path):
            os.utime(segment.folder, (segment.used - 100 + age, segment.used - 100 + age))
    stores[0].features(model, batches[0], wanted)  # used again, so no longer the oldest
    each = stored(tmp_path)[0].bytes
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", str(3 * each))
    small = FeatureStore(tmp_path, {"weights": "a"})
    assert small.features(model, batches[3], wanted).computed_texts == 40
    assert sum(segment.bytes for segment in stored(tmp_path)) <= 3 * each
    assert stores[1].features(model, batches[1], wanted).computed_texts == 40
    assert small.features(model, batches[0], wanted).computed_texts == 0


def test_what_a_call_reads_stays_even_above_the_limit(
    model: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit too small for one data set does not make its own features vanish under it."""
    tokens = random_tokens([6] * 40)
    FeatureStore(tmp_path, {"weights": "a"}).features(model, tokens.take(np.arange(30)), Wanted(pooled=(1,)))
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", "1")
    features = FeatureStore(tmp_path, {"weights": "a"}).features(model, tokens, Wanted(pooled=(1,)))
    assert features.computed_texts == 10
    assert np.isfinite(features.pooled(1)).all()
    assert len(stored(tmp_path)) == 2


def test_features_outlive_the_removal_of_their_segments(model: Backbone, store: FeatureStore) -> None:
    """Another process may make room at any time: what is open is read on, and computed again by the next call."""
    tokens = random_tokens([5, 3, 9])
    expected = store.features(model, tokens, WANTED)
    pooled, states = expected.pooled(3), expected.states(2, np.arange(3))
    features = store.features(model, tokens, WANTED)
    remove(stored(store.folder.parent))
    assert np.array_equal(features.pooled(3), pooled)
    assert np.array_equal(features.states(2, np.arange(3)), states)
    assert store.features(model, tokens, WANTED).computed_texts == 3


def test_segments_that_vanish_during_a_pass_do_not_disturb_it(model: Backbone, store: FeatureStore) -> None:
    """Half of the texts are in the store and removed while the other half is computed."""
    tokens = random_tokens([5, 3, 9, 4])
    store.features(model, tokens.take(np.arange(2)), WANTED)

    def somebody_cleans(stage: str, done: int, total: int, unit: str) -> None:
        remove(stored(store.folder.parent))

    features = store.features(model, tokens, WANTED, progress=somebody_cleans)
    assert features.computed_texts == 2
    for text in range(4):
        (alone,) = model.run(tokens.take(np.array([text])), WANTED)
        np.testing.assert_allclose(features.pooled(3)[text], alone.pooled[3][0], rtol=1e-5, atol=1e-6)


def test_an_unreadable_limit_is_said_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named."""
    monkeypatch.setenv("TAILTUNE_CACHE_LIMIT", "plenty")
    with pytest.raises(ConfigError, match="TAILTUNE_CACHE_LIMIT 'plenty' is no size"):
        FeatureStore(tmp_path, {"weights": "a"})


def test_equal_ids_have_equal_keys_and_others_do_not() -> None:
    """16 bytes per text; a text that is the beginning of another is another."""
    tokens = random_tokens([4, 6, 3])
    doubled = tokens.take(np.array([0, 1, 2, 1]))
    doubled.ids[doubled.offsets[2] : doubled.offsets[3]] = doubled.ids[:3]
    keys = text_keys(doubled)
    assert keys.dtype.itemsize == 16
    assert keys[1] == keys[3]
    assert len(np.unique(keys)) == 3
