"""Bundles saved by earlier versions load for ever and answer as they did.

``bundle_v1_probe`` and ``bundle_v1_tail`` were written by version 0.1.0 and are never written again; a new format gets
new folders beside them: ``bundle_v2_probe`` names its precision, ``bundle_v3_ruled`` has calibration and a decision,
``bundle_v4_windows`` reads long texts in windows, ``bundle_v4_scoped`` tells strange texts, ``bundle_v4_several`` is
for any number of labels per text, ``bundle_v5_generic`` is a Falcon, whose blocks are the reference library's.
Made with ``PYTHONPATH=tests python tests/golden/test_bundle_format.py NUMBER NAME ...``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.classifiers import (
    LABELS,
    probe_bundle,
    ruled_bundle,
    scoped_bundle,
    several_bundle,
    windows_bundle,
)
from support.generic_models import write_generic
from support.tiny_models import write_tiny_llama
from tailtune.predict import Predictor

FOLDER = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("bundle_v*")))
def test_an_old_bundle_answers_as_it_did(name: str) -> None:
    """Verified against its hashes, loaded, and its golden texts scored again."""
    predictor = Predictor.load(FOLDER / name)
    assert predictor.labels == LABELS.names
    assert len(predictor.bundle.golden) == 3
    predictor.check_golden()


def test_there_is_one_of_each_method() -> None:
    """The folders are really there."""
    made = {"bundle_v1_probe", "bundle_v1_tail", "bundle_v2_probe", "bundle_v3_ruled", "bundle_v4_windows"}
    made |= {"bundle_v4_scoped", "bundle_v4_several", "bundle_v5_generic"}
    assert made <= {path.name for path in FOLDER.iterdir()}


def _write(number: str, names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_llama(Path(folder), seed=11, blocks=3)
        kinds = {"probe": probe_bundle, "ruled": ruled_bundle, "windows": windows_bundle, "scoped": scoped_bundle}
        for name, make in {**kinds, "several": several_bundle}.items():
            if name in names:
                Predictor(make(model), device="cpu").save(FOLDER / f"bundle_v{number}_{name}")
    if "generic" in names:
        with tempfile.TemporaryDirectory() as folder:
            made = probe_bundle(write_generic("falcon", Path(folder)))
            Predictor(made, device="cpu").save(FOLDER / f"bundle_v{number}_generic")


if __name__ == "__main__":
    _write(sys.argv[1], sys.argv[2:])
