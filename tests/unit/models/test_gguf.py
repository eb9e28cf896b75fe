"""GGUF files written with the gguf package come back as the tensors, config and token ids they were made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.tiny_models import CORPUS, END_OF_TEXT
from tailtune.errors import ModelError
from tailtune.models.gguf import convert_gguf
from tailtune.models.gguf_tensors import unpermute

Floats = NDArray[np.float32]

_WIDTH, _MLP, _BLOCKS, _HEADS, _KEY_HEADS, _VOCABULARY = 64, 96, 2, 4, 2, 320
_CONTROL, _NORMAL = 3, 1
_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def _interleave(rows: Floats, heads: int) -> Floats:
    """The converter's permutation, written index by index and not as a reshape: row 2i is i, row 2i+1 is i + W/2."""
    width = rows.shape[0] // heads
    order = [
        head * width + part * (width // 2) + i for head in range(heads) for i in range(width // 2) for part in (0, 1)
    ]
    return rows[order]


def _originals(*, tied: bool) -> dict[str, Floats]:
    random = np.random.default_rng(3)
    narrow = _WIDTH // _HEADS * _KEY_HEADS
    shapes = {
        "attn_q": (_WIDTH, _WIDTH),
        "attn_k": (narrow, _WIDTH),
        "attn_v": (narrow, _WIDTH),
        "attn_output": (_WIDTH, _WIDTH),
        "ffn_gate": (_MLP, _WIDTH),
        "ffn_up": (_MLP, _WIDTH),
        "ffn_down": (_WIDTH, _MLP),
        "attn_norm": (_WIDTH,),
        "ffn_norm": (_WIDTH,),
    }
    named: dict[str, tuple[int, ...]] = {"token_embd.weight": (_VOCABULARY, _WIDTH), "output_norm.weight": (_WIDTH,)}
    if not tied:
        named["output.weight"] = (_VOCABULARY, _WIDTH)
    named |= {f"blk.{block}.{name}.weight": shape for block in range(_BLOCKS) for name, shape in shapes.items()}
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in named.items()}


def _reference_name(name: str) -> str:
    once = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    parts = name.split(".")
    return f"{once[parts[0]]}.weight" if len(parts) == 2 else f"model.layers.{parts[1]}.{_NAMES[parts[2]]}.weight"


