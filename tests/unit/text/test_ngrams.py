"""N-grams are counted, weighed and scored exactly as the library that fits them does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from support.hostile_texts import hostile_texts
from tailtune.evaluate.ngrams import fit_ngrams
from tailtune.label_rules import sigmoid
from tailtune.rules import softmax
from tailtune.text.ngrams import SIZES, Kind, NgramModel, ngrams_of

TEXTS = hostile_texts(1200)
KINDS: tuple[Kind, ...] = ("word", "char")


def vectorizer(kind: Kind) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer="word" if kind == "word" else "char_wb", ngram_range=SIZES[kind], sublinear_tf=True, max_features=9000
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_ngrams_as_the_library(kind: Kind) -> None:
    """Every n-gram as often, of texts made to trip it up; the order is nobody's business."""
    analyse = vectorizer(kind).build_analyzer()
    for text in TEXTS:
        assert sorted(ngrams_of(text, kind)) == sorted(analyse(text))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_same_answers_as_the_library(kind: Kind, classes: int) -> None:
    """Fitted on some hostile texts, asked of others: within 1e-6 of the library's own pipeline in float64."""
    ids = np.arange(600) % classes
    model, _ = fit_ngrams(kind, TEXTS[:600], ids, classes=classes)
    made = TfidfVectorizer(analyzer="word" if kind == "word" else "char_wb", ngram_range=SIZES[kind], sublinear_tf=True)
    fitted = LogisticRegression(C=10, max_iter=300, random_state=0).fit(made.fit_transform(TEXTS[:600]), ids)
    expected = fitted.predict_proba(made.transform(TEXTS))
    got = softmax(model.scores(TEXTS))
    assert np.ptp(expected, axis=0).min() > 0.1
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_labels_of_which_a_text_can_have_several() -> None:
    """Each as the library's own regression has it; one without choice is certain."""
    random = np.random.default_rng(2)
    ids = (random.random((300, 4)) < 0.4).astype(np.int64)
    ids[:, 1], ids[:, 3] = 0, 1
    model, _ = fit_ngrams("word", TEXTS[:300], ids, classes=4)
    made = TfidfVectorizer(analyzer="word", ngram_range=SIZES["word"], sublinear_tf=True)
    vectors = made.fit_transform(TEXTS[:300])
    got = sigmoid(model.scores(TEXTS[200:]))
    for label in (0, 2):
        fitted = LogisticRegression(C=10, max_iter=300, random_state=0).fit(vectors, ids[:, label])
        np.testing.assert_allclose(got[:, label], fitted.predict_proba(made.transform(TEXTS[200:]))[:, 1], atol=1e-6)
    assert (got[:, 1] == 0).all()
    assert (got[:, 3] == 1).all()


def test_a_text_has_its_scores_in_any_company() -> None:
    """To the last bit: each text is computed by itself."""
    model, _ = fit_ngrams("char", TEXTS[:100], np.arange(100) % 3, classes=3)
    together = model.scores(TEXTS)
    for place in range(0, len(TEXTS), 37):
        assert np.array_equal(model.scores([TEXTS[place]])[0], together[place])
    assert model.scores([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "line"}, "not known"),
        ({"vocabulary": ("a", "a")}, "1 of them different"),
        ({"vocabulary": ("a",)}, "rarities"),
        ({"weight": np.zeros((2, 2), np.float32)}, "weights"),
        ({"classes": (7,)}, "weights of classes"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], said: str) -> None:
    """Arrays and names come from files."""
    sound = {
        "kind": "char",
        "vocabulary": ("a", "b"),
        "rarity": np.ones(2, np.float32),
        "weight": np.zeros((2, 1), np.float32),
        "classes": (1,),
        "bias": np.zeros(2, np.float32),
    }
    NgramModel(**sound)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=said):
        NgramModel(**{**sound, **change})
