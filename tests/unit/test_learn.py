"""From a split data set to a classifier: nothing is computed twice, test labels play no part, cuts are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.texts import messages
from tailtune.config import TrainConfig
from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import Split, split_dataset
from tailtune.errors import ConfigError
from tailtune.evaluate.ngrams import fit_ngrams
from tailtune.learn import Learnt, learn
from tailtune.methods.blend import Blend
from tailtune.methods.descent import Epoch, Step
from tailtune.methods.ngrams import NgramMember
from tailtune.predict import Predictor
from tailtune.preparing import store_root
from tailtune.runs import Stopwatch

# fp32: which precision is faster depends on the machine that runs the tests.
QUICK: dict[str, Any] = {"epochs": 1, "device": "cpu", "precision": "fp32"}


def spam(rows: int = 60) -> Dataset:
    return dataset_from_lists(*messages(rows))


def learnt(
    dataset: Dataset,
    model: Path,
    store: Path,
    *,
    said: list[str] | None = None,
    split: Split | None = None,
    **more: Any,
) -> Learnt:
    config = TrainConfig(**{"data": "memory", "model": str(model), **QUICK, **more})
    notes = [] if said is None else said
    split = split_dataset(dataset, seed=config.seed) if split is None else split
    return learn(dataset, split, config, store=store, watch=Stopwatch(), say=notes.append)


@pytest.mark.parametrize("method", ["auto", "probe", "tail"])
def test_other_labels_and_another_seed_compute_nothing(tiny_llama: Path, tmp_path: Path, method: str) -> None:
    """What the first run computed serves every later one on the same texts, however they are labelled or split."""
    dataset = spam()
    first = learnt(dataset, tiny_llama, tmp_path, method=method)
    assert first.tokens["computed_texts"] == first.tokens["distinct_texts"] == 60
    assert first.tokens["computed"] == first.tokens["total"]
    relabelled = replace(dataset, labels=tuple("abc"[place % 3] for place in range(60)))
    said: list[str] = []
    again = learnt(relabelled, tiny_llama, tmp_path, method=method, seed=7, said=said)
    assert (again.tokens["computed_texts"], again.tokens["computed"]) == (0, 0)
    assert again.labels.names == ("a", "b", "c")
    nothing = "backbone pass: nothing to compute, all 60 distinct texts are in the store (fp32)"
    assert nothing in said
    assert f"chosen: {again.fitted.reason}" in said
    assert said[-1].startswith("calibration: ")


def test_twenty_more_rows_compute_twenty_texts(tiny_llama: Path, tmp_path: Path) -> None:
    """The pass reads the added rows alone, and says so."""
    learnt(spam(60), tiny_llama, tmp_path)
    said: list[str] = []
    more = learnt(spam(80), tiny_llama, tmp_path, said=said)
    assert (more.tokens["computed_texts"], more.tokens["distinct_texts"]) == (20, 80)
    assert any(note.startswith("backbone pass in fp32: computed 20 of 80 distinct texts (") for note in said)


def test_another_model_computes_afresh(tiny_llama: Path, tiny_gpt2: Path, tmp_path: Path) -> None:
    """Stores of different weights do not mix."""
    learnt(spam(), tiny_llama, tmp_path)
    assert learnt(spam(), tiny_gpt2, tmp_path).tokens["computed_texts"] == 60


def test_stored_features_give_the_same_classifier(tiny_llama: Path, tmp_path: Path) -> None:
    """A run from the store and one that computes everything agree on every probability."""
    texts, _ = messages(90)
    first = learnt(spam(), tiny_llama, tmp_path / "a").predictor.predict_proba(texts)
    again = learnt(spam(), tiny_llama, tmp_path / "a").predictor.predict_proba(texts)
    fresh = learnt(spam(), tiny_llama, tmp_path / "b").predictor.predict_proba(texts)
    np.testing.assert_allclose(again, first, atol=1e-6)
    np.testing.assert_allclose(fresh, first, atol=1e-6)


@pytest.mark.parametrize("method", ["auto", "probe", "tail"])
def test_labels_of_the_test_are_not_read(tiny_llama: Path, tmp_path: Path, method: str) -> None:
    """Turning every label of the test part around leaves choice and probabilities as they were."""
    dataset = spam(100)
    split = split_dataset(dataset, seed=0)
    turned = list(dataset.labels)
    for row in split.test:
        turned[row] = "ham" if turned[row] == "spam" else "spam"
    poisoned = replace(dataset, labels=tuple(turned))
    one, other = (learnt(d, tiny_llama, tmp_path, method=method, split=split) for d in (dataset, poisoned))
    assert len(split.test) > 10
    assert one.fitted.choices == other.fitted.choices
    expected = one.predictor.predict_proba(dataset.texts)
    np.testing.assert_allclose(other.predictor.predict_proba(dataset.texts), expected, atol=1e-6)


def test_a_limit_beyond_the_context_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """The tiny model reads 256 tokens; 257 asked for is an error that names both, before anything is computed."""
    with pytest.raises(ConfigError, match=r"--max-tokens 257: the model reads at most 256 tokens"):
        learnt(spam(), tiny_llama, tmp_path, max_tokens=257)
    assert not list(tmp_path.iterdir())
    assert learnt(spam(), tiny_llama, tmp_path, max_tokens=256).tokens["truncated_texts"] == 0


def test_cut_texts_are_told_by_row(tiny_llama: Path, tmp_path: Path) -> None:
    """Long texts are cut to the limit, counted, and named by their rows in the source, blank rows included."""
    texts, labels = messages(60)
    texts[4], texts[10] = texts[4] + " again" * 200, texts[10] + " more" * 200
    dataset = dataset_from_lists(["", *texts], ["ham", *labels])
    said: list[str] = []
    done = learnt(dataset, tiny_llama, tmp_path, max_tokens=100, said=said)
    assert said[0] == "texts longer than 100 tokens, cut to that: 2 (row 6, 12)"
    assert (done.tokens["truncated_texts"], done.tokens["longest"]) == (2, 100)
    assert done.predictor.predict([texts[4]])[0].tokens == 100


@pytest.mark.parametrize(("method", "depth"), [("probe", 2), ("tail", 3), ("tail", "last")])
def test_the_predictor_holds_no_block_above_the_cut(
    tiny_llama: Path, tmp_path: Path, method: str, depth: int | str
) -> None:
    """A probe keeps the blocks below it; a tail's own block is not in the backbone as well."""
    done = learnt(spam(), tiny_llama, tmp_path, method=method, depth=depth)
    total = 4 if depth == "last" else depth
    assert done.fitted.scorer.depth == total
    assert len(done.predictor.bundle.decoder.blocks) == (total if method == "probe" else 3 if depth == "last" else 2)
    assert done.blocks_total == 4
    assert any(isinstance(event, Step) for event in done.events) == (method == "tail")
    assert sum(isinstance(event, Epoch) for event in done.events) == (1 if method == "tail" else 0)


