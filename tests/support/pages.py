"""Classifiers whose answers show all that the page can show, and what goes on around it in a browser."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import uvicorn

from support.classifiers import probe_bundle, reading, ruled_bundle, with_scope
from tailtune.bundle import Bundle
from tailtune.labels import LabelSet
from tailtune.methods.scorers import ProbeScorer
from tailtune.service.app import create_app
from tailtune.service.classify import Service
from tailtune.service.run import bind
from tailtune.text.windows import LongRule

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def many_bundle(model: Path, names: Sequence[str] | None = None) -> Bundle:
    """Return a random probe of 77 classes with long names, or of classes so named."""
    names = names or [f"intent_{'of_long_name_' * (at % 4)}{at}" for at in range(77)]
    made = probe_bundle(model)
    assert isinstance(made.scorer, ProbeScorer)
    random, (depths, _, width) = np.random.default_rng(2), made.scorer.weight.shape
    weight = (random.standard_normal((depths, len(names), width)) / width * 8).astype(np.float32)
    scorer = replace(made.scorer, weight=weight, bias=random.standard_normal(len(names)).astype(np.float32))
    return replace(made, scorer=scorer, labels=LabelSet(names=tuple(names)))


def levels_bundle(model: Path) -> Bundle:
    """Return a random probe of labels that are paths."""
    made = many_bundle(model, ["food/italian", "food/thai", "travel/by train", "travel/by bus"])
    return replace(made, labels=replace(made.labels, separator="/"))


def wordy_bundle(model: Path) -> Bundle:
    """Return ``ruled_bundle`` with a scope that reads the first 16 tokens: it has a reason for everything."""
    return with_scope(reading(ruled_bundle(model), LongRule()))


HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "שלום")


def hostile_bundle(model: Path) -> Bundle:
    """Return a random probe of classes whose names are markup, a formula and from right to left."""
    return many_bundle(model, HOSTILE)


@contextlib.contextmanager
def answering(service: Service) -> Iterator[str]:
    """Yield the address, without a slash, of a service that answers on loopback from a thread: with limits of its own.

    Args:
        service: Answers; not used before.
    """
    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(service), log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Seen:
    """A page and what went on around it.

    Attributes:
        page: The page.
        said: Words on its console, and errors of its scripts.
        asked: Addresses it asked for.
    """

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def opened(browser: Browser, url: str, *, width: int = 1100, scheme: str = "light", **settings: Any) -> Iterator[Seen]:
    """Yield the page at ``url``, loaded, in a context of its own.

    Args:
        browser: Chromium.
        url: Of the service, with a slash and perhaps a part of the page.
        width: Of the window, CSS pixels.
        scheme: "light" or "dark", as the system says.
        settings: Further ones of the context.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **settings)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    seen = Seen(context.new_page())
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    seen.page.on("request", lambda request: seen.asked.append(request.url))
    try:
        seen.page.goto(url)
        seen.page.locator("#main").wait_for()
        yield seen
    finally:
        context.close()
