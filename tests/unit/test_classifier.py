"""TextClassifier speaks scikit-learn's words, keeps labels as strings, and refuses what it cannot mean."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.texts import messages
from tailtune import TextClassifier
from tailtune.data.dataset import Dataset
from tailtune.data.read import dataset_from_lists
from tailtune.data.split import split_dataset
from tailtune.errors import ConfigError, DataError
from tailtune.resolving import resolve
from tailtune.text.tokenizer import Tokenizer

TEXTS, LABELS = messages(80)
NEW_TEXTS, NEW_LABELS = (part[80:] for part in messages(120))


def made(model: Path, **settings: Any) -> TextClassifier:
    return TextClassifier(**{"model": str(model), "device": "cpu", "epochs": 1, **settings})


@pytest.fixture(scope="module")
def fitted(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    with pytest.MonkeyPatch.context() as patch:
        # A sentence encoder in the cache of whoever runs the tests would have a part in the answers.
        patch.setenv("TAILTUNE_HOME", str(tmp_path_factory.mktemp("home")))
        return made(tiny_llama, cache=False).fit(TEXTS, LABELS)


def test_it_learns_to_tell_spam_from_ham(fitted: TextClassifier) -> None:
    """New texts get probabilities that sum to 1, the most probable label, and a score."""
    probabilities = fitted.predict_proba(NEW_TEXTS)
    labels = fitted.predict(NEW_TEXTS)
    assert fitted.classes_.tolist() == ["ham", "spam"]
    assert probabilities.shape == (40, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert labels.tolist() == fitted.classes_[probabilities.argmax(axis=1)].tolist()
    right = np.mean([label == truth for label, truth in zip(labels, NEW_LABELS, strict=True)])
    assert fitted.score(NEW_TEXTS, NEW_LABELS) == right >= 0.9


def test_explanations_agree_with_probabilities(fitted: TextClassifier) -> None:
    """One Prediction per text, with the same numbers."""
    for told, row in zip(fitted.explain(NEW_TEXTS), fitted.predict_proba(NEW_TEXTS), strict=True):
        np.testing.assert_allclose(list(told.probabilities.values()), row)
        assert tuple(told.probabilities) == ("ham", "spam")
        assert not told.truncated


@pytest.mark.parametrize("method", ["probe", "tail"])
def test_a_saved_classifier_answers_the_same(tiny_llama: Path, tmp_path: Path, method: str) -> None:
    """Saved, loaded from the folder alone, asked again: the same labels and probabilities."""
    classifier = made(tiny_llama, method=method).fit(TEXTS, LABELS)
    classifier.save(tmp_path / "spam")
    loaded = TextClassifier.load(tmp_path / "spam")
    assert loaded.classes_.tolist() == ["ham", "spam"]
    np.testing.assert_allclose(loaded.predict_proba(NEW_TEXTS), classifier.predict_proba(NEW_TEXTS), atol=1e-6)


def test_what_the_tokenizer_files_decide_is_saved(tiny_gpt2: Path, tmp_path: Path) -> None:
    """A setting beside tokenizer.json holds in training and in the bundle, which has no file beside it."""
    model = shutil.copytree(tiny_gpt2, tmp_path / "model")
    described = {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True}
    (model / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
    classifier = made(model, method="probe").fit(TEXTS, LABELS)
    classifier.save(tmp_path / "spam")
    tokenizer = Tokenizer.load(tmp_path / "spam" / "tokenizer.json", max_tokens=64)
    np.testing.assert_array_equal(tokenizer.encode(["win"]).ids, tokenizer.encode([" win"]).ids)
    loaded = TextClassifier.load(tmp_path / "spam")
    np.testing.assert_allclose(loaded.predict_proba(NEW_TEXTS), classifier.predict_proba(NEW_TEXTS), atol=1e-6)


def test_numbers_become_strings_in_numeric_order(tiny_llama: Path) -> None:
    """Integer labels, numpy's too, are named as they print; 2 stands before 10; score compares them as strings."""
    numbers = np.where(np.array(LABELS) == "spam", 10, 2)
    classifier = made(tiny_llama, method="probe").fit(TEXTS, numbers)
    assert classifier.classes_.tolist() == ["2", "10"]
    assert set(classifier.predict(NEW_TEXTS).tolist()) == {"2", "10"}
    assert classifier.score(TEXTS, numbers) == classifier.score(TEXTS, [str(number) for number in numbers]) > 0.9


