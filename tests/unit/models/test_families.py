"""What a config.json says is computed, refused, or known not to matter; never ignored in silence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.architectures import ARCHITECTURES
from tailtune.errors import ModelError
from tailtune.models.families import FAMILIES, read_config
from tailtune.models.shape import DecoderConfig

PLAIN = {
    "gpt2", "llama", "llama-grouped", "llama-one-key-head", "llama-biased", "llama-wide-heads", "mistral", "qwen2",
    "phi3",
}  # fmt: skip


def saved(name: str) -> dict[str, Any]:
    """The config.json that the reference library writes for one of the tiny models."""
    architecture = ARCHITECTURES[name]
    import transformers

    config = getattr(transformers, f"{architecture.name}Config")(**architecture.settings)
    raw: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return raw


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_config_survives_json(name: str) -> None:
    """A shape written into a bundle comes back equal; older versions read those that are Llama's or GPT-2's alone."""
    config = read_config(saved(name))
    text = json.dumps(config.as_json())
    assert DecoderConfig.from_json(json.loads(text)) == config
    assert config.is_plain == (name in PLAIN)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("llama", {"model_type": "mamba"}, r"'mamba' is not supported; supported families: GPT-2 \[gpt2\], Llama"),
        ("llama", {"hidden_act": "tanh"}, "hidden_act = 'tanh', which is not supported; supported: 'silu'"),
        ("llama", {"hidden_size": None}, "no 'hidden_size'"),
        ("llama", {"hidden_size": "32"}, "hidden_size = '32', expected a whole number"),
        ("llama", {"num_key_value_heads": 3}, "impossible decoder"),
        ("llama", {"rope_parameters": {"rope_type": "spiral"}}, "rotary type 'spiral'; supported: default, linear"),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "'llama3' cannot be read"),
        ("llama", {"rope_parameters": {"rope_type": "linear", "curl": 2.0}}, "rotary settings curl are not"),
        ("llama", {"attention_multiplier": 0.5}, "attention_multiplier = '0.5', which is not known in this family"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantised weights"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("qwen2", {"num_experts": 8}, "num_experts"),
        ("opt", {"do_layer_norm_before": False}, "do_layer_norm_before = False"),
        ("opt", {"word_embed_proj_dim": 16}, "word_embed_proj_dim = 16"),
        ("bloom", {"apply_residual_connection_post_layernorm": True}, "post_layernorm = True"),
        ("bert", {"position_embedding_type": "relative_key"}, "'relative_key', which is not supported"),
        ("bert", {"is_decoder": True}, "is_decoder = True"),
    ],
)
def test_what_is_not_supported_is_said(name: str, changes: dict[str, Any], said: str) -> None:
    """One line: the setting, what it is and what would do."""
    with pytest.raises(ModelError, match=said):
        read_config({**saved(name), **changes})


@pytest.mark.parametrize(
    "harmless",
    [{"attention_dropout": 0.1}, {"pretraining_tp": 1}, {"rope_interleaved": False}, {"auto_map": {"a": "b"}}],
)
def test_what_does_not_matter_is_let_pass(harmless: dict[str, Any]) -> None:
    """Keys of training and of other readers are in most published files."""
    assert read_config({**saved("llama"), **harmless}) == read_config(saved("llama"))


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("llama-linear", {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
        ("llama-dynamic", {"rope_theta": 10000.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}}),
        (
            "llama-llama3",
            {
                "rope_theta": 500000.0,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 16,
                },
            },
        ),
        (
            "llama-yarn",
            {"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}},
        ),
        (
            "phi3-longrope",
            {
                "rope_scaling": {
                    "type": "su",
                    "short_factor": [1.0, 1.1, 1.2, 1.5],
                    "long_factor": [1.0, 2.0, 4.0, 8.0],
                }
            },
        ),
        ("gpt-neox", {"rotary_emb_base": 10000, "rotary_pct": 0.25}),
        ("gpt-neox-serial", {"rotary_emb_base": 10000, "rotary_pct": 1.0}),
        (
            "gemma3-linear",
            {
                "rope_theta": 1000000.0,
                "rope_local_base_freq": 10000.0,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            },
        ),
        ("gemma3", {"rope_theta": 1000000.0, "rope_local_base_freq": 10000.0}),
        ("modernbert", {"global_rope_theta": 160000.0, "local_rope_theta": 10000.0}),
        ("smollm3", {"rope_theta": 2000000.0}),
    ],
)
def test_both_spellings_of_rotary_positions_are_read(name: str, old: dict[str, Any]) -> None:
    """Version 5 of the reference library moved all of it into ``rope_parameters``; older files keep their spelling."""
    raw = saved(name)
    before = {key: value for key, value in raw.items() if key != "rope_parameters"} | old
    assert read_config(before) == read_config(raw)


def test_layer_kinds_may_be_left_to_the_pattern() -> None:
    """Files written before ``layer_types`` give the interval of the blocks that see the whole text."""
    for name, keys in (("gemma3", {"sliding_window_pattern": 2}), ("gemma2", {}), ("modernbert", {})):
        raw = saved(name)
        before = {key: value for key, value in raw.items() if key != "layer_types"} | keys
        assert read_config(before) == read_config(raw), name


def test_every_family_is_compared_with_the_reference() -> None:
    """A family without a line in the parity test is not supported, it is hoped for."""
    compared = {read_config(saved(name)).family for name in ARCHITECTURES}
    assert compared == set(FAMILIES)


def test_model_types_belong_to_one_family() -> None:
    """No config.json is read by two families."""
    types = [model_type for family in FAMILIES.values() for model_type in family.model_types]
    assert len(types) == len(set(types))


def test_models_shaped_like_roberta_are_read_as_it() -> None:
    """XLM-RoBERTa and CamemBERT are RoBERTa's shape under another name."""
    raw = saved("roberta")
    for model_type in ("xlm-roberta", "camembert"):
        assert read_config({**raw, "model_type": model_type}) == read_config(raw)
