"""Whatever is sent gets an answer or a refusal in the protocol's own shape, which repeats nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.serving import Talk, saved, service_of, talking

# Stands in every string and key that is made up: a refusal with it repeats what was sent.
MARK = "qzxj"
INFER = "/v2/models/spam-filter/infer"
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["ok"]}
PATHS: dict[str, dict[str, Any]] = {
    "/v1/classify": {"texts": ["ok"], "model": None, "highlights": False},
    "/predict": {"inputs": "ok", "truncate": None, "raw_scores": False, "parameters": {"top_k": 1}},
    "/": {"inputs": [["ok"]], "truncation_direction": "Right", "parameters": {"function_to_apply": None}},
    "/classify": {"input": ["ok"], "model": None, "truncate_prompt_tokens": -1, "request_id": "r", "priority": 0},
    INFER: {"id": "1", "inputs": [TENSOR], "outputs": [{"name": "label", "parameters": {"binary_data": False}}]},
    "/invocations": {"texts": ["ok"]},
}
SHAPES = {
    "/v1/classify": ("error",),
    "/predict": ("error", "error_type"),
    "/": ("error", "error_type"),
    "/classify": ("error",),
    INFER: ("error",),
    "/invocations": ("error",),
}

marked = st.text(max_size=8).map(lambda text: MARK + text) | st.sampled_from([f"{MARK}\ud800", f"\udfff{MARK}"])
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**64, 0, 1, -1])
leaves = st.none() | st.booleans() | numbers | marked
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(marked, inner, max_size=3), max_leaves=8
)


@pytest.fixture(scope="module")
def talk(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    with talking(service_of(saved(tiny_llama, tmp_path_factory.mktemp("bodies") / "spam-filter"))) as talk:
        yield talk


def require_answered(talk: Talk, path: str, body: bytes, *, marked: bool = True, **headers: str) -> None:
    """Send ``body``, and look at what comes back."""
    how = {"content": body, "headers": {"content-type": "application/json"} | headers}
    (answer,) = talk.asked(("POST", path, how))
    require_shape(path, answer)
    if marked and answer.status_code != 200:
        assert MARK not in answer.text


def require_shape(path: str, answer: httpx.Response) -> None:
    assert answer.status_code in (200, 400, 404, 413, 415, 422), answer.text
    if answer.status_code != 200:
        assert tuple(answer.json()) == SHAPES[path]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    """A request that is right but for one place, at any depth."""
    path = draw(st.sampled_from(sorted(PATHS)))
    body = json.loads(json.dumps(PATHS[path]))
    at: Any = body
    while True:
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if isinstance(at[key], dict | list) and at[key] and draw(st.booleans()):
            at = at[key]
            continue
        at[key] = draw(values)
        if isinstance(at, dict) and draw(st.booleans()):
            at[draw(marked)] = draw(values)
        return path, body


@settings(max_examples=200, deadline=None)
@given(request=mutated())
def test_one_place_is_wrong(talk: Talk, request: tuple[str, Any]) -> None:
    """No failure, and nothing of it comes back."""
    path, body = request
    require_answered(talk, path, json.dumps(body).encode())


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(sorted(PATHS)), value=values)
def test_any_value(talk: Talk, path: str, value: Any) -> None:
    """Of JSON, and of what Python writes beside it."""
    require_answered(talk, path, json.dumps(value).encode())


@settings(max_examples=60, deadline=None)
@given(
    path=st.sampled_from(sorted(PATHS)),
    body=st.binary(max_size=40),
    kind=st.sampled_from(["application/json", "text/plain", "text/csv", "application/jsonlines", "x/y", "", ";"]),
    length=st.none() | st.integers(0, 40).map(str) | st.text("0123456789-x", max_size=5),
)
def test_any_bytes(talk: Talk, path: str, body: bytes, kind: str, length: str | None) -> None:
    """Under any type, with any header of tensors."""
    headers = {} if length is None else {"inference-header-content-length": length}
    require_answered(talk, path, body, marked=False, **{"content-type": kind}, **headers)


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=30), size=st.integers(-1, 40), count=st.integers(0, 4))
def test_any_tensor(talk: Talk, content: bytes, size: int, count: int) -> None:
    """Bytes behind the JSON that are no texts, or others than it says."""
    tensor = {"name": "text", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"inference-header-content-length": str(len(head))}
    require_answered(talk, INFER, head + content, marked=False, **length)
