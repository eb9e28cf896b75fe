"""Every protocol is a view of the same answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from support.classifiers import (
    blended_bundle,
    probe_bundle,
    ruled_bundle,
    several_blended_bundle,
    several_bundle,
    windows_bundle,
)
from support.serving import Ask, asked, saved, service_of
from tailtune.bundle import Bundle
from tailtune.predict import Predictor
from tailtune.service.wire import tensors

TEXTS = ["claim your prize now", "lunch at noon?", "", "naïve 🙂 \u0000 text", "a message of many words " * 8]
Rows = NDArray[np.float64]
Make = Callable[[Path], Bundle]

Read = Callable[[httpx.Response], tuple[list[str], Rows]]


def native(answer: httpx.Response) -> tuple[list[str], Rows]:
    results = answer.json()["results"]
    return [each["label"] for each in results], np.array([list(each["probabilities"].values()) for each in results])


def tei(answer: httpx.Response) -> tuple[list[str], Rows]:
    """Categories come by falling score; this protocol knows no other label than the first."""
    rows = answer.json()
    assert all(row == sorted(row, key=lambda each: -each["score"]) for row in rows)
    ordered = [sorted(row, key=lambda each: each["label"]) for row in rows]
    return [], np.array([[each["score"] for each in row] for row in ordered])


def raw(answer: httpx.Response) -> tuple[list[str], Rows]:
    """A softmax gives the probabilities back."""
    _, scores = tei(answer)
    return [], np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def raw_several(answer: httpx.Response) -> tuple[list[str], Rows]:
    """A sigmoid gives the probabilities back."""
    return [], 1 / (1 + np.exp(-tei(answer)[1]))


def vllm(answer: httpx.Response) -> tuple[list[str], Rows]:
    data = answer.json()["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return [each["label"] for each in data], np.array([each["probs"] for each in data])


def oip(answer: httpx.Response) -> tuple[list[str], Rows]:
    label, shares = answer.json()["outputs"]
    return label["data"], np.array(shares["data"], dtype=np.float64).reshape(shares["shape"])


def oip_bytes(answer: httpx.Response) -> tuple[list[str], Rows]:
    head = int(answer.headers["Inference-Header-Content-Length"])
    said = httpx.Response(200, content=answer.content[:head]).json()["outputs"]
    at = head + said[0]["parameters"]["binary_data_size"]
    rows = np.frombuffer(answer.content[at:], dtype="<f4").astype(np.float64).reshape(said[1]["shape"])
    return list(tensors.elements(answer.content[head:at])), rows


def lines(answer: httpx.Response) -> tuple[list[str], Rows]:
    parts = [httpx.Response(200, content=line).json() for line in answer.content.splitlines()]
    return native(httpx.Response(200, json={"results": parts}))


def asks(*, several: bool) -> dict[str, tuple[Ask, Read]]:
    """Name -> the same texts, asked in a protocol, and how its answers are read."""
    batch = [[text] for text in TEXTS]
    tensor = {"name": "text", "shape": [len(TEXTS), 1], "datatype": "BYTES"}
    infer = "/v2/models/spam-filter/infer"
    binary = {"binary_data_output": True}
    json_lines = "".join(f"{httpx.Request('POST', 'http://x', json=text).content.decode()}\n" for text in TEXTS)
    raw_scores = {"inputs": batch, "raw_scores": True}
    return {
        "native": (("POST", "/v1/classify", {"json": {"texts": TEXTS}}), native),
        "TEI": (("POST", "/predict", {"json": {"inputs": batch}}), tei),
        "TEI, raw": (("POST", "/predict", {"json": raw_scores}), raw_several if several else raw),
        "vLLM": (("POST", "/classify", {"json": {"input": TEXTS, "truncate_prompt_tokens": -1}}), vllm),
        "OIP": (("POST", infer, {"json": {"inputs": [{**tensor, "data": TEXTS}]}}), oip),
        "OIP, bytes": (
            ("POST", infer, {"json": {"inputs": [{**tensor, "data": TEXTS}], "parameters": binary}}),
            oip_bytes,
        ),
        "SageMaker": (("POST", "/invocations", {"json": {"texts": TEXTS}}), native),
        "SageMaker, lines": (
            ("POST", "/invocations", {"content": json_lines, "headers": {"content-type": "application/jsonlines"}}),
            lines,
        ),
    }


@pytest.mark.parametrize(
    "make",
    [probe_bundle, several_bundle, ruled_bundle, windows_bundle, blended_bundle, several_blended_bundle],
    ids=["one label", "several labels", "abstaining", "windows", "blend", "blend of several"],
)
def test_views_agree(make: Callable[..., Bundle], tiny_llama: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """Each protocol gives the predictor's label and probabilities of the same texts."""
    blended = make in (blended_bundle, several_blended_bundle)
    whole: Make = functools.partial(make, other=tiny_bert) if blended else make
    bundle = saved(tiny_llama, tmp_path / "spam-filter", whole)
    predictor = Predictor.load(bundle)
    views = asks(several=predictor.bundle.labels.several)
    answers = asked(service_of(bundle), *(ask for ask, _ in views.values()))
    expected = predictor.predict(TEXTS)
    rows = np.array([list(each.probabilities.values()) for each in expected])
    for (name, (_, read)), answer in zip(views.items(), answers, strict=True):
        assert answer.status_code == 200, (name, answer.text)
        labels, got = read(answer)
        assert labels in ([], [each.label for each in expected]), name
        assert np.abs(got - rows).max() < 1e-6, name


def test_several_models(tiny_llama: Path, tmp_path: Path) -> None:
    """Each protocol that names models answers with the one that is named, the others with the first."""
    first, second = saved(tiny_llama, tmp_path / "first"), saved(tiny_llama, tmp_path / "second", windows_bundle)
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["ok"]}
    expected = [list(Predictor.load(each).predict(["ok"])[0].probabilities.values()) for each in (first, second)]
    own, classify, infer, invoked, predict = asked(
        service_of(first, second),
        ("POST", "/v1/classify", {"json": {"texts": ["ok"], "model": "second"}}),
        ("POST", "/classify", {"json": {"input": "ok", "model": "second"}}),
        ("POST", "/v2/models/second/infer", {"json": {"inputs": [tensor]}}),
        ("POST", "/invocations", {"json": {"texts": ["ok"], "model": "second"}}),
        ("POST", "/predict", {"json": {"inputs": [["ok"]]}}),
    )
    default, named = np.array(expected)
    for read, answer in ((native, own), (vllm, classify), (oip, infer), (native, invoked)):
        assert np.abs(read(answer)[1] - named).max() < 1e-6
    assert np.abs(tei(predict)[1] - default).max() < 1e-6
    assert np.abs(default - named).max() > 1e-3
