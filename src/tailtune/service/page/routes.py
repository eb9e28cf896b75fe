"""The page, its files, and the report of the run, each with the policy that it needs and no more."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from tailtune.service.classify import Service
from tailtune.service.page.about import about, report_of
from tailtune.service.refusals import Refused
from tailtune.service.wire import tei
from tailtune.service.wire.documents import QUERIES, refusals

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The report brings a policy of its own, which allows its sheet by the hash; both hold. No script in either.
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the page, read once.

    Attributes:
        content: All of it.
        media_type: Of the answer.
        etag: Of its content.
    """

    content: bytes
    media_type: str
    etag: str

    def answer(self, request: Request) -> Response:
        """The file, or that the browser has it already: it asks each time, so that a new version shows at once."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if self.etag in request.headers.get("if-none-match", ""):  # a proxy may have made it weak, or one of several
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def router(service: Service) -> APIRouter:
    """Return the routes of the page."""
    files = _files()
    routes = APIRouter(tags=["Page"])

    # The one route of the page that is documented: its path is that of a route for programs too.
    @routes.get(
        "/",
        response_class=HTMLResponse,
        response_description="HTML.",
        responses=refusals(tei.shape, tei.PredictError, QUERIES),
    )
    async def index(request: Request) -> Response:
        """Show the page to people."""
        return files["index.html"].answer(request)

    @routes.get("/page/about", include_in_schema=False)
    def told(model: str | None = None) -> JSONResponse:
        return JSONResponse(about(service.pick(model)), headers={"Cache-Control": "no-cache"})

    @routes.get("/page/{name}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise Refused("not_found", "no such file of the page")
        return files[name].answer(request)

    @routes.get("/report", include_in_schema=False)
    def report(model: str | None = None) -> Response:
        found = report_of(service.pick(model))
        if found is None:
            raise Refused("not_found", "no report: it lies in a run folder, and a bundle alone is served")
        headers = {"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-cache"}
        return Response(found.read_bytes(), media_type="text/html", headers=headers)

    return routes


def _files() -> dict[str, _File]:
    found = {}
    for path in resources.files("tailtune.service.page").joinpath("files").iterdir():
        suffix = path.name[path.name.rfind(".") :]
        if suffix in _TYPES:
            content = path.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[path.name] = _File(content, f"{_TYPES[suffix]}; charset=utf-8", etag)
    return found
