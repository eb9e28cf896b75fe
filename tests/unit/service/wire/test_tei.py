"""TEI: its pair and batch rule, its errors, its headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.classifiers import pair_bundle, probe_bundle, reading, several_bundle, windows_bundle
from support.serving import Talk, asked, saved, service_of, talking
from tailtune import __version__
from tailtune.labels import LabelSet
from tailtune.predict import Predictor
from tailtune.text.windows import LongRule

LONG = "a message of many words " * 8


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """Reads 16 tokens of a text, its beginning."""
    folder = tmp_path_factory.mktemp("tei") / "spam-filter"
    with talking(service_of(saved(tiny_llama, folder, lambda model: reading(probe_bundle(model), LongRule())))) as talk:
        yield talk


def shares(found: list[dict[str, Any]]) -> dict[str, float]:
    return {each["label"]: each["score"] for each in found}


def test_one_text_is_flat_and_a_batch_is_nested(talk: Talk) -> None:
    """A list of one text is that text, as in TEI."""
    one, listed, batch = talk.posted("/predict", {"inputs": "ok"}, {"inputs": ["ok"]}, {"inputs": [["ok"], ["lunch"]]})
    assert listed.json() == one.json()
    assert shares(batch.json()[0]) == pytest.approx(shares(one.json()), abs=1e-6)
    assert len(batch.json()) == 2
    assert shares(one.json()).keys() == {"ham", "other", "spam"}


def test_a_pair_is_joined_by_the_template(tiny_llama: Path, tmp_path: Path) -> None:
    """Two texts are one pair, also within a batch; a text alone is taken as joined already."""
    joins = saved(tiny_llama, tmp_path / "mail", pair_bundle)
    bodies = [["A prize", "claim it"], [["A prize", "claim it"], ["ok"]], "A prize\nclaim it"]
    with talking(service_of(joins)) as talk:
        pair, batch, plain = talk.posted("/predict", *({"inputs": each} for each in bodies))
    assert pair.json() == plain.json()
    assert shares(batch.json()[0]) == pytest.approx(shares(pair.json()), abs=1e-6)


def test_a_pair_without_two_columns_is_refused(talk: Talk) -> None:
    """Most who send two texts mean a batch: the refusal says how that is written."""
    refused, within = talk.posted("/predict", {"inputs": ["a", "b"]}, {"inputs": [["a", "b"]]})
    assert refused.status_code == within.status_code == 422
    assert refused.json()["error_type"] == "Validation"
    assert "a batch is [[text], ...]" in refused.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "kind", "said"),
    [
        ({"inputs": []}, 400, "Empty", "expected at least one"),
        ({"inputs": [[]]}, 422, "Validation", "a batch [[text], [text, text], ...]"),
        ({"inputs": ["a", "b", "c"]}, 422, "Validation", "a batch [[text], [text, text], ...]"),
        ({"inputs": [["a"], "b"]}, 422, "Validation", "a batch [[text], [text, text], ...]"),
        ({"inputs": 3}, 422, "Validation", "body.inputs: expected a text"),
        ({}, 422, "Validation", "body.inputs: Field required"),
        ({"inputs": LONG, "truncate": False}, 422, "Validation", "of which 16 are read"),
        ({"inputs": LONG, "truncation_direction": "Left"}, 422, "Validation", "cut on the right"),
        ({"inputs": [["ok"]] * 300}, 413, "Validation", "300 texts: at most 256"),
        ({"inputs": "ok", "parameters": {"top_k": 0}}, 422, "Validation", "parameters.top_k"),
        ({"inputs": "ok", "parameters": {"function_to_apply": "sigmoid"}}, 422, "Validation", "those of a softmax"),
    ],
)
def test_refusals(talk: Talk, body: object, status: int, kind: str, said: str) -> None:
    """One line, with the type that its clients switch on."""
    (answer,) = talk.posted("/predict", body)
    assert answer.status_code == status
    assert answer.json().keys() == {"error", "error_type"}
    assert answer.json()["error_type"] == kind
    assert said in answer.json()["error"]


@pytest.mark.parametrize("how", [{}, {"truncate": True}, {"truncation_direction": "right"}, {"truncate": None}])
def test_longer_texts_are_cut_where_that_is_allowed(talk: Talk, how: dict[str, object]) -> None:
    """As the classifier was trained."""
    (answer,) = talk.posted("/predict", {"inputs": LONG, **how})
    assert answer.status_code == 200


def test_too_much_at_once(talk: Talk) -> None:
    """429 with a type of its own, and when to come back; 503 while it stops."""
    talk.service.batcher.tokens += 10**9
    (answer,) = talk.posted("/predict", {"inputs": "ok"})
    talk.service.batcher.tokens -= 10**9
    assert (answer.status_code, answer.json()["error_type"]) == (429, "Overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_a_failure_in_computing_is_424(tiny_llama: Path, tmp_path: Path) -> None:
    """Without its text in the answer, which names what the log has."""
    with talking(service_of(saved(tiny_llama, tmp_path / "broken"))) as talk:
        predictor = talk.service.pick().predictor
        predictor._bundle = replace(predictor.bundle, labels=LabelSet(names=("ham",)))
        (answer,) = talk.posted("/predict", {"inputs": "ok"})
    assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
    assert "NoneType" not in answer.text


def test_headers(talk: Talk) -> None:
    """Milliseconds, characters and tokens."""
    (answer,) = talk.posted("/predict", {"inputs": [["ok"], ["lunch"]]})
    names = ("compute-time", "compute-characters", "compute-tokens", "total-time", "tokenization-time", "queue-time")
    values = {name: int(answer.headers[f"x-{name}"]) for name in (*names, "inference-time")}
    assert values["compute-characters"] == 7
    assert values["compute-tokens"] >= 2
    assert answer.headers["x-compute-type"] == "cpu"


def test_the_task_of_hugging_face(tiny_llama: Path, tmp_path: Path) -> None:
    """With parameters an answer is a list per text, even for one; the function must be the classifier's own."""
    service = service_of(saved(tiny_llama, tmp_path / "topics", several_bundle))
    asks: list[dict[str, object]] = [{}, {"top_k": 2, "function_to_apply": "sigmoid"}, {"function_to_apply": "none"}]
    with talking(service) as talk:
        nested, best, raw = talk.posted("/", *({"inputs": "ok", "parameters": each} for each in asks))
    assert len(nested.json()) == 1
    assert best.json()[0] == nested.json()[0][:2]
    back = {label: 1 / (1 + np.exp(-score)) for label, score in shares(raw.json()[0]).items()}
    assert back == pytest.approx(shares(nested.json()[0]))


def test_info_of_windows(tiny_llama: Path, tmp_path: Path) -> None:
    """All of a text is read, as far as a request may be long."""
    (answer,) = asked(service_of(saved(tiny_llama, tmp_path / "long", windows_bundle)), ("GET", "/info", {}))
    assert answer.json()["max_input_length"] == 65_536


def test_info(tiny_llama: Path, tmp_path: Path) -> None:
    """All fields that its clients read."""
    folder = saved(tiny_llama, tmp_path / "spam-filter")
    (answer,) = asked(service_of(folder), ("GET", "/info", {}))
    assert answer.json() == {
        "model_id": "spam-filter",
        "model_sha": Predictor.load(folder).bundle.digest,
        "model_dtype": "float32",
        "served_model_name": "spam-filter",
        "model_type": {
            "classifier": {
                "id2label": {"0": "ham", "1": "other", "2": "spam"},
                "label2id": {"ham": 0, "other": 1, "spam": 2},
            }
        },
        "max_concurrent_requests": 512,
        "max_input_length": 64,
        "max_batch_tokens": 1024,
        "max_batch_requests": None,
        "max_client_batch_size": 256,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }
