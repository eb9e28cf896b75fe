"""What cannot be run through the reference library is said in one line; its configs run no code."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from support.generic_models import reference_model
from support.texts import random_tokens
from tailtune.errors import ConfigError, ModelError
from tailtune.features.backbone import Backbone, Wanted
from tailtune.models.generic import structure
from tailtune.models.generic.config import read_generic
from tailtune.models.generic.library import harmless
from tailtune.models.generic.loading import load_generic
from tailtune.models.generic.skeleton import skeleton
from tailtune.models.int8 import to_int8
from tailtune.models.parts import kind_of, load_part, read_shape, shape_from_json, title_of
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokens


@pytest.fixture(scope="module")
def falcon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read it only."""
    folder = tmp_path_factory.mktemp("falcon")
    reference_model("falcon", folder)
    return folder


def copied(
    source: Path, folder: Path, change: Callable[[dict[str, Tensor]], None] | None = None, **config: Any
) -> Path:
    """Return ``folder``, holding ``source`` with its tensors changed and other values in its config."""
    tensors = load_file(source / "model.safetensors")
    if change is not None:
        change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    raw = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**raw, **config}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"model_type": "frobnicator"},
            r"'frobnicator' is not native \(native: gpt2, .*\); transformers 5\S* does not",
        ),
        ({"model_type": "frobnicator", "auto_map": {"AutoModel": "x.Y"}}, r"comes with it \(auto_map\) is never run"),
        ({}, "model_type None is not native"),
        ({"model_type": "vit"}, "neither a decoder nor an encoder of texts"),
        ({"model_type": "t5"}, "neither a decoder nor an encoder of texts"),
        ({"model_type": "bart"}, "an encoder with a decoder"),
        ({"model_type": "falcon", "quantization_config": {"quant_method": "gptq"}}, "weights are quantised"),
        ({"model_type": "xlnet", "n_layer": 2, "d_model": 8, "n_head": 2}, "become states of shape"),
        ({"model_type": "xlm", "n_layers": 2, "emb_dim": 8, "n_heads": 2}, "computed between blocks 0 and 1"),
        ({"model_type": "rwkv", "num_hidden_layers": 2, "hidden_size": 32}, "asks its blocks for 'attention'"),
        ({"model_type": "falcon", "hidden_size": "wide"}, "transformers cannot"),
        ({"model_type": "falcon", "num_attention_heads": 7}, "transformers cannot"),
    ],
)
def test_what_cannot_be_run_is_said(raw: dict[str, Any], said: str) -> None:
    """One line, which says too that there is no family here."""
    with pytest.raises(ModelError, match=said) as caught:
        read_shape(raw)
    assert "is not native" in str(caught.value)
    assert "\n" not in str(caught.value)


def _drop(tensors: dict[str, Tensor]) -> None:
    del tensors["transformer.h.2.mlp.dense_h_to_4h.weight"]


def _misshape(tensors: dict[str, Tensor]) -> None:
    tensors["transformer.h.1.mlp.dense_h_to_4h.weight"] = torch.zeros(3, 3)


def _poison(tensors: dict[str, Tensor]) -> None:
    tensors["transformer.ln_f.weight"][3] = float("nan")


def _add(tensors: dict[str, Tensor]) -> None:
    tensors["transformer.h.1.sinks"] = torch.zeros(3)


def _no_norm(tensors: dict[str, Tensor]) -> None:
    del tensors["transformer.ln_f.bias"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop, r"1 tensors are missing: h\.2\.mlp\.dense_h_to_4h\.weight"),
        (_no_norm, r"1 tensors are missing: ln_f\.bias"),
        (_misshape, r"h\.1\.mlp\.dense_h_to_4h\.weight has shape \[3, 3\], expected \[128, 32\]"),
        (_poison, r"transformer\.ln_f\.weight holds NaN or infinite values"),
        (_add, r"1 tensors are not known in this falcon: (transformer\.)?h\.1\.sinks"),
    ],
)
def test_wrong_tensors_are_named(
    falcon: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], said: str
) -> None:
    """Missing, misshapen, unknown or not finite: one line with the name, as for native models."""
    with pytest.raises(ModelError, match=said):
        load_part(copied(falcon, tmp_path, change))