def _write(
    path: Path,
    *,
    quantisation: str = "F32",
    tied: bool = True,
    architecture: str = "llama",
    pre: str = "smollm",
    heads: int = 0,
    begin: int = 0,
) -> dict[str, Floats]:
    """Write a tiny model and return its tensors in the reference library's row order."""
    import gguf

    originals = _originals(tied=tied)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(_BLOCKS)
    writer.add_context_length(128)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_MLP)
    writer.add_head_count(heads or _HEADS)
    writer.add_head_count_kv(_KEY_HEADS)
    writer.add_rope_freq_base(50000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokenizer(writer, pre, begin)
    for name, values in originals.items():
        stored = values
        if "attn_q" in name or "attn_k" in name:
            stored = _interleave(values, _HEADS if "attn_q" in name else _KEY_HEADS)
        kind = gguf.GGMLQuantizationType[quantisation if values.ndim == 2 else "F32"]
        writer.add_tensor(name, gguf.quants.quantize(stored, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return originals


def _digit_joining_tokenizer() -> Any:
    """A byte-level BPE whose merges join digits with each other and with the blank before them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    joined = ["12", "23", "42", "09", "06", "17", "14", "61", "30"] * 50
    tokenizer.train_from_iterator(
        [*joined, *(f"   {digit}" for digit in range(10) for _ in range(20)), *CORPUS], trainer
    )
    assert {"12", "42", "09", "30", "Ġ1"} <= set(tokenizer.get_vocab())
    return tokenizer


def _add_tokenizer(writer: Any, pre: str, begin: int) -> None:
    model = json.loads(_digit_joining_tokenizer().to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    assert len(tokens) == _VOCABULARY
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL] + [_NORMAL] * (len(tokens) - 1))
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(0)


def _convert(tmp_path: Path, **wanted: Any) -> tuple[Path, dict[str, Floats]]:
    originals = _write(tmp_path / "model.gguf", **wanted)
    folder = tmp_path / "out"
    folder.mkdir()
    convert_gguf(tmp_path / "model.gguf", folder)
    return folder, originals


def _read(folder: Path) -> dict[str, Floats]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


# Largest error against the original, in units of the largest weight: half a step of the code (8 bit: 1/127, 4 bit over
# a block's range: 1/15 of about twice the largest weight) plus the fp16 rounding of the scale.
@pytest.mark.parametrize(("quantisation", "tolerance"), [("F32", 0.0), ("F16", 1e-3), ("Q8_0", 0.005), ("Q4_1", 0.07)])
def test_tensors_come_back_under_reference_names(tmp_path: Path, quantisation: str, tolerance: float) -> None:
    """Every tensor equals its original in the reference row order, up to the step of its quantisation."""
    folder, originals = _convert(tmp_path, quantisation=quantisation)
    tensors = _read(folder)
    assert set(tensors) == {_reference_name(name) for name in originals}
    for name, expected in originals.items():
        got = tensors[_reference_name(name)]
        assert got.dtype == np.float32
        assert np.abs(got - expected).max() <= tolerance * np.abs(expected).max(), name


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_unpermute_undoes_the_interleaving_of_each_head(heads: int) -> None:
    """Rows interleaved index by index come back in order, and were truly out of order before."""
    rows = np.arange(32 * 3, dtype=np.float32).reshape(32, 3)
    assert not np.array_equal(_interleave(rows, heads), rows)
    np.testing.assert_array_equal(unpermute(_interleave(rows, heads), heads), rows)


@pytest.mark.parametrize("tied", [True, False])
def test_config_says_what_the_metadata_says(tmp_path: Path, tied: bool) -> None:
    """Nothing in config.json is a constant of the default model; an output tensor means untied embeddings."""
    folder, _ = _convert(tmp_path, tied=tied)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    expected = {
        "model_type": "llama",
        "vocab_size": _VOCABULARY,
        "hidden_size": _WIDTH,
        "intermediate_size": _MLP,
        "num_hidden_layers": _BLOCKS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KEY_HEADS,
        "head_dim": _WIDTH // _HEADS,
        "max_position_embeddings": 128,
        "rope_theta": 50000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    assert {key: config[key] for key in expected} == expected
    assert config["rms_norm_eps"] == pytest.approx(1e-5, rel=1e-6)
    assert ("lm_head.weight" in _read(folder)) is not tied


@pytest.mark.parametrize("text", ["   123", "a  42 7", "call 09061701461 now", " 1", "12:30  4"])
def test_digits_are_split_one_by_one(tmp_path: Path, text: str) -> None:
    """Digits stay alone although the vocabulary knows joined ones, which a plain byte-level split would use."""
    from tokenizers import Tokenizer, pre_tokenizers

    folder, _ = _convert(tmp_path)
    rebuilt = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoding = rebuilt.encode(text)
    assert [token for token in encoding.tokens if any(c.isdigit() for c in token)] == [c for c in text if c.isdigit()]
    assert rebuilt.decode(encoding.ids) == text
    plain = Tokenizer.from_str(rebuilt.to_str())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    assert plain.encode(text).ids != encoding.ids


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"architecture": "falcon"}, "supported: 'llama'"),
        ({"pre": "unheard-of"}, "unheard-of"),
        ({"begin": 10**6}, "its metadata do not fit together"),
        ({"heads": 7}, "impossible decoder"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    """Another architecture or pre-tokenizer is named in one line, and so are metadata that contradict each other."""
    with pytest.raises(ModelError, match=said):
        _convert(tmp_path, **wanted)


def test_refuses_a_file_cut_inside_its_tensors(tmp_path: Path) -> None:
    """A download that stopped early is said, not read as zeros."""
    path = tmp_path / "model.gguf"
    _write(path)
    path.write_bytes(path.read_bytes()[:-5000])
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError):
        convert_gguf(path, tmp_path / "out")


def test_refuses_a_header_that_asks_for_endless_rounds(tmp_path: Path) -> None:
    """An array of 2**60 numbers in a file of 50 bytes is refused before the package's reader starts to count."""
    path = tmp_path / "model.gguf"
    key = (1).to_bytes(8, "little") + b"x"
    array = b"".join(number.to_bytes(size, "little") for number, size in ((9, 4), (4, 4), (2**60, 8)))
    path.write_bytes(b"GGUF" + b"".join(n.to_bytes(s, "little") for n, s in ((3, 4), (0, 8), (1, 8))) + key + array)
    with pytest.raises(ModelError, match="do not fit"):
        convert_gguf(path, tmp_path)
