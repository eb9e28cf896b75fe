"""The verdict: which baseline it names, what it calls the difference, and how it reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from tailtune.evaluate.intervals import mcnemar_p
from tailtune.evaluate.verdict import judge, with_decided


def _right(count: int, rows: int = 300) -> NDArray[np.bool_]:
    """Return bool [rows]: the first ``count`` rows right, so that the better of two is right wherever the other is."""
    return np.arange(rows) < count


def test_better_names_the_best_baseline() -> None:
    """The best baseline is meant, by its title; both accuracies and the p-value stand in the sentence."""
    baselines = {"majority": _right(150), "word_tfidf_lr": _right(280), "char_tfidf_lr": _right(283)}
    verdict = judge(_right(294), baselines)
    assert (verdict.kind, verdict.against) == ("better", "char_tfidf_lr")
    assert verdict.p_value == mcnemar_p(_right(294), _right(283))
    assert verdict.difference == pytest.approx(11 / 300)
    assert verdict.text == (
        "Better than the best cheap baseline (character TF-IDF + logistic regression): "
        "98.0 % against 94.3 %, McNemar p < 0.001."
    )


def test_a_small_difference_is_not_distinguishable_either_way() -> None:
    """One row more or less says nothing, and the advice is the cheaper model."""
    for model in (292, 293, 294):
        verdict = judge(_right(model), {"char_tfidf_lr": _right(293)})
        assert verdict.kind == "not distinguishable"
        assert verdict.text.endswith("against 97.7 %, McNemar p = 1.000; the cheaper model would do.")


def test_a_baseline_on_a_model_says_how_to_have_it() -> None:
    """N-grams are made elsewhere; sentence embeddings are a flag away."""
    verdict = judge(_right(270), {"majority": _right(200), "minilm_lr": _right(285)})
    assert verdict.text.startswith("Worse than the best cheap baseline (MiniLM embeddings + logistic")
    assert verdict.text.endswith("; use the baseline (--model minilm-l6 --method probe).")
    near = judge(_right(284), {"minilm_lr": _right(285)})
    assert near.text.endswith("; the cheaper model would do (--model minilm-l6 --method probe).")


def test_worse_says_use_the_baseline() -> None:
    """A model that loses for sure is called worse, with a negative difference."""
    verdict = judge(_right(270), {"majority": _right(150), "word_tfidf_lr": _right(279)})
    assert (verdict.kind, verdict.against) == ("worse", "word_tfidf_lr")
    assert verdict.difference == pytest.approx(-0.03)
    assert verdict.text == (
        "Worse than the best cheap baseline (word TF-IDF + logistic regression): "
        "90.0 % against 93.0 %, McNemar p = 0.004; use the baseline."
    )


def test_the_level_decides() -> None:
    """The same rows are better at 5 % and not distinguishable at 0.1 %."""
    model, baseline = _right(290), _right(282)
    assert judge(model, {"majority": baseline}).kind == "better"
    assert judge(model, {"majority": baseline}, level=0.001).kind == "not distinguishable"


def test_equal_accuracy_on_other_rows_is_not_distinguishable() -> None:
    """Being right equally often on other rows is no difference; of equal baselines the first is named."""
    model = _right(280)
    verdict = judge(model, {"word_tfidf_lr": model[::-1], "char_tfidf_lr": _right(280)})
    assert (verdict.kind, verdict.against, verdict.p_value) == ("not distinguishable", "word_tfidf_lr", 1.0)


def test_json_and_refusals() -> None:
    """The verdict survives JSON; nothing to compare is a ValueError."""
    written = judge(_right(290), {"majority": _right(150)}).as_json()
    assert json.loads(json.dumps(written)) == written
    assert set(written) == {"text", "against", "kind", "p_value", "difference"}
    with pytest.raises(ValueError, match="0 baselines"):
        judge(_right(3), {})
    with pytest.raises(ValueError, match="0 rows"):
        judge(_right(0, 0), {"majority": _right(0, 0)})


def test_labels_given_by_a_rule_are_told_beside_the_verdict() -> None:
    """The accuracy of the labels given, where a rule gives them; nothing is added or lost otherwise."""
    verdict = {"text": "Better: 99.6 %.", "kind": "better"}
    decision = {"rule": "spam at 0.9 or more", "test": {"accuracy": {"share": 0.985, "count": 197, "of": 200}}}
    told = with_decided({"verdict": verdict, "decision": decision, "test": {"rows": 200}})
    assert told["verdict"]["text"] == (
        "Better: 99.6 %. That is by the likeliest class; of the labels given (spam at 0.9 or more) 98.5 % are right."
    )
    assert (told["verdict"]["kind"], told["test"]) == ("better", {"rows": 200})
    for alone in ({"verdict": verdict}, {"decision": decision}, {}):
        assert with_decided(alone) == alone
