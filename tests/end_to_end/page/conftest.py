"""One browser and one service for all tests of the page: a run that was trained, and classifiers of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.browser import chromium
from support.classifiers import several_bundle
from support.pages import hostile_bundle, levels_bundle, many_bundle, wordy_bundle
from support.serving import saved, serving
from support.texts import messages, write_csv
from tailtune.cli import main

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_MADE = {
    "wordy": wordy_bundle,
    "several": several_bundle,
    "intents": many_bundle,
    "topics": levels_bundle,
    "hostile": hostile_bundle,
}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium of this machine."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="package")
def run_folder(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on noisy messages, with a threshold and a promise."""
    folder = tmp_path_factory.mktemp("trained")
    texts, labels = messages(600)
    turned = {"ham": "spam", "spam": "ham"}
    given = [turned[label] if row % 8 in (0, 3) else label for row, label in enumerate(labels)]
    data = write_csv(folder / "noisy.csv", texts, given)
    asked = [
        "--model",
        tiny_llama,
        "--out",
        folder / "spam-filter",
        "--method",
        "probe",
        "--depth",
        2,
        "--no-baselines",
    ]
    asked += ["--no-baselines", "--positive", "spam", "--max-false-positives", 0.1, "--abstain", 0.1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAILTUNE_HOME", str(folder / "home"))
        assert main(["train", str(data), *map(str, asked)]) == 0
    return folder / "spam-filter"


@pytest.fixture(scope="package")
def bundles(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles by the names they are served under."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: saved(tiny_llama, folder / name, make) for name, make in _MADE.items()}


@pytest.fixture(scope="package")
def url(run_folder: Path, bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the run and the bundles are served, with a slash at the end."""
    models = [part for name, path in bundles.items() for part in ("--model", f"{name}={path}")]
    with serving(run_folder, *models, log=tmp_path_factory.mktemp("served") / "log") as server:
        yield f"{server.url}/"
