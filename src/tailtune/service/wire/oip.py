"""Open Inference Protocol v2: what KServe, Triton and their clients speak.

One input, ``text`` of BYTES; two outputs, ``label`` of BYTES and ``probabilities`` of FP32. The version of a model is
the beginning of its bundle's digest, so that another bundle under the same name is another version. Tensors may travel
as bytes behind the JSON, Triton's binary tensor data extension: its client does so unless told otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from starlette.datastructures import Headers

from tailtune import __version__
from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Refused
from tailtune.service.served import Served
from tailtune.service.wire import tensors
from tailtune.service.wire.answers import require_alive, require_ready
from tailtune.service.wire.documents import ANY, QUERIES, TEXTS, refusals
from tailtune.service.wire.reading import JSON, Asked, BodyRoute, parse_json, require_media_type

PATHS = ("/v2",)
PLATFORM = "tailtune"
OCTETS = "application/octet-stream"
HEADER = "Inference-Header-Content-Length"
# Characters of the digest that name a version.
_VERSION = 12
# What the document says of tensors that travel as bytes.
_BEHIND = {OCTETS: {"schema": {"type": "string", "format": "binary", "description": "JSON, and tensors behind it."}}}
_BINARY_REQUEST: dict[str, Any] = {"requestBody": {"content": {OCTETS: {}}}}
_BINARY_ANSWER: dict[str, Any] = {
    "description": "Answers in the order of the texts, as bytes behind the JSON where that was asked for.",
    "headers": {HEADER: {"description": "Bytes of JSON before the tensors.", "schema": {"type": "integer"}}},
    "content": _BEHIND,
}


Name = Annotated[str, Path(description="Of the model.")]
Version = Annotated[str, Path(description="As the model's metadata say.")]


class TensorParameters(Asked):
    """How a tensor travels; further parameters are passed over."""

    binary_data_size: Annotated[int | None, Field(ge=0, description="Its bytes, where they lie behind the JSON.")] = (
        None
    )
    shared_memory_region: Annotated[None, Field(description="Not supported.")] = None


def _flat(value: Any) -> list[str]:
    """Return the texts of ``data``, a list of them or of rows of one."""
    if not isinstance(value, list):
        raise ValueError("expected a list of texts, or of rows of one text")
    found = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in value]
    if not all(isinstance(each, str) for each in found):
        raise ValueError("expected a list of texts, or of rows of one text")
    return found


Data = Annotated[
    list[str],
    PlainValidator(_flat),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 1},
                ]
            },
        }
    ),
]


class InferInput(Asked):
    """The texts."""

    name: Literal["text"]
    shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1, max_length=2, description="[N] or [N, 1].")]
    datatype: Literal["BYTES"]
    parameters: TensorParameters | None = None
    data: Annotated[Data, Field(description="In the order of rows; absent where the bytes lie behind the JSON.")]

    @model_validator(mode="after")
    def _fits(self) -> InferInput:
        if math.prod(self.shape) != len(self.data) or self.shape[0] != len(self.data):
            raise ValueError(f"{len(self.data)} texts do not fill the shape, expected [N] or [N, 1]")
        return self


class OutputParameters(Asked):
    """How an output is wanted; further parameters are passed over."""

    binary_data: Annotated[bool | None, Field(description="Whether as bytes behind the JSON.")] = None
    classification: Annotated[
        int, Field(ge=0, le=0, description="Triton's classification extension is not supported.")
    ] = 0
    shared_memory_region: Annotated[None, Field(description="Not supported.")] = None


class RequestedOutput(Asked):
    """An output that is wanted."""

    name: Literal["label", "probabilities"]
    parameters: OutputParameters | None = None


class RequestParameters(Asked):
    """Of a request; further ones are passed over."""

    binary_data_output: Annotated[bool, Field(description="Whether outputs are sent as bytes behind the JSON.")] = False


class InferRequest(Asked):
    """Texts to classify."""

    id: Annotated[str | None, Field(description="Comes back with the answer.")] = None
    parameters: RequestParameters | None = None
    inputs: Annotated[list[InferInput], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[RequestedOutput] | None, Field(max_length=2, description="Default: all.")] = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["claim your prize now"]}]}
            ]
        }
    )


class OutputTensor(BaseModel):
    """An output."""

    name: Literal["label", "probabilities"]
    shape: list[int]
    datatype: Literal["BYTES", "FP32"]
    parameters: dict[str, int] | None = None
    data: list[str] | list[float] | None = None


class InferResponse(BaseModel):
    """Answers in the order of the texts."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]

    model_config = ConfigDict(protected_namespaces=())


