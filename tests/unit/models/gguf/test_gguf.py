"""GGUF files: every quantisation is read as the package reads it, config.json says what the fields say, damage is told.

That the logits are those of the model is tests/parity/test_gguf.py.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from support.tiny_gguf import CONTEXT, VOCABULARY, converted, interleaved, random_model, write_gguf
from tailtune.errors import ModelError, SetupError
from tailtune.models.gguf import values as gguf_values
from tailtune.models.gguf.convert import convert_gguf, is_gguf
from tailtune.models.gguf.tensors import LAYOUTS, by_head, unpermute

Floats = NDArray[np.float32]
Change = Callable[[Any], None]


def _readable() -> list[str]:
    """Every quantisation that the package can read back, and the three that need no reading."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    found = []
    for kind in GGMLQuantizationType:
        try:
            dequantize(np.zeros((1, GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
        except NotImplementedError:
            continue
        found.append(kind.name)
    return found


def _random_blocks(kind: Any, rows: int, columns: int, seed: int) -> tuple[NDArray[np.uint8], Floats]:
    """Random bytes that are valid blocks, no scale infinite or no number; and what the package reads in them."""
    from gguf import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    size, width = GGML_QUANT_SIZES[kind]
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 256, (rows * columns // size, width), dtype=np.uint8)
    with np.errstate(all="ignore"):
        while (wrong := ~np.isfinite(dequantize(blocks, kind)).all(axis=1)).any():
            blocks[wrong] = draw.integers(0, 256, (int(wrong.sum()), width), dtype=np.uint8)
    return blocks.reshape(rows, -1), dequantize(blocks, kind).reshape(rows, columns)


def _model(**changes: Any) -> tuple[dict[str, Floats], Any]:
    model = random_model("llama", num_hidden_layers=2, **changes)
    return converted("llama", model), model.config


def _convert(source: Path) -> Path:
    folder = source.parent / "out"
    folder.mkdir()
    convert_gguf(source, folder)
    return folder


def _read(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def _config(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return read


def _set(key: str, value: Any, kind: str) -> Change:
    """Writes a field, over the one that is there."""
    from gguf import GGUFValueType

    def change(writer: Any) -> None:
        for fields in writer.kv_data:
            fields.pop(key, None)
        if value is not None:
            writer.add_key_value(key, value, GGUFValueType[kind])

    return change


@pytest.mark.parametrize("quantisation", _readable())
def test_every_quantisation_is_read_as_the_package_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantisation: str
) -> None:
    """Bit for bit, rows put back in order, and the same however few rows are read at once; halves stay halves."""
    import gguf

    monkeypatch.setattr(gguf_values, "_AT_ONCE", 1000)
    kind = gguf.GGMLQuantizationType[quantisation]
    tensors, config = _model(hidden_size=256, intermediate_size=512)
    blocks: dict[str, Floats] = {}

    def quantised(writer: Any) -> None:
        for seed, (name, values) in enumerate(tensors.items()):
            if values.ndim == 2:
                data, blocks[name] = _random_blocks(kind, values.shape[0], values.shape[1], seed)
                floats = {"F32": np.float32, "F16": np.float16}.get(quantisation)
                writer.add_tensor(name, data if floats is None else data.view(floats), raw_dtype=kind)

    vectors = {name: values for name, values in tensors.items() if values.ndim == 1}
    source = write_gguf(tmp_path / "model.gguf", "llama", vectors, config, fields=quantised)
    folder = _convert(source)
    found = _read(folder)
    own = {"F16": "float16", "BF16": "bfloat16"}.get(quantisation, "float32")
    assert _config(folder)["dtype"] == own
    for name, expected in blocks.items():
        stem = name.removesuffix(".weight").replace("blk.", "")
        got = found[_reference(stem)]
        assert str(got.dtype) == f"torch.{own}"
        values = got.float().numpy()
        if "attn_q" in name or "attn_k" in name:
            values = interleaved(values, 4 if "attn_q" in name else 2)
        np.testing.assert_array_equal(values, expected)


def _reference(stem: str) -> str:
    inside = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    once = {"token_embd": "model.embed_tokens.weight", "output": "lm_head.weight"}
    if stem in once:
        return once[stem]
    number, name = stem.split(".")
    return f"model.layers.{number}.{inside[name]}.weight"


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_rows_come_back_in_order(heads: int) -> None:
    """Rows interleaved index by index come back in order, and were truly out of order before; biases too."""
    rows = np.arange(32 * 3, dtype=np.float32).reshape(32, 3)
    assert not np.array_equal(interleaved(rows, heads), rows)
    np.testing.assert_array_equal(unpermute(interleaved(rows, heads), heads), rows)
    np.testing.assert_array_equal(unpermute(interleaved(rows[:, 0], heads), heads), rows[:, 0])


def test_joined_rows_come_back_head_by_head() -> None:
    """Two heads of width 2: queries 0-3, keys 4-7, values 8-11 become each head's own three."""
    assert by_head(np.arange(12), 2).tolist() == [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]


@pytest.mark.parametrize("tied", [True, False])
def test_config_says_what_the_metadata_says(tmp_path: Path, tied: bool) -> None:
    """Nothing in config.json is a constant of the default model; an output tensor means untied embeddings."""
    tensors, config = _model(tie_word_embeddings=tied, rms_norm_eps=1e-5, rope_theta=50000.0)
    folder = _convert(write_gguf(tmp_path / "model.gguf", "llama", tensors, config))
    expected = {
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 50000.0,
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "dtype": "float32",
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    found = _config(folder)
    assert {key: found[key] for key in expected} == expected
    assert found["rms_norm_eps"] == pytest.approx(1e-5, rel=1e-6)
    assert ("lm_head.weight" in _read(folder)) is not tied


def test_a_number_for_each_block_counts_as_one_where_all_are_the_same(tmp_path: Path) -> None:
    """Some converters write head counts block by block."""
    tensors, config = _model()
    change = _set("llama.attention.head_count", [4, 4], "ARRAY")
    folder = _convert(write_gguf(tmp_path / "model.gguf", "llama", tensors, config, fields=change))
    assert _config(folder)["num_attention_heads"] == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("llama.block_count", "many", "STRING"), "llama.block_count is 'many', expected a whole number"),
        (_set("llama.block_count", 2**31, "UINT32"), "blocks, but only"),
        (_set("llama.block_count", 3, "UINT32"), "9 tensors are missing, 'blk.2.attn_norm.weight' is the first"),
        (_set("llama.block_count", 1, "UINT32"), "'blk.1.attn_q.weight' is not known in the llama architecture"),
        (_set("llama.attention.head_count", [4, 2], "ARRAY"), r"head_count is \[4, 2\], expected a whole number"),
        (_set("llama.attention.head_count", 0, "UINT32"), "head_count is 0, expected at least 1"),
        (_set("llama.attention.head_count", 7, "UINT32"), "impossible decoder: width 64, 7 heads"),
        (_set("llama.attention.layer_norm_rms_epsilon", float("nan"), "FLOAT32"), "nan, expected a finite number"),
        (_set("llama.attention.layer_norm_rms_epsilon", None, ""), "has no metadata 'llama.attention.layer_norm_rms"),
        (_set("llama.embedding_length", 128, "UINT32"), r"has shape \[320, 64\], the metadata ask for \[320, 128\]"),
        (_set("llama.attention.value_length", 8, "UINT32"), "keys are 16 wide and values 8"),
        (_set("llama.rope.dimension_count", 8, "UINT32"), "rope.dimension_count is 8, heads are 16"),
        (_set("llama.rope.scaling.type", "wild", "STRING"), "rotary scaling 'wild' is not supported"),
        (_set("llama.expert_count", 8, "UINT32"), "llama.expert_count = 8 is not supported"),
        (_set("llama.attention.causal", False, "BOOL"), "reads both ways"),
        (_set("split.count", 3, "UINT16"), "one of 3 parts of a model"),
        (_set("general.architecture", b"\xff\xfe", "STRING"), "general.architecture cannot be read"),
        (_set("tokenizer.ggml.model", "wordpiece", "STRING"), "tokenizer 'wordpiece' is not supported"),
        (_set("tokenizer.ggml.pre", "unheard-of", "STRING"), "'unheard-of' is not known; known: 'bloom', 'dbrx'"),
        (_set("tokenizer.ggml.pre", "default", "STRING"), "pre-tokenizer 'default' is not known"),
        (_set("tokenizer.ggml.bos_token_id", 10**6, "UINT32"), "do not fit together: .* there are 320 tokens"),
        (_set("tokenizer.ggml.tokens", ["a", "a"], "ARRAY"), "do not fit together: 2 tokens, 320 types"),
        (_set("tokenizer.ggml.tokens", [1, 2], "ARRAY"), r"\[1, 2\], expected a list, each a string"),
        (_set("tokenizer.ggml.merges", ["a"], "ARRAY"), "'a' is no merge of two tokens"),
        (_set("tokenizer.ggml.merges", ["a never-a-token"], "ARRAY"), "do not fit together"),
    ],
)
def test_fields_that_make_no_model_are_told_in_one_line(tmp_path: Path, change: Change, said: str) -> None:
    """Of the wrong type, missing, contradicting each other or the tensors, or asking for what no family here does."""
    tensors, config = _model()
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config, fields=change)
    with pytest.raises(ModelError, match=said) as raised:
        _convert(source)
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "out").iterdir())