def test_the_source_of_everything_is_kept(tiny_llama: Path, tmp_path: Path) -> None:
    """Model, data and seed stand in the bundle; ids are those of the label names."""
    dataset = spam()
    done = learnt(dataset, tiny_llama, tmp_path, seed=5)
    about = done.predictor.bundle.about
    assert about["model"] == done.model
    assert about["data"] == {"source": "memory", "sha256": dataset.sha256}
    assert about["seed"] == 5
    assert [done.labels.names[number] for number in done.ids] == list(dataset.labels)


def test_a_store_is_kept_or_gone(own_home: Path) -> None:
    """Kept in the cache, or in a temporary folder that does not outlive its use."""
    with store_root(keep=True) as kept:
        assert kept == own_home / "features"
    with store_root(keep=False) as temporary:
        (temporary / "file").touch()
        assert own_home not in temporary.parents
    assert not temporary.exists()


def test_a_blend_answers_stored_features_as_it_answers_texts(tiny_llama: Path, tmp_path: Path) -> None:
    """Scores of members kept in memory, mixed with those of features, are what the bundle says of the texts."""
    dataset = spam()
    alone = learnt(dataset, tiny_llama, tmp_path, method="probe", depth=2)
    model, _ = fit_ngrams("char", dataset.texts[:30], alone.ids[:30], classes=2)
    member = NgramMember(model)
    blend = Blend(weights=(0.7, 0.4), members=(member,))
    fitted = replace(alone.fitted, blend=blend, member_scores=(member.scores(dataset.texts),))
    predictor = Predictor(replace(alone.predictor.bundle, blend=blend))
    blended = replace(alone, chosen=replace(alone.chosen, fitted=fitted), predictor=predictor)
    rows = np.arange(5, 25)
    texts = [dataset.texts[row] for row in rows]
    np.testing.assert_allclose(blended.raw(rows), blended.predictor.predict_proba(texts), atol=1e-5)
    assert np.abs(blended.raw(rows) - alone.raw(rows)).max() > 1e-3
    assert blended.fitted.method == "blend"
    assert blended.blend is not None
    assert blended.blend["said"] == f"0.7 {tiny_llama.name} probe at depth 2 + 0.4 character n-grams"
    assert alone.blend is None


def test_ngrams_that_are_shipped_alone_read_texts_whole(tiny_llama: Path, tmp_path: Path) -> None:
    """Whatever the limit of the language model that they were preferred to: nothing is cut, here or in service."""
    more: dict[str, Any] = {"method": "probe", "depth": 2, "max_tokens": 8}
    cut, whole = (learnt(spam(), tiny_llama, tmp_path, ship=ship, **more) for ship in ("language-model", "word"))
    assert cut.windows.truncated.any()
    assert not whole.windows.truncated.any()
    assert (whole.windows.lengths == cut.windows.full_lengths).all()
    texts = list(spam().texts)
    assert any(each.truncated for each in cut.predictor.predict(texts))
    assert not any(each.truncated for each in whole.predictor.predict(texts))
    assert [each.tokens for each in whole.predictor.predict(texts)] == whole.windows.lengths.tolist()


def test_strange_texts_are_told_where_the_model_has_no_part(tiny_llama: Path, tmp_path: Path) -> None:
    """The backbone is kept for that, at the depth that was chosen, and read for nothing else."""
    more: dict[str, Any] = {"method": "probe", "depth": 2, "ship": "char", "out_of_scope": True}
    made = learnt(spam(400), tiny_llama, tmp_path / "store", **more)
    assert made.predictor.bundle.scope is not None
    assert made.predictor.bundle.scope.depth == len(made.predictor.bundle.decoder.blocks) == 2
    made.predictor.save(tmp_path / "saved")
    (prediction,) = Predictor.load(tmp_path / "saved").predict(["win a prize now"])
    assert prediction.out_of_scope is not None
    assert made.blend is not None
    assert made.blend["said"] == "character n-grams"
