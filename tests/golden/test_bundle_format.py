"""Bundles saved by earlier versions load for ever and answer as they did.

``bundle_v1_probe`` and ``bundle_v1_tail`` were written by version 0.1.0 and are never written again; a new format gets
new folders beside them: ``bundle_v2_probe`` names its precision, ``bundle_v3_ruled`` has calibration and a decision,
``bundle_v4_windows`` reads long texts in windows, ``bundle_v4_scoped`` tells strange texts, ``bundle_v4_several`` is
for any number of labels per text, ``bundle_v5_padded`` reads pads, ``bundle_v5_gemma`` and ``bundle_v5_gemma_tail``
stand on a model with windows, caps and norms on both sides, ``bundle_v5_generic`` is a Falcon, whose blocks are the
reference library's, ``bundle_v5_encoder`` is read at its first token, ``bundle_v6_blend`` answers with a tail, counted
letters and a probe on another model, ``bundle_v6_ngrams`` with counted letters alone, ``bundle_v6_pooled_tail`` with a
tail that reads the mean of all tokens too, ``bundle_v6_words`` has a template and the LM head's rows of words,
``bundle_v6_guided`` a probe on top of them.
Made with ``PYTHONPATH=tests python tests/golden/test_bundle_format.py NUMBER NAME ...``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from support.architectures import ARCHITECTURES
from support.classifiers import (
    LABELS,
    blended_bundle,
    guided_bundle,
    ngrams_bundle,
    padded_bundle,
    pooled_tail_bundle,
    probe_bundle,
    ruled_bundle,
    scoped_bundle,
    several_bundle,
    tail_bundle,
    windows_bundle,
    words_bundle,
)
from support.generic_models import write_generic
from support.reference import write_reference
from support.tiny_models import VOCABULARY, tiny_tokenizer, write_tiny_bert, write_tiny_llama
from tailtune.bundle import Bundle
from tailtune.predict import Predictor

FOLDER = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("bundle_v*")))
def test_an_old_bundle_answers_as_it_did(name: str) -> None:
    """Verified against its hashes, loaded, and its golden texts scored again."""
    predictor = Predictor.load(FOLDER / name)
    assert predictor.labels == LABELS.names
    assert len(predictor.bundle.golden) >= 3
    predictor.check_golden()


def test_there_is_one_of_each_method() -> None:
    """The folders are really there."""
    made = {"bundle_v1_probe", "bundle_v1_tail", "bundle_v2_probe", "bundle_v3_ruled", "bundle_v4_windows"}
    made |= {"bundle_v4_scoped", "bundle_v4_several", "bundle_v5_padded", "bundle_v5_gemma", "bundle_v5_gemma_tail"}
    made |= {"bundle_v5_generic", "bundle_v5_encoder", "bundle_v6_blend", "bundle_v6_ngrams", "bundle_v6_pooled_tail"}
    made |= {"bundle_v6_words", "bundle_v6_guided"}
    assert made <= {path.name for path in FOLDER.iterdir()}


def _write_gemma(folder: Path) -> Path:
    """A tiny Gemma 3 with the attention cap of Gemma 2; only this needs the reference library."""
    tiny = ARCHITECTURES["gemma3"]
    settings = {**tiny.settings, "vocab_size": VOCABULARY, "attn_logit_softcapping": 20.0}
    write_reference(replace(tiny, settings=settings), folder)
    tiny_tokenizer(vocabulary=VOCABULARY).save(str(folder / "tokenizer.json"))
    return folder


def _write(number: str, names: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        llama = write_tiny_llama(Path(folder, "llama"), seed=11, blocks=3)
        bert = write_tiny_bert(Path(folder, "bert"))
        kinds: dict[str, Callable[[Path], Bundle]] = {
            "probe": probe_bundle,
            "ruled": ruled_bundle,
            "windows": windows_bundle,
            "scoped": scoped_bundle,
        }
        kinds |= {"several": several_bundle, "padded": padded_bundle, "pooled_tail": pooled_tail_bundle}
        kinds |= {"ngrams": ngrams_bundle, "blend": lambda llama: blended_bundle(llama, bert)}
        kinds |= {"words": words_bundle, "guided": guided_bundle}
        made = {name: (make, llama) for name, make in kinds.items()}
        if any(name.startswith("gemma") for name in names):
            gemma = _write_gemma(Path(folder, "gemma"))
            made |= {"gemma": (probe_bundle, gemma), "gemma_tail": (tail_bundle, gemma)}
        if "generic" in names:
            made["generic"] = (probe_bundle, write_generic("falcon", Path(folder, "falcon")))
        if "encoder" in names:
            made["encoder"] = (probe_bundle, bert)
        for name in names:
            make, model = made[name]
            Predictor(make(model), device="cpu").save(FOLDER / f"bundle_v{number}_{name}")


if __name__ == "__main__":
    _write(sys.argv[1], sys.argv[2:])