class TensorMetadata(BaseModel):
    """A tensor that a model reads or writes."""

    name: str
    datatype: str
    shape: Annotated[list[int], Field(description="-1 for any number.")]
    parameters: Annotated[dict[str, list[str]] | None, Field(description="Of probabilities: labels, by column.")] = None


class ModelMetadata(BaseModel):
    """A classifier that is served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """Whether a classifier answers."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """What serves."""

    name: str
    version: str
    extensions: list[str]


class Live(BaseModel):
    """Whether the process lives."""

    live: bool


class Ready(BaseModel):
    """Whether new requests are welcome."""

    ready: bool


class InferError(BaseModel):
    """A refusal."""

    error: str


def shape(refused: Refused, request_id: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a refusal."""
    return refused.status, {"error": refused.told}


class InferRoute(BodyRoute):
    """A route whose body may have tensors behind its JSON."""

    @staticmethod
    def read(headers: Headers, body: bytes) -> Any:
        """Return the request as if all of it were JSON.

        Raises:
            Refused: If it cannot be read.
        """
        # Triton's client names no type; what it sends cannot be mistaken for anything else.
        require_media_type(headers, (JSON, OCTETS, ""))
        said = headers.get(HEADER)
        if said is None:
            return parse_json(body)
        if not said.isascii() or not said.isdigit() or not 0 < int(said[:20]) <= len(body):
            raise Refused("invalid", f"{HEADER}: expected how many of the body's {len(body)} bytes are JSON")
        value = parse_json(body[: int(said)])
        tensors.fill_inputs(value, body[int(said) :])
        return value


def version_of(served: Served) -> str:
    """Return the version that this protocol calls a bundle by."""
    return served.digest[:_VERSION]


def pick(service: Service, name: str, version: str | None) -> Served:
    """Return the classifier of that name.

    Raises:
        Refused: If there is none, or it has another version.
    """
    served = service.pick(name)
    if version not in (None, version_of(served)):
        raise Refused("not_found", f"no such version; there is {version_of(served)!r}")
    return served


def metadata(served: Served) -> dict[str, Any]:
    """Return what is told of a classifier."""
    labels = list(served.predictor.labels)
    shares = {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(labels)], "parameters": {"labels": labels}}
    return {
        "name": served.name,
        "versions": [version_of(served)],
        "platform": PLATFORM,
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "label", "datatype": "BYTES", "shape": [-1]}, shares],
    }


def answer(answers: Answers, request: InferRequest) -> Response:
    """Return the answer, tensors as JSON or behind it as was asked."""
    labels = [found.label for found in answers.predictions]
    rows = np.array([list(found.probabilities.values()) for found in answers.predictions], dtype=np.float32)
    made: Mapping[str, tuple[dict[str, Any], bytes]] = {
        "label": ({"shape": [len(labels)], "datatype": "BYTES", "data": labels}, tensors.packed(labels)),
        "probabilities": (
            {"shape": list(rows.shape), "datatype": "FP32", "data": rows.ravel().tolist()},
            tensors.packed_floats(rows),
        ),
    }
    outputs, behind = list[dict[str, Any]](), list[bytes]()
    for name, binary in _wanted(request):
        tensor, content = made[name]
        if binary:
            tensor = {key: part for key, part in tensor.items() if key != "data"}
            tensor["parameters"] = {"binary_data_size": len(content)}
            behind.append(content)
        outputs.append({"name": name, **tensor})
    value = {
        "model_name": answers.served.name,
        "model_version": version_of(answers.served),
        **({} if request.id is None else {"id": request.id}),
        "outputs": outputs,
    }
    if not behind:
        return JSONResponse(value)
    head = json.dumps(value).encode()
    return Response(b"".join([head, *behind]), media_type=OCTETS, headers={HEADER: str(len(head))})