@pytest.mark.parametrize(
    "use",
    [
        lambda classifier, folder: classifier.predict(TEXTS),
        lambda classifier, folder: classifier.predict_proba(TEXTS),
        lambda classifier, folder: classifier.explain(TEXTS),
        lambda classifier, folder: classifier.classes_,
        lambda classifier, folder: classifier.score(TEXTS, LABELS),
        lambda classifier, folder: classifier.save(folder / "spam"),
    ],
)
def test_nothing_is_answered_before_fit(use: Callable[[TextClassifier, Path], object], tmp_path: Path) -> None:
    """One line that says what to do, and nothing written."""
    with pytest.raises(ConfigError, match="has not been fitted") as caught:
        use(TextClassifier(), tmp_path)
    assert "call fit(texts, labels) or load(path) first" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "use",
    [
        lambda classifier: classifier.predict("hello"),
        lambda classifier: classifier.predict_proba("hello"),
        lambda classifier: classifier.explain("hello"),
        lambda classifier: classifier.score("ab", ["ham", "spam"]),
        lambda classifier: classifier.score(["a", "b"], "ab"),
        lambda classifier: classifier.fit("ab", ["ham", "spam"]),
        lambda classifier: classifier.fit(["a", "b"], "ab"),
    ],
)
def test_a_single_string_is_refused(use: Callable[[TextClassifier], object], fitted: TextClassifier) -> None:
    """A string would otherwise be read letter by letter."""
    with pytest.raises(ConfigError, match=r"got one string \(write \[text\]\)"):
        use(fitted)


def test_a_score_needs_a_label_per_text(fitted: TextClassifier) -> None:
    """One label for two texts is a mistake, not a comparison with each."""
    with pytest.raises(ConfigError, match="got 2 texts and 1 labels, expected one label per text"):
        fitted.score(["a", "b"], ["ham"])


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a", "b"], ["ham", "ham"], "one class only"),
        (["a", "b", "c"], ["ham", "ham", "spam"], "one row only for class 'spam'"),
        (["a", "b", 3], ["ham", "ham", "spam"], "string"),
        ([], [], "no rows"),
    ],
)
def test_texts_that_cannot_teach_are_refused(texts: list[Any], labels: list[str], message: str) -> None:
    """Before any model is looked for."""
    with pytest.raises(DataError, match=message):
        TextClassifier(model="/no/such/model").fit(texts, labels)


def test_any_iterables_will_do(tiny_llama: Path, fitted: TextClassifier) -> None:
    """Generators to fit, arrays to predict."""
    classifier = made(tiny_llama).fit(iter(TEXTS), (label for label in LABELS))
    got = classifier.predict_proba(np.array(NEW_TEXTS))  # type: ignore[arg-type]
    np.testing.assert_allclose(got, fitted.predict_proba(NEW_TEXTS), atol=1e-6)
    assert fitted.predict_proba([]).shape == (0, 2)


def test_settings_are_given_and_changed() -> None:
    """get_params returns what was given; set_params adds to it, and leaves all as it was when a name is unknown."""
    classifier = TextClassifier(method="probe", seed=3)
    assert classifier.get_params() == classifier.get_params(deep=False) == {"method": "probe", "seed": 3}
    assert classifier.set_params(seed=4, depth=2) is classifier
    assert classifier.get_params() == {"method": "probe", "seed": 4, "depth": 2}
    with pytest.raises(ConfigError, match="learnin-rate"):
        classifier.set_params(learnin_rate=1.0)
    with pytest.raises(ConfigError, match="--seed"):
        classifier.set_params(seed=-1)
    assert classifier.get_params() == {"method": "probe", "seed": 4, "depth": 2}
    with pytest.raises(ConfigError, match="unknown setting"):
        TextClassifier(deptth=3)


def test_scikit_learn_can_clone_it(fitted: TextClassifier) -> None:
    """A clone has the settings and nothing of the fit."""
    from sklearn.base import clone

    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    with pytest.raises(ConfigError, match="has not been fitted"):
        copy.predict(TEXTS)


def test_set_params_changes_the_next_fit(tiny_llama: Path) -> None:
    """A classifier set to another depth is fitted there; until then it answers as before."""
    classifier = made(tiny_llama, method="probe", depth=1).fit(TEXTS, LABELS)
    before = classifier.predict_proba(NEW_TEXTS)
    classifier.set_params(depth=3)
    assert np.array_equal(classifier.predict_proba(NEW_TEXTS), before)
    assert not np.allclose(classifier.fit(TEXTS, LABELS).predict_proba(NEW_TEXTS), before, atol=1e-4)


def test_none_means_none() -> None:
    """patience=None runs all epochs and is not the same as saying nothing; where None has no meaning it is left out."""
    classifiers = [TextClassifier(patience=None), TextClassifier(), TextClassifier(model=None)]
    configs = [classifier._config for classifier in classifiers]
    assert [config.patience for config in configs[:2]] == [None, 2]
    assert configs[2] == resolve({"data": "memory"}).config
    assert TextClassifier(clip_norm=None).set_params(patience=None)._config.clip_norm is None