def test_names_are_read_with_and_without_prefix(falcon: Path, tmp_path: Path) -> None:
    """As the language model saves them, and as the bare model does."""

    def bare(tensors: dict[str, Tensor]) -> None:
        kept = {name.removeprefix("transformer."): tensors.pop(name) for name in list(tensors)}
        tensors.update({name: tensor for name, tensor in kept.items() if name != "lm_head.weight"})

    one, other = load_generic(falcon).state_dict(), load_generic(copied(falcon, tmp_path, bare)).state_dict()
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_loading_draws_no_random_numbers(falcon: Path) -> None:
    """What a program draws does not depend on the models that it loads."""
    drawn = []
    for load in (False, True):
        torch.manual_seed(3)
        if load:
            structure._structure_of.cache_clear()
            load_generic(falcon)
        drawn.append(torch.rand(1))
    assert torch.equal(*drawn)


def test_damage_above_the_cut_does_not_matter(falcon: Path, tmp_path: Path) -> None:
    """A cut reads only its blocks."""
    assert len(load_generic(copied(falcon, tmp_path, _drop), depth=2).blocks) == 2


def test_half_precision_is_read_as_fp32(falcon: Path, tmp_path: Path) -> None:
    """Features are computed in fp32 whatever the file and the config say."""

    def halve(tensors: dict[str, Tensor]) -> None:
        tensors.update({name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()})

    decoder = load_generic(copied(falcon, tmp_path, halve, dtype="bfloat16", torch_dtype="bfloat16"))
    assert {tensor.dtype for tensor in decoder.state_dict().values()} == {torch.float32}


def test_nothing_in_a_config_runs_code(falcon: Path, tmp_path: Path) -> None:
    """Code to load, kernels to fetch and private settings are left out before the library sees the config."""
    hostile: dict[str, Any] = {
        "auto_map": {"AutoModel": "evil.Model"},
        "_attn_implementation_internal": "someone/kernel",
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "nested": {"_experts_implementation": "x", "kept": 1},
    }
    assert harmless(hostile) == {"nested": {"kept": 1}}
    config = load_generic(copied(falcon, tmp_path, **hostile)).config
    assert "someone" not in json.dumps(config.as_json())


def test_a_shape_comes_back_from_its_json(falcon: Path) -> None:
    """What a bundle keeps is enough."""
    raw = json.loads((falcon / "config.json").read_text(encoding="utf-8"))
    shape = read_generic(raw)
    assert shape_from_json(json.loads(json.dumps(shape.as_json()))) == shape
    assert (kind_of(raw), kind_of({"model_type": "llama"}), kind_of({})) == ("generic", "native", "generic")
    assert title_of(shape) == "falcon"


def test_int8_is_for_native_models(falcon: Path) -> None:
    """Said with the flag that helps."""
    with pytest.raises(ConfigError, match="--precision fp32"):
        to_int8(load_generic(falcon).below(2))


def test_threads_do_not_mix_their_texts(falcon: Path) -> None:
    """Two threads run one decoder on different texts at once, and get what each gets alone."""
    backbone = Backbone(load_generic(falcon), device=torch.device("cpu"))
    texts = [random_tokens([length] * 3, seed=length, vocabulary=97) for length in (3, 8, 13, 21)]

    def run(tokens: Tokens) -> list[Any]:
        return [next(iter(backbone.run(tokens, Wanted(pooled=(3,))))).pooled[3] for _ in range(10)]

    alone = [run(tokens)[0] for tokens in texts]
    with ThreadPoolExecutor(len(texts)) as pool:
        together = list(pool.map(run, texts))
    for expected, found in zip(alone, together, strict=True):
        for got in found:
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_only_this_thread_makes_parameters_without_memory(tiny_llama: Path, falcon: Path) -> None:
    """While a skeleton is made another thread may load a native model."""
    raw = harmless(json.loads((falcon / "config.json").read_text(encoding="utf-8")))
    stop = threading.Event()
    wrong: list[str] = []

    def build() -> None:
        while not stop.is_set():
            wrong.extend(p.device.type for p in nn.Linear(3, 3).parameters() if p.is_meta)

    thread = threading.Thread(target=build)
    thread.start()
    made = [skeleton(raw) for _ in range(3)]
    stop.set()
    thread.join()
    assert not wrong
    assert all(parameter.is_meta for model in made for parameter in model.parameters())
    assert not any(parameter.is_meta for parameter in load_decoder(tiny_llama).parameters())
