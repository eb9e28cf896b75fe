"""``tailtune inspect depth`` draws the curve of a run, ``parts`` lists what answers; both say where none is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.classifiers import blended_bundle, ngrams_bundle, probe_bundle
from tailtune.cli import main
from tailtune.predict import Predictor


def test_the_curve_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Drawn for people, whole as JSON."""
    point = {"depth": 3, "rows": 9, "accuracy": 1.0, "interval": [0.7, 1.0], "loss": 0.1}
    point |= {"milliseconds": 2.0, "megabytes": 30.0, "within_limits": True}
    scan = {"chosen_depth": 3, "why_precision": "fp32 products", "sampled_rows": 9, "points": [point]}
    (tmp_path / "metrics.json").write_text(json.dumps({"depth_scan": scan}))
    assert main(["inspect", "depth", str(tmp_path)]) == 0
    assert "100.00 %" in capsys.readouterr().out
    assert main(["inspect", "depth", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == scan


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read"), ("{}", "no depth scan"), ("[", "cannot be read")]
)
def test_without_a_curve(tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is no run, a run at a given depth, a broken file: one line, exit code 4."""
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert main(["inspect", "depth", str(tmp_path)]) == 4
    assert said in capsys.readouterr().err


def test_the_parts_of_a_classifier(
    tiny_llama: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its weight, in a bundle or the run around it; a language model alone is one part, and none is none."""
    makes = {"blend": blended_bundle(tiny_llama, tiny_bert), "alone": probe_bundle(tiny_llama)}
    for name, made in {**makes, "ngrams": ngrams_bundle(tiny_llama)}.items():
        Predictor(made, device="cpu").save(tmp_path / name / "bundle")
    names = {"blend": ["tiny tail at depth 3", "character n-grams", "tiny probe at depth 3"]}
    names |= {"alone": ["tiny probe at depth 3"], "ngrams": ["character n-grams"]}
    for name, expected in names.items():
        for place in (tmp_path / name, tmp_path / name / "bundle"):
            assert main(["inspect", "parts", str(place), "--json"]) == 0
            parts = json.loads(capsys.readouterr().out)["parts"]
            assert [part["name"] for part in parts] == expected
    assert main(["inspect", "parts", str(tmp_path / "blend")]) == 0
    assert "0.3" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "{}", "[", '{"classifier": {"weights": [1, 2]}, "about": {}}'])
def test_no_parts_without_a_classifier(tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is no bundle, or a broken one: one line, exit code 4."""
    if content is not None:
        (tmp_path / "bundle.json").write_text(content)
    assert main(["inspect", "parts", str(tmp_path)]) == 4
    assert "error: " in capsys.readouterr().err
