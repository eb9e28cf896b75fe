"""What the document says of refusals is what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import jsonschema
import pytest

from support.serving import asked, saved, service_of
from tailtune.service.refusals import Kind, Refused
from tailtune.service.wire import native, oip, sagemaker, tei, vllm

# Not of a route that exists: no such path, another method.
NOT_OF_ROUTES = {"not_found", "method"}


@pytest.fixture(scope="module")
def document(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    service = service_of(saved(tiny_llama, tmp_path_factory.mktemp("documents") / "spam-filter"))
    found: dict[str, Any] = asked(service, ("GET", "/openapi.json", {}))[0].json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    """With what it answers, and with examples of what is sent to it."""
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names)) >= 20
    for name, operation in operations(document):
        assert operation["description"], name
        assert all(each["description"] for each in operation.get("parameters", ())), name
        assert all(each["description"] != "Successful Response" for each in operation["responses"].values()), name
        assert all(each["schema"] for each in operation["responses"]["200"]["content"].values()), name
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"], name


def test_every_example_has_the_shape_that_is_documented(document: dict[str, Any]) -> None:
    """Of requests and of refusals."""
    count = 0
    for name, operation in operations(document):
        for status, response in operation["responses"].items():
            content = response["content"].get("application/json", {})
            for example in content.get("examples", {}).values():
                schema = {**content["schema"], "components": document["components"]}
                jsonschema.validate(example["value"], schema)
                count += 1
            assert status == "200" or content["examples"], (name, status)
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", ()):
            jsonschema.validate(example, {**schema, "components": document["components"]})
            count += 1
    assert count > 150


@pytest.mark.parametrize(
    ("view", "path"),
    [
        (native, "/v1/classify"),
        (tei, "/predict"),
        (tei, "/"),
        (vllm, "/classify"),
        (oip, "/v2/models/{name}/infer"),
        (sagemaker, "/invocations"),
    ],
)
def test_every_refusal_is_documented(document: dict[str, Any], view: ModuleType, path: str) -> None:
    """Whatever the reason, with the status that the protocol gives it; every reason that the service knows."""
    documented = document["paths"][path]["post"]["responses"].keys()
    for kind in set(get_args(Kind)) - NOT_OF_ROUTES:
        status, _ = view.shape(Refused(kind, "why"), "id")
        assert str(status) in documented, kind
