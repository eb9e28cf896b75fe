"""What a GGUF file leaves unsaid, or says as a tensor, stands in config.json in the family's own words."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.tiny_gguf import converted, random_model, write_gguf
from tailtune.errors import ModelError
from tailtune.models.gguf.configs import CONFIGS, Found, read_sizes
from tailtune.models.gguf.convert import convert_gguf
from tailtune.models.gguf.metadata import Metadata, open_gguf
from tailtune.models.gguf.rotary import FACTORS, llama3_factors, rotary
from tailtune.models.gguf.tensors import Sizes

Floats = NDArray[np.float64]


def _metadata(**fields: Any) -> Metadata:
    """The fields of a file that holds nothing else."""
    from gguf import GGUFValueType, GGUFWriter

    kinds = {int: GGUFValueType.UINT32, float: GGUFValueType.FLOAT32, str: GGUFValueType.STRING}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        writer = GGUFWriter(path, "any")
        for key, value in fields.items():
            writer.add_key_value(key, value, kinds.get(type(value), GGUFValueType.ARRAY))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        writer.close()
        return open_gguf(path)[0]


def _config(architecture: str, **fields: Any) -> dict[str, Any]:
    """The config of a model of the given fields, written without the architecture before them."""
    sizes = {
        "block_count": 4,
        "context_length": 64,
        "embedding_length": 64,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.layer_norm_epsilon": 1e-5,
        "attention.layer_norm_rms_epsilon": 1e-6,
    }
    metadata = _metadata(**{f"{architecture}.{key}": value for key, value in {**sizes, **fields}.items()})
    found = Found(
        metadata=metadata,
        architecture=architecture,
        sizes=read_sizes(metadata, architecture, 100),
        rotary={"rope_theta": 10000.0},
        groups=frozenset(),
    )
    return CONFIGS[architecture](found)


@pytest.mark.parametrize(("architecture", "largest"), [("gemma2", 46), ("gemma3", 62)])
def test_the_queries_of_the_largest_gemmas_are_scaled_by_width_over_heads(architecture: str, largest: int) -> None:
    """Both 27B models differ from their smaller ones in this, and no field says so; told by their number of blocks."""
    wide = {"attention.key_length": 128}
    assert _config(architecture, block_count=largest, **wide)["query_pre_attn_scalar"] == 64 // 4
    assert _config(architecture, block_count=largest - 4, **wide)["query_pre_attn_scalar"] == 128


@pytest.mark.parametrize(
    ("architecture", "fields", "expected"),
    [
        ("gemma2", {}, "sfsf"),
        ("gemma3", {"attention.sliding_window": 512, "block_count": 7}, "sssssfs"),
        ("gemma3", {}, "ffff"),
        ("gemma3", {"attention.sliding_window": 512, "attention.sliding_window_pattern": 2}, "sfsf"),
        (
            "gemma3",
            {"attention.sliding_window": 8, "attention.sliding_window_pattern": [True, False, False, True]},
            "sffs",
        ),
    ],
)
def test_which_blocks_see_a_window(architecture: str, fields: dict[str, Any], expected: str) -> None:
    """Gemma 2 every other block, Gemma 3 five of six, unless the file says otherwise; without a window none."""
    assert "".join(kind[0] for kind in _config(architecture, **fields)["layer_types"]) == expected


def test_a_pattern_of_another_length_than_the_model_is_refused() -> None:
    """A block without an answer would get a guess."""
    with pytest.raises(ModelError, match="lists 2 blocks, the model has 4"):
        _config("gemma3", **{"attention.sliding_window": 8, "attention.sliding_window_pattern": [True, False]})


def test_a_windowed_llama_is_a_mistral_and_a_windowed_olmo_2_is_refused() -> None:
    """llama.cpp has one architecture for each pair."""
    plain, windowed = _config("llama"), _config("llama", **{"attention.sliding_window": 32})
    assert (plain["model_type"], plain["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert (windowed["model_type"], windowed["architectures"]) == ("mistral", ["MistralForCausalLM"])
    assert (plain.get("sliding_window"), windowed["sliding_window"]) == (None, 32)
    with pytest.raises(ModelError, match="OLMo 3"):
        _config("olmo2", **{"attention.sliding_window": 32})


def test_a_roberta_is_told_apart_from_a_bert() -> None:
    """One architecture in llama.cpp; the positions of a RoBERTa would be off by two."""
    fields = {"tokenizer.ggml.model": "gpt2"}
    sizes = Sizes(vocabulary=9, width=8, blocks=1, heads=1, key_heads=1, head=8, mlp=8, context=8)
    found = Found(metadata=_metadata(**fields), architecture="bert", sizes=sizes, rotary={}, groups=frozenset())
    with pytest.raises(ModelError, match="BERT alone is supported, no RoBERTa"):
        CONFIGS["bert"](found)


@pytest.mark.parametrize("head", [64, 80, 98, 128])
def test_the_rotated_share_gives_back_the_rotated_width(head: int) -> None:
    """The reference cuts head * share to a whole number: a share rounded down would lose an angle."""
    for part in range(2, head + 1, 2):
        fields = {"attention.key_length": head, "rope.dimension_count": part}
        share = _config("gptneox", **fields)["rotary_pct"]
        assert int(head * share) == part


def _waves(theta: float, width: int) -> Floats:
    waves: Floats = 2 * np.pi * theta ** (np.arange(0, width, 2) / width)
    return waves


@pytest.mark.parametrize("factor", [8.0, 32.0])
@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (0.5, 8.0), (2.0, 3.0)])
def test_llama_3_rule_is_found_again_from_its_factors(factor: float, low: float, high: float) -> None:
    """Its numbers make the same angles to the rounding of fp32; those that every Llama 3 has come back exactly."""
    waves = _waves(500000.0, 128)
    factors = llama3_factors(waves, factor, low, high, 8192).astype(np.float32)
    metadata = _metadata(**{"llama.rope.freq_base": 500000.0})
    scaling = rotary(metadata, "llama", {FACTORS: factors}, 128)["rope_scaling"]
    assert (scaling["rope_type"], scaling["factor"]) == ("llama3", factor)
    if (low, high) == (1.0, 4.0):
        assert (scaling["low_freq_factor"], scaling["high_freq_factor"]) == (1.0, 4.0)
    again = llama3_factors(waves, factor, scaling["low_freq_factor"], scaling["high_freq_factor"], 8192)
    np.testing.assert_allclose(again, factors, rtol=1e-4)


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        (np.linspace(1, 8, 64), "does not follow the rule of Llama 3"),
        (np.full(10, 2.0), "expected 64 positive numbers"),
        (np.full(64, np.nan), "expected 64 positive numbers"),
    ],
)
def test_factors_of_no_known_rule_are_refused(factors: Floats, said: str) -> None:
    """Silently dropped they would turn every angle wrong."""
    metadata = _metadata(**{"llama.rope.freq_base": 500000.0})
    with pytest.raises(ModelError, match=said):
        rotary(metadata, "llama", {FACTORS: factors.astype(np.float32)}, 128)


def test_factors_of_one_change_nothing() -> None:
    """Files of models that are not stretched may hold them."""
    found = rotary(_metadata(), "llama", {FACTORS: np.ones(8, np.float32)}, 16)
    assert found == {"rope_theta": 10000.0}


def test_yarn_keeps_what_the_file_says_of_it() -> None:
    """Optional numbers come along where they are there, and none are made up."""
    fields: dict[str, Any] = {"type": "yarn", "factor": 4, "original_context_length": 32768}
    plain = _metadata(**{f"qwen2.rope.scaling.{key}": value for key, value in fields.items()})
    expected = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    assert rotary(plain, "qwen2", {}, 64)["rope_scaling"] == expected
    fields |= {"yarn_beta_fast": 16.0, "yarn_beta_slow": 2.0, "yarn_attn_factor": 0.5}
    full = _metadata(**{f"qwen2.rope.scaling.{key}": value for key, value in fields.items()})
    expected |= {"beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 0.5}
    assert rotary(full, "qwen2", {}, 64)["rope_scaling"] == expected


def test_one_of_phi_3_s_two_factors_alone_is_refused(tmp_path: Path) -> None:
    """Short texts and long ones need one each."""
    model = random_model("phi3-long")
    tensors = converted("phi3-long", model)
    del tensors["rope_factors_short.weight"]
    with pytest.raises(ModelError, match=r"tensor 'rope_factors_short\.weight' is missing"):
        convert_gguf(write_gguf(tmp_path / "model.gguf", "phi3-long", tensors, model.config), tmp_path)


@pytest.mark.parametrize("told", [None, 3.0])
def test_an_attention_factor_that_is_not_the_usual_one_is_kept(tmp_path: Path, told: float | None) -> None:
    """The usual one follows from the two contexts, so that only another is written down."""

    def change(writer: Any) -> None:
        if told is not None:
            writer.kv_data[0].pop("phi3.rope.scaling.attn_factor")
            writer.add_rope_scaling_attn_factors(told)

    model = random_model("phi3-long")
    source = write_gguf(
        tmp_path / "model.gguf", "phi3-long", converted("phi3-long", model), model.config, fields=change
    )
    convert_gguf(source, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["rope_scaling"].get("attention_factor") == told
