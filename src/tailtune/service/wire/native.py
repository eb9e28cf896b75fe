"""Our own protocol: everything that is known of an answer, one shape whatever is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tailtune import __version__
from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Refused
from tailtune.service.served import Reload, Served


class ClassifyRequest(BaseModel, extra="forbid"):
    """Texts to classify."""

    texts: Annotated[list[str], Field(min_length=1, description="One or many texts.")]
    model: Annotated[str | None, Field(description="Name of the model; default: the first one served.")] = None
    highlights: Annotated[bool, Field(description="Say which words each answer hangs on; slower.")] = False


class HighlightOut(BaseModel):
    """A word, or some that stand together, and what leaving it out changes."""

    start: Annotated[int, Field(description="Characters before it.")]
    end: Annotated[int, Field(description="Characters up to its end.")]
    text: str
    change: Annotated[float, Field(description="Probability of the label with it, less the one without it.")]


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

    type: str
    message: str
    request_id: str
    error_id: str | None = None


class ErrorResponse(BaseModel):
    """A refusal."""

    error: ErrorDetail


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
    tailtune: str
    loaded_at: datetime
    previous_digest: Annotated[str | None, Field(description="Of the version that it took the place of.")] = None
    last_reload: ReloadInfo | None = None


PATHS = ("/",)


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
    }
    if answers.highlights is not None:
        value["highlights"] = [each.as_json() for each in answers.highlights[place]]
    return value


def model_info(served: Served, reload: Reload | None = None) -> dict[str, Any]:
    """Return what is told of a classifier.

    Args:
        served: The classifier.
        reload: The last one of it.
    """
    bundle, metrics = served.predictor.bundle, served.metrics
    return {
        "name": served.name,
        "digest": served.digest,
        "labels": list(bundle.labels.names),
        "several": bundle.labels.several,
        "method": metrics.get("method"),
        "base_model": metrics.get("model", {}).get("name"),
        "max_tokens": bundle.tokenizer.max_tokens,
        "tailtune": __version__,
        "loaded_at": _moment(served.loaded_at),
        "previous_digest": served.previous,
        "last_reload": None if reload is None else {"outcome": reload.outcome, "at": _moment(reload.at)},
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def router(service: Service) -> APIRouter:
    """Return the routes under /v1."""
    routes = APIRouter(prefix="/v1", tags=["tailtune"])

    @routes.post("/classify", response_model=ClassifyResponse)
    async def classify(request: ClassifyRequest) -> JSONResponse:
        """Give the probability of every category for each text."""
        answers = await service.classify(request.texts, model=request.model, highlights=request.highlights)
        results = [result(answers, place) for place in range(len(request.texts))]
        return JSONResponse(
            {"model": {"name": answers.served.name, "digest": answers.served.digest}, "results": results}
        )

    @routes.get("/model", response_model=ModelInfo)
    async def model(name: str | None = None) -> JSONResponse:
        """Describe a classifier that is served, the first where no name is given."""
        served = service.pick(name)
        return JSONResponse(model_info(served, service.reloads.get(served.name)))

    @routes.get("/models", response_model=list[ModelInfo])
    async def models() -> JSONResponse:
        """Describe all classifiers that are served."""
        return JSONResponse([model_info(each, service.reloads.get(name)) for name, each in service.models.items()])

    return routes
