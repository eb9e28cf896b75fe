"""Rows of the LM head: which tensor they lie in, and each refusal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from support.tiny_models import write_tiny_gpt2
from tailtune.errors import ConfigError, ModelError
from tailtune.models.lm_head import read_head, require_lm_head

ROWS = [3, 300, 7]


def _changed(model: Path, to: Path, tied: bool | None, head: torch.Tensor | None, **settings: object) -> Path:
    shutil.copytree(model, to)
    config = json.loads((to / "config.json").read_text(encoding="utf-8"))
    config.pop("tie_word_embeddings")
    config |= settings | ({} if tied is None else {"tie_word_embeddings": tied})
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = load_file(to / "model.safetensors")
    save_file(tensors | ({} if head is None else {"lm_head.weight": head}), to / "model.safetensors")
    return to


@pytest.mark.parametrize(
    ("tied", "own", "from_head"),
    [(True, False, False), (None, False, False), (True, True, False), (False, True, True), (None, True, True)],
)
def test_the_head_is_the_models_own_or_its_embeddings(
    tiny_llama: Path, tmp_path: Path, tied: bool | None, own: bool, from_head: bool
) -> None:
    """The config decides; where it says nothing, a head that is there is meant."""
    embedding = load_file(tiny_llama / "model.safetensors")["model.embed_tokens.weight"]
    head = embedding.flip(0)
    folder = _changed(tiny_llama, tmp_path / "model", tied, head if own else None)
    found = read_head(folder, ROWS)
    assert torch.equal(found.weight, (head if from_head else embedding)[ROWS])
    assert found.cap is None


def test_names_without_the_prefix_are_found(tmp_path: Path) -> None:
    """The first published GPT-2 files are written so."""
    folder = write_tiny_gpt2(tmp_path / "gpt2", prefix="")
    embedding = load_file(folder / "model.safetensors")["wte.weight"]
    assert torch.equal(read_head(folder, ROWS).weight, embedding[ROWS])


def test_a_head_that_is_missing_misshapen_or_not_finite_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    """With the file and the tensor; rows that are not asked for are not looked at."""
    with pytest.raises(ModelError, match=r"the LM head, lm_head\.weight, is missing"):
        read_head(_changed(tiny_llama, tmp_path / "a", False, None), ROWS)
    with pytest.raises(ModelError, match=r"lm_head\.weight has shape \[400, 31\], expected rows of 32"):
        read_head(_changed(tiny_llama, tmp_path / "b", False, torch.zeros(400, 31)), ROWS)
    with pytest.raises(ModelError, match=r"has shape \[300, 32\]"):
        read_head(_changed(tiny_llama, tmp_path / "c", False, torch.zeros(300, 32)), ROWS)
    broken = torch.zeros(400, 32)
    broken[300, 5] = torch.nan
    folder = _changed(tiny_llama, tmp_path / "d", False, broken)
    with pytest.raises(ModelError, match=r"lm_head\.weight holds NaN or infinite values"):
        read_head(folder, ROWS)
    assert read_head(folder, [3]).weight.shape == (1, 32)


def test_encoders_and_unknown_families_have_none(tiny_bert: Path, tmp_path: Path) -> None:
    """One line each."""
    with pytest.raises(ConfigError, match="is an encoder: it has no LM head") as caught:
        require_lm_head(tiny_bert)
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}', encoding="utf-8")
    with pytest.raises(ConfigError, match="the LM head of model_type 'mamba' is not read"):
        require_lm_head(tmp_path)


def test_the_config_says_how_scores_are_bent(tiny_llama: Path, tmp_path: Path) -> None:
    """Gemma's cap is read where it stands."""
    folder = _changed(tiny_llama, tmp_path / "model", True, None, final_logit_softcapping=30.0)
    assert read_head(folder, ROWS).cap == 30.0
