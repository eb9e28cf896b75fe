"""Our own protocol: everything that is known of an answer, one shape whatever is asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from tailtune import __version__
from tailtune.label_rules import AnyRules, LabelRules
from tailtune.rules import Threshold
from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Kind, Refused
from tailtune.service.served import Served
from tailtune.service.wire.documents import QUERIES, TEXTS, refusals
from tailtune.service.wire.reading import Asked, BodyRoute


class ClassifyRequest(Asked, extra="forbid"):
    """Texts to classify."""

    texts: Annotated[list[str], Field(min_length=1, description="One or many texts.")]
    model: Annotated[str | None, Field(description="Name of the model; default: the first one served.")] = None
    highlights: Annotated[bool, Field(description="Say which words each answer hangs on; slower.")] = False

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["claim your prize now", "lunch at noon?"]}]})


class HighlightOut(BaseModel):
    """A word, or some that stand together, and what leaving it out changes."""

    start: Annotated[int, Field(description="Characters before it.")]
    end: Annotated[int, Field(description="Characters up to its end.")]
    text: str
    change: Annotated[float, Field(description="Probability of the label with it, less the one without it.")]


class Level(BaseModel):
    """The likeliest label of one level, where labels are paths."""

    label: str
    confidence: float


class Result(BaseModel):
    """What the classifier says of one text."""

    label: Annotated[str, Field(description="The category, as the classifier's rules decide it.")]
    labels: Annotated[list[str], Field(description="All categories given, or the set that holds the true one.")]
    probabilities: Annotated[dict[str, float], Field(description="Category -> probability.")]
    confidence: Annotated[float, Field(description="Probability of the label.")]
    abstained: Annotated[bool | None, Field(description="Too uncertain to count; null where nothing is promised.")]
    out_of_scope: Annotated[float | None, Field(description="Share of held-out texts that are less strange.")]
    rule: Annotated[str | None, Field(description="How the label was decided; null for the likeliest.")]
    tokens: Annotated[int, Field(description="Tokens of the text that were read.")]
    tokens_total: Annotated[int, Field(description="Tokens of the whole text.")]
    truncated: Annotated[bool, Field(description="Whether a part of the text was not read.")]
    windows: Annotated[int, Field(description="In how many windows it was read.")]
    levels: Annotated[list[Level], Field(description="Of labels that are paths, coarsest first; else none.")]
    highlights: list[HighlightOut] | None = None


class ModelRef(BaseModel):
    """Which classifier answered."""

    name: str
    digest: Annotated[str, Field(description="SHA-256 of the bundle's manifest.")]


class ClassifyResponse(BaseModel):
    """Answers in the order of the texts."""

    model: ModelRef
    results: list[Result]


class ErrorDetail(BaseModel):
    """Why there is no answer."""

    type: Kind
    message: Annotated[str, Field(description="One line, without any part of a text.")]
    request_id: Annotated[str, Field(description="As in the header X-Request-ID, sent or made.")]
    error_id: Annotated[str | None, Field(description="Of internal errors: the log has its details.")] = None


class ErrorResponse(BaseModel):
    """A refusal."""

    error: ErrorDetail


class Promise(BaseModel):
    """When a label does not count as an answer."""

    error: Annotated[float, Field(description="Promised share of texts answered wrongly.")]
    above: Annotated[float, Field(description="Only labels of a larger probability are answers; 1 for none.")]


class Sizes(BaseModel):
    """What one request may hold, at most."""

    body_bytes: int
    texts: int
    characters: Annotated[int, Field(description="Of one text.")]
    tokens: Annotated[int, Field(description="That are read for one request.")]


class Indices(BaseModel):
    """Population stability index against the validation rows; below 0.1 unmoved, above 0.25 another population."""

    scores: Annotated[float | None, Field(description="Of the probabilities, the mean over the labels.")]
    labels: Annotated[float | None, Field(description="Of the labels given.")]
    lengths: Annotated[float | None, Field(description="Of the tokens read.")]


class DriftOut(BaseModel):
    """How far the last answers are from those on the validation rows; null where that cannot be told (yet)."""

    answers: Annotated[int, Field(description="That are compared.")]
    psi: Indices
    reading: Annotated[Literal["stable", "shifting", "drifted"] | None, Field(description="Of the worst of them.")]
    said: Annotated[str | None, Field(description="The same in a sentence.")]


class ReloadInfo(BaseModel):
    """The last time that the model's files were looked at again."""

    outcome: Annotated[str, Field(description="loaded, unchanged, or failed: then the version before stays.")]
    at: datetime