def test_an_unknown_architecture_gets_the_list_of_known_ones(tmp_path: Path) -> None:
    """Every one, so that a reader sees at once what there is; OPT is none of them."""
    tensors, config = _model()
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config, architecture="opt")
    with pytest.raises(ModelError) as raised:
        _convert(source)
    assert all(f"'{name}'" in str(raised.value) for name in LAYOUTS)
    assert "'opt' is not supported" in str(raised.value)


def _number_of_kind(data: bytes, tensor: str) -> int:
    """Where the number of a tensor's quantisation stands."""
    after = data.index(tensor.encode()) + len(tensor)
    dimensions = int.from_bytes(data[after : after + 4], "little")
    return after + 4 + 8 * dimensions


@pytest.mark.parametrize(
    ("number", "said"),
    [(99, "blk.0.attn_q.weight has quantisation number 99, which is not known; known: BF16"), (26, "stored as I32")],
)
def test_a_quantisation_that_cannot_be_read_is_named(tmp_path: Path, number: int, said: str) -> None:
    """One that nobody knows by its number, one that is no weight by its name; before anything is written."""
    tensors, config = _model()
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config)
    data = bytearray(source.read_bytes())
    struct.pack_into("<I", data, _number_of_kind(bytes(data), "blk.0.attn_q.weight"), number)
    source.write_bytes(data)
    with pytest.raises(ModelError, match=said):
        _convert(source)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("quantisation", ["F32", "F16", "BF16", "Q8_0", "Q4_1"])
