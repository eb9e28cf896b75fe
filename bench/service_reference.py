"""The service that a tutorial builds: FastAPI and the reference library's pipeline, one text per request.

For bench/service.py. The model is at its whole depth, its head is fresh: what it answers is not looked at, how fast is.

    MODEL=FOLDER STYLE=def python -m uvicorn --app-dir bench --factory service_reference:create_app
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, FastAPI

from tailtune.bench import reference
from tailtune.bench.machine import library


def create_app() -> FastAPI:
    """Return the application; MODEL is the pretrained model's folder, STYLE how its one function is written.

    Both are found in tutorials: ``def`` runs each request in a thread of a pool, ``async`` one after the other in the
    event loop.
    """
    folder = Path(os.environ["MODEL"])
    model = reference.classifier(folder, classes=int(os.environ.get("CLASSES", "2"))).requires_grad_(False)
    answer = library("transformers").pipeline(
        "text-classification", model=model, tokenizer=reference.tokenizer(folder), device="cpu"
    )
    app = FastAPI()

    if os.environ.get("STYLE", "def") == "async":

        @app.post("/classify")
        async def classify_here(text: Annotated[str, Body(embed=True)]) -> list[dict[str, Any]]:
            """Answer in the event loop."""
            return list(answer(text))

    else:

        @app.post("/classify")
        def classify_in_a_thread(text: Annotated[str, Body(embed=True)]) -> list[dict[str, Any]]:
            """Answer in a thread."""
            return list(answer(text))

    @app.get("/ready")
    def ready() -> dict[str, str]:
        """Say that the model is loaded."""
        return {"status": "ok"}

    return app
