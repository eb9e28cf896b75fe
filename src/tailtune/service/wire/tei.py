"""Text Embeddings Inference: ``POST /predict`` and ``GET /info`` as its clients know them.

``POST /`` is the same, for clients that only know where a service is, such as huggingface_hub's InferenceClient: it
sends ``parameters`` and reads a list per text even for one text, so a request with ``parameters`` is answered so.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from tailtune import __version__
from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Kind, Refused
from tailtune.service.served import Served
from tailtune.service.wire.answers import require_side, require_whole, scores
from tailtune.service.wire.documents import QUERIES, TEXTS, refusals
from tailtune.service.wire.reading import Asked, BodyRoute

PATHS = ("/predict", "/info", "/")

ErrorType = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Empty"]
# Status and type where they differ from ours and "Validation".
_ERRORS: dict[Kind, tuple[int, ErrorType]] = {
    "empty": (400, "Empty"),
    "overloaded": (429, "Overloaded"),
    "timeout": (503, "Unhealthy"),
    "unready": (503, "Unhealthy"),
    "internal": (424, "Backend"),
}
_INPUTS = "expected a text, a pair [text, text], or a batch [[text], [text, text], ...]"
_TEXT = {"type": "string"}


def _sequences(value: Any) -> Any:
    """Return ``value`` if it is a text, a pair or a batch."""
    if isinstance(value, str) or _is_sequence(value) or (isinstance(value, list) and all(map(_is_sequence, value))):
        return value
    raise ValueError(_INPUTS)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (1, 2) and all(isinstance(each, str) for each in value)


Inputs = Annotated[
    str | list[str] | list[list[str]],
    PlainValidator(_sequences),
    WithJsonSchema(
        {
            "anyOf": [
                {**_TEXT, "title": "One text"},
                {
                    "type": "array",
                    "items": _TEXT,
                    "minItems": 1,
                    "maxItems": 2,
                    "title": "One pair",
                    "description": "Two texts are one pair, for classifiers that join two columns; one is a text.",
                },
                {
                    "type": "array",
                    "items": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": 2},
                    "minItems": 1,
                    "title": "A batch",
                },
            ]
        }
    ),
]


class TaskParameters(Asked):
    """What the Hugging Face task takes besides the text."""

    function_to_apply: Annotated[
        Literal["sigmoid", "softmax", "none"] | None,
        Field(description="The classifier's own, or none for raw scores."),
    ] = None
    top_k: Annotated[int | None, Field(ge=1, description="So many categories, the likeliest first.")] = None


class PredictRequest(Asked):
    """Texts to classify."""

    inputs: Inputs
    truncate: Annotated[
        bool | None, Field(description="Whether a text may be longer than is read; true where nothing is said.")
    ] = None
    truncation_direction: Annotated[
        Literal["Left", "Right", "left", "right"] | None,
        Field(description="Side that a longer text loses; refused where the classifier was trained otherwise."),
    ] = None
    raw_scores: Annotated[
        bool, Field(description="ln p for probabilities p; ln p/(1-p) where a text can have several categories.")
    ] = False
    parameters: Annotated[
        TaskParameters | None, Field(description="Of the Hugging Face task; the answer is then a list of lists.")
    ] = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"inputs": "claim your prize now"}, {"inputs": [["a"], ["b"]]}]}
    )


class Score(BaseModel):
    """A category and its probability, or raw score."""

    score: float
    label: str


class PredictError(BaseModel):
    """A refusal."""

    error: str
    error_type: ErrorType


class Classifier(BaseModel):
    """Names of the categories by their numbers, and the reverse."""

    id2label: dict[str, str]
    label2id: dict[str, int]


class ModelType(BaseModel):
    """What the model is."""

    classifier: Classifier


class Info(BaseModel):
    """What is served, within which limits."""

    model_id: str
    model_sha: Annotated[str, Field(description="SHA-256 of the bundle's manifest.")]
    model_dtype: Literal["float32", "int8"]
    served_model_name: str
    model_type: ModelType
    max_concurrent_requests: int
    max_input_length: Annotated[int, Field(description="Tokens of one text that are read.")]
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None

    model_config = ConfigDict(protected_namespaces=())


def shape(refused: Refused, request_id: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a refusal."""
    status, kind = _ERRORS.get(refused.kind, (refused.status, "Validation"))
    return status, {"error": refused.told, "error_type": kind}


def texts_of(inputs: str | Sequence[str] | Sequence[Sequence[str]], served: Served) -> list[str]:
    """Return the texts that ``inputs`` mean, pairs joined as the classifier's template joins its two columns.

    Raises:
        Refused: If there is none, or a pair and the classifier reads no two columns.
    """
    if isinstance(inputs, str):
        return [inputs]
    if not inputs:
        raise Refused("empty", "inputs: no text; expected at least one")
    one = isinstance(inputs[0], str)
    return [_text(each, served) for each in ([inputs] if one else inputs)]