@pytest.mark.parametrize("tensor", ["blk.1.attn_k.weight", "blk.1.ffn_up.weight"])
def test_a_weight_that_is_no_number_is_told_with_its_tensor(tmp_path: Path, quantisation: str, tensor: str) -> None:
    """All bits of the first value, or of a block's scale, set: NaN in every one of these; moved rows or not."""
    from gguf import GGUFReader

    tensors, config = _model()
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config, quantisation=quantisation)
    place = next(found.data_offset for found in GGUFReader(source).tensors if found.name == tensor)
    with source.open("r+b") as file:
        file.seek(int(place))
        file.write(b"\xff" * 4)
    with pytest.raises(ModelError, match=f"{tensor} holds NaN or infinite values"):
        _convert(source)


def test_a_strange_tensor_is_named(tmp_path: Path) -> None:
    """A tensor that the architecture does not know would be lost without a word."""
    tensors, config = _model()
    tensors["blk.0.attn_sinks.weight"] = np.zeros(4, np.float32)
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config)
    with pytest.raises(ModelError, match=r"'blk\.0\.attn_sinks\.weight' is not known"):
        _convert(source)


def test_a_bias_of_one_product_asks_for_all_of_its_group(tmp_path: Path) -> None:
    """config.json has one word for the biases of all four attention products."""
    tensors, config = _model()
    tensors["blk.0.attn_q.bias"] = np.zeros(64, np.float32)
    with pytest.raises(ModelError, match=r"7 tensors are missing, 'blk\.0\.attn_k\.bias'"):
        _convert(write_gguf(tmp_path / "model.gguf", "llama", tensors, config))