class ModelInfo(ModelRef):
    """A classifier that is served."""

    labels: list[str]
    several: Annotated[bool, Field(description="Whether a text can have any number of labels.")]
    method: str | None
    base_model: str | None
    max_tokens: int
    promise: Annotated[Promise | None, Field(description="Null where nothing is promised.")]
    thresholds: Annotated[
        dict[str, float], Field(description="Label -> least probability with which it is given, above 1 for never.")
    ]
    limits: Sizes
    drift: DriftOut
    tailtune: str
    loaded_at: datetime
    previous_digest: Annotated[str | None, Field(description="Of the version that it took the place of.")] = None
    last_reload: ReloadInfo | None = None


Name = Annotated[str | None, Query(description="Of a model; default: the first one served.")]

PATHS = ("/v1",)


def shape(refused: Refused, request_id: str) -> tuple[int, dict[str, Any]]:
    """Return the status and body of a refusal."""
    detail = {"type": refused.kind, "message": refused.message, "request_id": request_id}
    if refused.error_id is not None:
        detail["error_id"] = refused.error_id
    return refused.status, {"error": detail}


def result(answers: Answers, place: int) -> dict[str, Any]:
    """Return everything that is known of the answer to one text."""
    found = answers.predictions[place]
    value: dict[str, Any] = {
        "label": found.label,
        "labels": list(found.labels) or list(found.given),
        "probabilities": dict(found.probabilities),
        "confidence": found.confidence,
        "abstained": found.abstained,
        "out_of_scope": found.out_of_scope,
        "rule": found.rule,
        "tokens": found.tokens,
        "tokens_total": found.tokens_total,
        "truncated": found.truncated,
        "windows": found.windows,
        "levels": [{"label": label, "confidence": share} for label, share in found.levels],
    }
    if answers.highlights is not None:
        value["highlights"] = [each.as_json() for each in answers.highlights[place]]
    return value


def model_info(served: Served, service: Service) -> dict[str, Any]:
    """Return what is told of a classifier, of its last reload, and of what one request may ask of it."""
    bundle, metrics, reload = served.predictor.bundle, served.metrics, service.reloads.get(served.name)
    return {
        "name": served.name,
        "digest": served.digest,
        "labels": list(bundle.labels.names),
        "several": bundle.labels.several,
        "method": metrics.get("method"),
        "base_model": metrics.get("model", {}).get("name"),
        "max_tokens": bundle.tokenizer.max_tokens,
        **_decides(bundle.rules, bundle.labels.names),
        "limits": {name: getattr(service.limits, name) for name in Sizes.model_fields},
        "drift": served.drift.as_json(),
        "tailtune": __version__,
        "loaded_at": _moment(served.loaded_at),
        "previous_digest": served.previous,
        "last_reload": None if reload is None else {"outcome": reload.outcome, "at": _moment(reload.at)},
    }


def _decides(rules: AnyRules, names: Sequence[str]) -> dict[str, Any]:
    """The promise, and the thresholds that labels are given by; of one class alone where only one has one."""
    if isinstance(rules, LabelRules):
        return {"promise": None, "thresholds": dict(zip(names, rules.thresholds, strict=True))}
    promise, decision = rules.abstain, rules.decision
    return {
        "promise": None if promise is None else {"error": promise.error, "above": promise.above},
        "thresholds": {names[decision.positive]: decision.threshold} if isinstance(decision, Threshold) else {},
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


async def classify_texts(service: Service, request: ClassifyRequest) -> dict[str, Any]:
    """Return the body of an answer.

    Raises:
        Refused: If there is none.
    """
    answers = await service.classify(request.texts, model=request.model, highlights=request.highlights)
    return {
        "model": {"name": answers.served.name, "digest": answers.served.digest},
        "results": [result(answers, place) for place in range(len(request.texts))],
    }


def router(service: Service) -> APIRouter:
    """Return the routes under /v1."""
    routes = APIRouter(prefix="/v1", tags=["Tailtune"], route_class=BodyRoute)

    @routes.post(
        "/classify",
        response_model=ClassifyResponse,
        response_description="Answers in the order of the texts.",
        responses=refusals(shape, ErrorResponse, (*TEXTS, "not_found")),
    )
    async def classify(request: ClassifyRequest) -> JSONResponse:
        """Give the probability of every category for each text."""
        return JSONResponse(await classify_texts(service, request))

    @routes.get(
        "/model",
        response_model=ModelInfo,
        response_description="The classifier.",
        responses=refusals(shape, ErrorResponse, (*QUERIES, "invalid", "not_found")),
    )
    async def model(name: Name = None) -> JSONResponse:
        """Describe a classifier that is served, the first where no name is given."""
        return JSONResponse(model_info(service.pick(name), service))

    @routes.get(
        "/models",
        response_model=list[ModelInfo],
        response_description="All of them, the first one being the default.",
        responses=refusals(shape, ErrorResponse, QUERIES),
    )
    async def models() -> JSONResponse:
        """Describe all classifiers that are served."""
        return JSONResponse([model_info(each, service) for each in service.models.values()])

    return routes