def _wanted(request: InferRequest) -> list[tuple[str, bool]]:
    """The outputs that are asked for, and whether as bytes."""
    default = request.parameters is not None and request.parameters.binary_data_output
    if not request.outputs:
        return [("label", default), ("probabilities", default)]
    said = [(each.name, None if each.parameters is None else each.parameters.binary_data) for each in request.outputs]
    return [(name, default if binary is None else binary) for name, binary in said]


def router(service: Service) -> APIRouter:
    """Return the routes under ``/v2``."""

    # Coroutines, though they wait for nothing: the framework gives plain functions a thread for each request.
    async def current(name: Name) -> Served:
        return pick(service, name, None)

    async def exact(name: Name, version: Version) -> Served:
        return pick(service, name, version)

    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], route_class=InferRoute)
    _add_server(routes, service)
    for path, picked in (("/models/{name}", current), ("/models/{name}/versions/{version}", exact)):
        _add_model(routes, service, path, Depends(picked))
    return routes


def _add_server(routes: APIRouter, service: Service) -> None:
    """Add what is told of the server."""

    @routes.get(
        "",
        response_model=ServerMetadata,
        response_description="What serves.",
        responses=refusals(shape, InferError, QUERIES),
    )
    async def server() -> JSONResponse:
        """Describe the server."""
        return JSONResponse({"name": "tailtune", "version": __version__, "extensions": ["binary_tensor_data"]})

    @routes.get(
        "/health/live",
        response_model=Live,
        response_description="The process lives and computes.",
        responses=refusals(shape, InferError, (*ANY, "unready")),
    )
    async def live() -> JSONResponse:
        """Say that the process lives and computes; where not, it must be started again."""
        require_alive(service)
        return JSONResponse({"live": True})

    @routes.get(
        "/health/ready",
        response_model=Ready,
        response_description="New requests are welcome.",
        responses=refusals(shape, InferError, (*ANY, "unready")),
    )
    async def ready() -> JSONResponse:
        """Say whether new requests are welcome."""
        require_ready(service)
        return JSONResponse({"ready": True})


def _add_model(routes: APIRouter, service: Service, path: str, named: Any) -> None:
    """Add the routes of a classifier, of whichever version there is or of a named one."""
    queries = refusals(shape, InferError, (*QUERIES, "not_found", "unready"))

    @routes.get(path, response_model=ModelMetadata, response_description="The classifier.", responses=queries)
    async def model(served: Served = named) -> JSONResponse:
        """Describe a classifier: its tensors, and the labels of the columns of ``probabilities``."""
        return JSONResponse(metadata(served))

    @routes.get(f"{path}/ready", response_model=ModelReady, response_description="It answers.", responses=queries)
    async def model_ready(served: Served = named) -> JSONResponse:
        """Say whether a classifier answers."""
        require_ready(service)
        return JSONResponse({"name": served.name, "ready": True})

    @routes.post(
        f"{path}/infer",
        response_model=InferResponse,
        responses=refusals(shape, InferError, (*TEXTS, "not_found")) | {200: _BINARY_ANSWER},
        openapi_extra=_BINARY_REQUEST,
    )
    async def infer(request: InferRequest, served: Served = named) -> Response:
        """Give the label and the probability of every category for each text.

        Where tensors lie behind the JSON, the header Inference-Header-Content-Length says how many bytes it has.
        """
        return answer(await service.classify(request.inputs[0].data, model=served.name), request)
