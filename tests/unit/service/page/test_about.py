"""What the page tells of a classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.classifiers import probe_bundle, several_bundle
from support.run_metrics import run_metrics
from support.serving import asked, saved, service_of
from support.several_metrics import several_metrics
from tailtune.evaluate.operating import one_of, operating_curves
from tailtune.service.classify import Service
from tailtune.service.page.about import about, report_of
from tailtune.service.served import Served


@pytest.fixture(scope="module")
def bundle(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tiny_llama, tmp_path_factory.mktemp("made") / "small", probe_bundle)


def test_what_a_run_measured(bundle: Path) -> None:
    """Verdict, figures, baselines, classes, and the curves by the names of the classes."""
    metrics, _ = run_metrics(("ham", "other", "spam"))
    truth = np.array([0, 1, 2, 0])
    curves = operating_curves(one_of(truth, 3), np.eye(3)[truth] * 0.8 + 0.1)
    metrics["detail"]["thresholds"] = {"test": curves, "validation": {}}
    told = about(replace(Served.load("small", bundle), metrics=metrics))
    assert told["verdict"] == metrics["verdict"]["text"]
    assert {"name": "accuracy"}.items() <= told["figures"][0].items()
    assert [table["title"] for table in told["tables"]] == ["Beside cheap baselines", "Each class"]
    assert told["tables"][0]["rows"][0][0] == "this classifier"
    assert set(told["thresholds"]) == {"test"}
    assert set(told["thresholds"]["test"]["classes"]) == {"ham", "other", "spam"}
    assert told["thresholds"]["test"]["classes"]["ham"]["positives"] == 2


def test_several_labels(tiny_llama: Path, tmp_path: Path) -> None:
    """The figures and tables are those of labels."""
    bundle = saved(tiny_llama, tmp_path / "labels", several_bundle)
    told = about(replace(Served.load("labels", bundle), metrics=several_metrics()[0]))
    assert told["figures"][0]["name"] == "micro F1"
    assert [table["title"] for table in told["tables"]][-1] == "Each label"


def test_a_bundle_alone(bundle: Path) -> None:
    """Nothing is made up."""
    told = about(Served.load("small", bundle))
    assert (told["verdict"], told["figures"], told["tables"], told["thresholds"], told["card"]) == ("", [], [], {}, [])
    assert told["report"] is False


def test_the_report_is_that_of_the_run(bundle: Path, tmp_path: Path) -> None:
    """A page beside a bundle is a report only in a run folder."""
    (bundle.parent / "report.html").write_text("not ours", encoding="utf-8")
    assert report_of(Served.load("small", bundle)) is None
    run = tmp_path / "run"
    run.mkdir()
    bundle.rename(run / "bundle")
    try:
        served = Served.load("run", run)
        assert report_of(served) is None
        (run / "report.html").write_text("<p>ours</p>", encoding="utf-8")
        assert report_of(served) == run / "report.html"
        (answer,) = asked(Service({"run": served}), ("GET", "/report", {}))
        assert answer.text == "<p>ours</p>"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
    finally:
        (run / "bundle").rename(bundle)


def test_who_is_not_there(bundle: Path) -> None:
    """Names of no model and of no file are refused, in our own shape."""
    paths = ("/page/about?model=none", "/report?model=none", "/report", "/page/index.py")
    for answer in asked(service_of(bundle), *(("GET", path, {}) for path in paths)):
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")