@pytest.mark.parametrize("method", ["probe", "tail"])
def test_the_seed_decides(tiny_llama: Path, method: str) -> None:
    """The same seed gives the same probabilities; another one draws other rows and other orders."""
    first, again, other = (
        made(tiny_llama, method=method, depth=2, seed=seed).fit(TEXTS, LABELS).predict_proba(NEW_TEXTS)
        for seed in (1, 1, 2)
    )
    np.testing.assert_allclose(again, first, atol=1e-6)
    assert not np.allclose(other, first, atol=1e-4)


@pytest.mark.parametrize("order_seed", [None, 1, 2])
def test_near_duplicates_are_never_torn_apart(order_seed: int | None) -> None:
    """Whatever the order of the rows, the same texts count as near duplicates, and none learns what another judges."""
    twice = TEXTS + [text.upper().replace("!", ".") for text in TEXTS]
    order = np.arange(160) if order_seed is None else np.random.default_rng(order_seed).permutation(160)
    dataset: Dataset = dataset_from_lists([twice[place] for place in order], [(LABELS * 2)[place] for place in order])
    split = split_dataset(dataset, seed=0, fractions=(0.875, 0.125, 0.0))
    pairs: dict[int, set[int]] = {}
    for row, group in enumerate(split.groups.tolist()):
        pairs.setdefault(group, set()).add(int(order[row]) % 80)
    assert len(pairs) == 80
    assert all(len(members) == 1 for members in pairs.values())
    assert not set(split.groups[split.train]) & set(split.groups[split.validation])
    assert (len(split.train), len(split.validation), len(split.test)) == (140, 20, 0)


@pytest.mark.parametrize("cache", [True, False])
def test_features_are_kept_only_when_asked_for(tiny_llama: Path, own_home: Path, cache: bool) -> None:
    """cache=False leaves nothing behind."""
    made(tiny_llama, method="probe", cache=cache).fit(TEXTS, LABELS)
    assert any(own_home.rglob("segment-*")) == cache


def test_scikit_learn_tools_take_it(tiny_llama: Path) -> None:
    """Cross-validation with scikit-learn's own function, on plain lists of strings."""
    from sklearn.model_selection import cross_val_score

    texts, labels = messages(40)
    scores = cross_val_score(TextClassifier(model=str(tiny_llama), method="probe"), texts, labels, cv=2)
    assert len(scores) == 2
    assert min(scores) > 0.5


@pytest.mark.parametrize("name", ["validation", "test", "out", "baselines"])
def test_settings_of_a_run_are_refused(name: str) -> None:
    """What only a run reads is not silently ignored."""
    with pytest.raises(ConfigError, match=f"{name}: only a run has this"):
        TextClassifier(**{name: False if name == "baselines" else "x"})


def test_rows_of_columns_are_texts(tiny_llama: Path, tmp_path: Path) -> None:
    """Mappings fit, predict and survive saving; a plain text is refused where the template has several columns."""
    rows = [dict(zip(("first", "rest"), text.split(" ", 1), strict=True)) for text in TEXTS]
    classifier = made(tiny_llama, template="{first} {rest}", method="probe").fit(rows, LABELS)
    plain = made(tiny_llama, method="probe").fit(TEXTS, LABELS)
    np.testing.assert_allclose(classifier.predict_proba(rows[:5]), plain.predict_proba(TEXTS[:5]), atol=1e-5)
    classifier.save(tmp_path / "mail")
    loaded = TextClassifier.load(tmp_path / "mail")
    np.testing.assert_allclose(loaded.predict_proba(rows[:5]), classifier.predict_proba(rows[:5]), atol=1e-6)
    with pytest.raises(DataError, match="text 0: a plain text, but the template reads several columns"):
        loaded.predict(["hello"])
    with pytest.raises(DataError, match="text 1: no 'rest', which the template reads"):
        loaded.explain([rows[0], {"first": "x"}])


def test_words_around_a_text_change_what_is_read(tiny_llama: Path) -> None:
    """Plain texts, and mappings that have the one column, are wrapped alike."""
    classifier = made(tiny_llama, template="Message: {message}. It is", method="probe").fit(TEXTS, LABELS)
    np.testing.assert_array_equal(
        classifier.predict_proba(TEXTS[:3]), classifier.predict_proba([{"message": text} for text in TEXTS[:3]])
    )
    (told,) = classifier.explain(TEXTS[:1])
    assert told.tokens > made(tiny_llama, method="probe").fit(TEXTS, LABELS).explain(TEXTS[:1])[0].tokens