def test_refuses_a_file_cut_inside_its_tensors(tmp_path: Path) -> None:
    """A download that stopped early is said, not read as zeros."""
    tensors, config = _model()
    path = write_gguf(tmp_path / "model.gguf", "llama", tensors, config)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="not a whole GGUF file"):
        _convert(path)


def test_refuses_a_header_that_asks_for_endless_rounds(tmp_path: Path) -> None:
    """An array of 2**60 numbers in a file of 50 bytes is refused before the package's reader starts to count."""
    path = tmp_path / "model.gguf"
    key = (1).to_bytes(8, "little") + b"x"
    array = b"".join(number.to_bytes(size, "little") for number, size in ((9, 4), (4, 4), (2**60, 8)))
    path.write_bytes(b"GGUF" + b"".join(n.to_bytes(s, "little") for n, s in ((3, 4), (0, 8), (1, 8))) + key + array)
    with pytest.raises(ModelError, match="do not fit"):
        convert_gguf(path, tmp_path)


@pytest.mark.parametrize("name", ["llama3", "gemma3"])
def test_damaged_headers_are_told_in_one_line_or_do_no_harm(tmp_path: Path, name: str) -> None:
    """Bytes of the header changed at random: no other error than ours, however deep the damage reaches."""
    from gguf import GGUFReader

    model = random_model(name)
    source = write_gguf(tmp_path / "model.gguf", name, converted(name, model), model.config)
    data, draw = source.read_bytes(), random.Random(7)
    header = int(min(tensor.data_offset for tensor in GGUFReader(source).tensors))
    told = 0
    for _ in range(80):
        damaged = bytearray(data)
        for place in draw.choices((draw.randrange(header), draw.randrange(700), draw.randrange(700)), k=2):
            damaged[place] = draw.choice((0, 1, 255, damaged[place] ^ 1 << draw.randrange(8)))
        source.write_bytes(damaged)
        try:
            convert_gguf(source, tmp_path)
        except ModelError as error:
            told += 1
            assert "\n" not in str(error)
    assert told > 40


def test_a_folder_that_cannot_be_written_is_the_machine_s_fault(tmp_path: Path) -> None:
    """Exit code 5, not 4: the file is sound."""
    tensors, config = _model()
    source = write_gguf(tmp_path / "model.gguf", "llama", tensors, config)
    with pytest.raises(SetupError, match="writing"):
        convert_gguf(source, tmp_path / "nowhere")


def test_gguf_files_are_known_by_their_first_bytes(tmp_path: Path) -> None:
    """Not by their names."""
    path = tmp_path / "weights"
    assert not is_gguf(path)
    path.write_bytes(b"GGU")
    assert not is_gguf(path)
    path.write_bytes(b"GGUF\x03")
    assert is_gguf(path)
    assert not is_gguf(tmp_path)
