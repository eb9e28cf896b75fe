"""vLLM's ``POST /classify``, as its clients know it.

As there, a text that is not read whole is refused unless ``truncate_prompt_tokens`` allows it to be cut, and unknown
keys are passed over. Settings that would change an answer which this classifier cannot change are refused.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Kind, Refused
from tailtune.service.wire.answers import require_side, require_whole, scores
from tailtune.service.wire.documents import TEXTS, refusals
from tailtune.service.wire.reading import Asked, BodyRoute

PATHS = ("/classify",)

# Status and type, as its server and the OpenAI interface that it follows have them.
_ERRORS: dict[Kind, tuple[int, str]] = {
    "invalid": (400, "BadRequestError"),
    "empty": (400, "BadRequestError"),
    "unauthorized": (401, "AuthenticationError"),
    "not_found": (404, "NotFoundError"),
    "overloaded": (429, "RateLimitError"),
    "timeout": (503, "ServiceUnavailableError"),
    "unready": (503, "ServiceUnavailableError"),
    "internal": (500, "InternalServerError"),
}


def _texts(value: Any) -> list[str]:
    """Return the texts of ``input``."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise ValueError("expected a text or a list of texts")
    if value and all(isinstance(each, str) for each in value):
        return value
    if any(isinstance(each, int | list) for each in value):
        raise ValueError("token ids are not read, send texts: the ids of another tokenizer mean other words")
    raise ValueError("expected a text or a list of texts, at least one")


Input = Annotated[
    list[str],
    PlainValidator(_texts),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    ),
]


def _true(value: bool) -> bool:
    if not value:
        raise ValueError("expected true")
    return value


# A Literal would take 1 for it.
True_ = Annotated[bool, AfterValidator(_true), WithJsonSchema({"type": "boolean", "const": True})]


class ClassificationRequest(Asked):
    """Texts to classify."""

    input: Annotated[Input, Field(description="One text or a list of texts.")]
    model: Annotated[str | None, Field(description="Name of the model; default: the first one served.")] = None
    user: Annotated[str | None, Field(description="Changes nothing.")] = None
    truncate_prompt_tokens: Annotated[
        int | None, Field(ge=-1, description="-1 to have longer texts cut, or as many tokens as are read anyway.")
    ] = None
    truncation_side: Annotated[
        Literal["left", "right"] | None,
        Field(description="Side that a longer text loses; refused where the classifier was trained otherwise."),
    ] = None
    padding: Annotated[Literal["do_not_pad"] | None, Field(description="Texts are never padded.")] = None
    request_id: Annotated[str | None, Field(max_length=128, description="Ends the id of the answer.")] = None
    priority: Annotated[int, Field(ge=0, le=0, description="All requests have the same.")] = 0
    cache_salt: Annotated[str | None, Field(min_length=1, max_length=1024, description="Changes nothing.")] = None
    add_special_tokens: Annotated[True_, Field(description="Texts are read as in training.")] = True
    use_activation: Annotated[bool | None, Field(description="False for raw scores, as in TEI's raw_scores.")] = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "spam-filter", "input": ["claim your prize now"]}]}
    )

    @model_validator(mode="before")
    @classmethod
    def _no_other_variant(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if "messages" in value:
                raise ValueError("messages: this classifier reads texts and has no chat template; send input")
            if old := [name for name in ("softmax", "activation") if value.get(name) is False]:
                raise ValueError(f"{old[0]}: was renamed; send use_activation")
        return value


class ClassificationData(BaseModel):
    """The answer to one text."""

    index: int
    label: Annotated[str | None, Field(description="As the classifier's rules decide it.")]
    probs: Annotated[list[float], Field(description="In the order of the classifier's labels.")]
    num_classes: int


class Usage(BaseModel):
    """What was read."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: Annotated[int, Field(ge=0, le=0)]
    prompt_tokens_details: None


class ClassificationResponse(BaseModel):
    """Answers in the order of the texts."""

    id: Annotated[str, Field(pattern="^classify-")]
    object: Literal["list"]
    created: Annotated[int, Field(description="Seconds since 1970.")]
    model: str
    data: list[ClassificationData]
    usage: Usage


class ErrorInfo(BaseModel):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: int


class ClassificationError(BaseModel):
    """A refusal."""

    error: ErrorInfo


def shape(refused: Refused, request_id: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a refusal."""
    status, kind = _ERRORS.get(refused.kind, (refused.status, "BadRequestError"))
    return status, {"error": {"message": refused.told, "type": kind, "param": refused.param, "code": status}}


def answer(answers: Answers, request: ClassificationRequest) -> dict[str, Any]:
    """Return the body of an answer."""
    served = answers.served
    several, raw = served.predictor.bundle.labels.several, request.use_activation is False
    data = [
        {"index": place, "label": found.label, "probs": scores(found, raw=raw, several=several)}
        for place, found in enumerate(answers.predictions)
    ]
    tokens = sum(found.tokens for found in answers.predictions)
    return {
        "id": f"classify-{request.request_id or uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": served.name,
        "data": [{**each, "num_classes": len(served.predictor.labels)} for each in data],
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
    }


def _require_length(answers: Answers, most: int | None) -> None:
    """Refuse what vLLM would read otherwise: a text cut though nobody asked, or left longer than was asked."""
    if most is None:
        hint = "with truncate_prompt_tokens -1 it is cut"
        require_whole(answers, hint=hint, param="truncate_prompt_tokens")
    elif most != -1 and any(found.tokens > most for found in answers.predictions):
        message = "truncate_prompt_tokens: this classifier reads more of these texts; send -1 for as much as it reads"
        raise Refused("invalid", message, param="truncate_prompt_tokens")


def router(service: Service) -> APIRouter:
    """Return ``/classify``."""
    routes = APIRouter(tags=["vLLM"], route_class=BodyRoute)

    @routes.post(
        "/classify",
        response_model=ClassificationResponse,
        response_description="Answers in the order of the texts.",
        responses=refusals(shape, ClassificationError, (*TEXTS, "not_found")),
    )
    async def vllm_classify(request: ClassificationRequest) -> JSONResponse:
        """Give the probability of every category for each text."""
        answers = await service.classify(request.input, model=request.model)
        _require_length(answers, request.truncate_prompt_tokens)
        require_side(answers, request.truncation_side, param="truncation_side")
        return JSONResponse(answer(answers, request))

    return routes