def _text(sequence: Any, served: Served) -> str:
    if len(sequence) == 1:
        return str(sequence[0])
    template = served.predictor.bundle.tokenizer.template
    if template is None or len(template.columns) != len(sequence):
        message = (
            "inputs: a list of two texts is one pair, and this classifier reads one text; a batch is [[text], ...]"
        )
        raise Refused("invalid", message, param="inputs")
    return template.join(sequence)


def ranked(answers: Answers, *, raw: bool, most: int | None = None) -> list[list[dict[str, Any]]]:
    """Return for each text its categories with their scores, the highest first.

    Args:
        answers: To all texts.
        raw: See ``scores``.
        most: Categories of each text.
    """
    several = answers.served.predictor.bundle.labels.several
    found = []
    for each in answers.predictions:
        pairs = zip(scores(each, raw=raw, several=several), each.probabilities, strict=True)
        best = sorted(pairs, key=lambda pair: -pair[0])[:most]
        found.append([{"score": score, "label": label} for score, label in best])
    return found


def info(service: Service) -> dict[str, Any]:
    """Return what ``GET /info`` says, of the first classifier: this protocol knows one."""
    served, limits = service.pick(), service.limits
    bundle = served.predictor.bundle
    names = bundle.labels.names
    return {
        "model_id": served.name,
        "model_sha": served.digest,
        "model_dtype": "int8" if bundle.precision == "int8" else "float32",
        "served_model_name": served.name,
        "model_type": {
            "classifier": {
                "id2label": {str(number): name for number, name in enumerate(names)},
                "label2id": {name: number for number, name in enumerate(names)},
            }
        },
        "max_concurrent_requests": limits.requests,
        "max_input_length": limits.tokens if bundle.tokenizer.long.kind == "windows" else bundle.tokenizer.max_tokens,
        "max_batch_tokens": limits.batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


async def predict(service: Service, request: PredictRequest) -> JSONResponse:
    """Return the answer to ``POST /predict``.

    Raises:
        Refused: If there is none.
    """
    started = time.perf_counter()
    served = service.pick()
    parameters = request.parameters or TaskParameters()
    _require_own(parameters, several=served.predictor.bundle.labels.several)
    answers = await service.classify(texts_of(request.inputs, served))
    if request.truncate is False:
        require_whole(answers, hint="with truncate true it is cut", param="truncate")
    require_side(answers, (request.truncation_direction or "").lower() or None, param="truncation_direction")
    raw = request.raw_scores or parameters.function_to_apply == "none"
    found: Any = ranked(answers, raw=raw, most=parameters.top_k)
    one = isinstance(request.inputs, str) or isinstance(request.inputs[0], str)
    flat = one and request.parameters is None
    return JSONResponse(found[0] if flat else found, headers=compute_headers(answers, time.perf_counter() - started))


def _require_own(parameters: TaskParameters, *, several: bool) -> None:
    own = "sigmoid" if several else "softmax"
    if parameters.function_to_apply not in (None, "none", own):
        message = f"parameters.function_to_apply: the probabilities of this classifier are those of a {own}"
        raise Refused("invalid", message, param="parameters")


def compute_headers(answers: Answers, seconds: float) -> dict[str, str]:
    """Return where the time went, in milliseconds, and how much was read.

    Args:
        answers: What is answered.
        seconds: In all.
    """
    total = _milliseconds(seconds)
    return {
        "x-compute-type": answers.served.predictor.device,
        "x-compute-time": total,
        "x-compute-characters": str(answers.characters),
        "x-compute-tokens": str(answers.tokens),
        "x-total-time": total,
        "x-tokenization-time": _milliseconds(answers.tokenization),
        "x-queue-time": _milliseconds(answers.timing.queue),
        "x-inference-time": _milliseconds(answers.timing.inference),
    }


def _milliseconds(seconds: float) -> str:
    return str(round(1000 * seconds))


def router(service: Service) -> APIRouter:
    """Return ``/predict``, its alias ``/`` and ``/info``."""
    routes = APIRouter(tags=["Text Embeddings Inference"], route_class=BodyRoute)
    answered: dict[str, Any] = {
        "response_model": list[Score] | list[list[Score]],
        "response_description": "Categories by falling score: one list for one text or pair, else a list of lists.",
        "responses": refusals(shape, PredictError, TEXTS),
    }

    @routes.post("/predict", **answered)
    async def tei_predict(request: PredictRequest) -> JSONResponse:
        """Give the probability of every category for each text."""
        return await predict(service, request)

    @routes.post("/", **answered)
    async def task(request: PredictRequest) -> JSONResponse:
        """Give the probability of every category; for clients of the Hugging Face task, which know no path."""
        return await predict(service, request)

    @routes.get(
        "/info",
        response_model=Info,
        response_description="What is served.",
        responses=refusals(shape, PredictError, QUERIES),
    )
    async def tei_info() -> JSONResponse:
        """Describe the first classifier that is served and the limits of requests."""
        return JSONResponse(info(service))

    return routes
