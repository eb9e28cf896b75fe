"""Open Inference Protocol: metadata, versions, tensors as JSON and as bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.serving import Ask, Talk, saved, service_of, talking
from tailtune import __version__
from tailtune.service.wire import tensors

INFER = "/v2/models/spam-filter/infer"
TEXTS = ["claim your prize now", "naïve 🙂"]
TENSOR: dict[str, Any] = {"name": "text", "shape": [2], "datatype": "BYTES"}


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with talking(service_of(saved(tiny_llama, tmp_path_factory.mktemp("oip") / "spam-filter"))) as talk:
        yield talk


def binary(value: object, content: bytes, **headers: str) -> Ask:
    """A request with bytes behind its JSON."""
    head = json.dumps(value).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    return "POST", INFER, {"content": head + content, "headers": length | headers}


def sized(content: bytes, **parameters: int) -> dict[str, Any]:
    return {**TENSOR, "parameters": {"binary_data_size": len(content), **parameters}}


def test_what_is_told(talk: Talk) -> None:
    """Of the server, and of a model with its tensors, by name and by version."""
    version = talk.service.pick().digest[:12]
    paths = ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/spam-filter", "/v2/models/spam-filter/ready")
    exact = (f"/v2/models/spam-filter/versions/{version}", f"/v2/models/spam-filter/versions/{version}/ready")
    server, live, ready, model, model_ready, *same = talk.asked(*(("GET", path, {}) for path in (*paths, *exact)))
    assert server.json() == {"name": "tailtune", "version": __version__, "extensions": ["binary_tensor_data"]}
    assert (live.json(), ready.json()) == ({"live": True}, {"ready": True})
    assert model_ready.json() == {"name": "spam-filter", "ready": True}
    labels = ["ham", "other", "spam"]
    assert model.json() == {
        "name": "spam-filter",
        "versions": [version],
        "platform": "tailtune",
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3], "parameters": {"labels": labels}},
        ],
    }
    assert [each.json() for each in same] == [model.json(), model_ready.json()]


def test_tensors_as_json(talk: Talk) -> None:
    """Rows of one text are texts; the id comes back; outputs are those that were asked for, in that order."""
    rows = {**TENSOR, "shape": [2, 1], "data": [[text] for text in TEXTS]}
    flat, nested, chosen = talk.posted(
        INFER,
        {"inputs": [{**TENSOR, "data": TEXTS}]},
        {"id": "42", "inputs": [rows], "parameters": {"priority": 3}},
        {"inputs": [rows], "outputs": [{"name": "probabilities"}]},
    )
    assert "id" not in flat.json()
    assert nested.json() == flat.json() | {"id": "42"}
    assert flat.json()["model_name"] == "spam-filter"
    assert [(each["name"], each["shape"]) for each in flat.json()["outputs"]] == [
        ("label", [2]),
        ("probabilities", [2, 3]),
    ]
    assert chosen.json()["outputs"] == flat.json()["outputs"][1:]


def test_tensors_as_bytes(talk: Talk) -> None:
    """Both ways; an output's own word is above the request's."""
    content = tensors.packed(TEXTS)
    own = {"outputs": [{"name": "label", "parameters": {"binary_data": False}}, {"name": "probabilities"}]}
    plain, mixed = talk.asked(
        binary({"inputs": [sized(content)]}, content),
        binary({"inputs": [sized(content)], "parameters": {"binary_data_output": True}, **own}, content),
    )
    expected = plain.json()["outputs"]
    assert mixed.headers["content-type"] == "application/octet-stream"
    head = int(mixed.headers["inference-header-content-length"])
    label, shares = json.loads(mixed.content[:head])["outputs"]
    assert label == expected[0]
    assert shares == {
        "name": "probabilities",
        "shape": [2, 3],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 24},
    }
    assert np.frombuffer(mixed.content[head:], "<f4").tolist() == expected[1]["data"]


@pytest.mark.parametrize(
    ("value", "content", "said"),
    [
        ({"inputs": [sized(b"12345678")]}, b"1234", "more than there are bytes"),
        ({"inputs": [sized(b"", binary_data_size=-1)]}, b"", "more than there are bytes"),
        ({"inputs": [sized(b"")]}, b"12", "2 bytes behind the JSON belong to no input"),
        ({"inputs": [{**TENSOR, "data": TEXTS}]}, b"12", "2 bytes behind the JSON belong to no input"),
        ({"inputs": [sized(b"12")]}, b"12", "within the length of an element"),
        ({"inputs": [sized(struct.pack("<I", 9) + b"12")]}, struct.pack("<I", 9) + b"12", "within an element"),
        ({"inputs": [sized(struct.pack("<I", 1) + b"\xff")]}, struct.pack("<I", 1) + b"\xff", "no UTF-8"),
        ([1], b"12", "2 bytes behind the JSON belong to no input"),
    ],
)
def test_bytes_that_do_not_fit(talk: Talk, value: object, content: bytes, said: str) -> None:
    """Nothing is guessed."""
    (answer,) = talk.asked(binary(value, content))
    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]


@pytest.mark.parametrize("length", ["0", "-1", "x", "²", "99999", "9" * 5000, ""])
def test_a_header_that_is_wrong(talk: Talk, length: str) -> None:
    """It counts bytes of the body."""
    headers = {"Inference-Header-Content-Length": length.encode()}
    (answer,) = talk.asked(("POST", INFER, {"content": b"{}", "headers": headers}))
    assert answer.status_code == 422
    assert "expected how many of the body's 2 bytes are JSON" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": []}, "inputs"),
        ({"inputs": [{**TENSOR, "data": TEXTS[:1]}]}, "1 texts do not fill the shape"),
        ({"inputs": [{**TENSOR, "shape": [1, 2], "data": TEXTS}]}, "expected [N] or [N, 1]"),
        ({"inputs": [{**TENSOR, "shape": [2, 1, 1], "data": TEXTS}]}, "at most 2 items"),
        ({"inputs": [{**TENSOR, "datatype": "FP32", "data": TEXTS}]}, "datatype: Input should be 'BYTES'"),
        ({"inputs": [{**TENSOR, "name": "input", "data": TEXTS}]}, "name: Input should be 'text'"),
        ({"inputs": [{**TENSOR, "data": [1, 2]}]}, "expected a list of texts"),
        ({"inputs": [TENSOR]}, "data: Field required"),
        ({"outputs": [{"name": "scores"}]}, "'label' or 'probabilities'"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 2}}]}, "classification"),
        ({"outputs": [{"name": "label", "parameters": {"shared_memory_region": "r"}}]}, "shared_memory_region"),
    ],
)
def test_refusals(talk: Talk, change: dict[str, object], said: str) -> None:
    """What this model does not have."""
    (answer,) = talk.posted(INFER, {"inputs": [{**TENSOR, "data": TEXTS}]} | change)
    assert answer.status_code == 422
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]


def test_unknown_models_and_versions(talk: Talk) -> None:
    """The refusal names those that there are."""
    version = talk.service.pick().digest[:12]
    paths = ("/v2/models/other", "/v2/models/spam-filter/versions/1")
    model, exact = talk.asked(*(("GET", path, {}) for path in paths))
    assert (model.status_code, exact.status_code) == (404, 404)
    assert model.json() == {"error": "no model of that name; there is 'spam-filter'"}
    assert exact.json() == {"error": f"no such version; there is {version!r}"}
