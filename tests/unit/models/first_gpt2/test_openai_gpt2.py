"""Files that TensorFlow wrote come back as the weights, config and token ids that they hold, and damage is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from support.make_tensorflow_fixture import HYPERPARAMETERS, ONE, SHARDS, arrays
from support.reference import packed, ragged
from tailtune.errors import ModelError
from tailtune.models.first_gpt2.openai import convert_openai, is_openai_checkpoint
from tailtune.models.first_gpt2.tensor_bundle import TensorBundle
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokenizer

_DATA = "model.ckpt.data-00000-of-00001"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkpoint in one shard, to be damaged."""
    return shutil.copytree(ONE, tmp_path / "checkpoint")


def _convert(source: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "converted"
    folder.mkdir()
    convert_openai(source, folder)
    return folder


@pytest.mark.parametrize("folder", [ONE, SHARDS], ids=["one", "shards"])
def test_every_tensor_is_what_was_saved(folder: Path) -> None:
    """Bit for bit, in one shard or in three; what is no fp32 is refused, not read as such."""
    bundle = TensorBundle(folder / "model.ckpt")
    for name, expected in arrays().items():
        np.testing.assert_array_equal(bundle.read(name), expected)
    assert len({record.shard for record in bundle.records.values()}) == (1 if folder == ONE else 3)
    with pytest.raises(ModelError, match="global_step has TensorFlow's type 9"):
        bundle.read("global_step")


@pytest.mark.parametrize("source", [ONE, SHARDS], ids=["one", "shards"])
def test_logits_equal_the_reference_library(tmp_path: Path, source: Path) -> None:
    """A reference model given the same arrays by hand computes the same: states to 1e-5, and next-token scores."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = HYPERPARAMETERS
    config = GPT2Config(
        vocab_size=sizes["n_vocab"],
        n_positions=sizes["n_ctx"],
        **{name: sizes[name] for name in ("n_embd", "n_layer", "n_head")},
    )
    reference = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in reference.transformer.named_parameters():
            parts = name.replace("h.", "h", 1).split(".") if name.startswith("h.") else name.split(".")
            kind = {"bias": "b", "weight": "g" if "ln_" in name else "w"}[parts[-1]]
            key = "/".join(["model", *parts[:-1], *([] if parts[0] in ("wte", "wpe") else [kind])])
            parameter.copy_(torch.from_numpy(arrays()[key]).reshape(parameter.shape))
    folder = _convert(source, tmp_path)
    decoder = load_decoder(folder)
    texts = ragged([1, 5, 5, 32], vocabulary=sizes["n_vocab"])
    batch, ids, layout = packed(decoder, texts)
    with torch.inference_mode():
        last = decoder.read_rows(decoder.embed(ids, layout), layout)
        for row, number in zip(last, batch.texts, strict=True):
            expected = reference(torch.from_numpy(texts[number])[None]).logits[0, -1]
            got = row @ decoder.state_dict()["embedding.weight"].T
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    loaded = GPT2LMHeadModel.from_pretrained(folder).eval()
    for name, tensor in reference.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_token_ids_equal_the_reference_tokenizer(tmp_path: Path) -> None:
    """Ids of the converted tokenizer are those of the reference library on the two original files."""
    from transformers import AutoTokenizer, GPT2Tokenizer

    texts = ["Hey, are you still on?", "  two  blanks", "WINNER 900!! é 😀", "a <|endoftext|> b", "\n\t'll"]
    reference = GPT2Tokenizer(vocab=str(ONE / "encoder.json"), merges=str(ONE / "vocab.bpe"))
    folder = _convert(ONE, tmp_path)
    found = Tokenizer.load(folder / "tokenizer.json", max_tokens=1000).encode(texts)
    for number, text in enumerate(texts):
        got = found.ids[found.offsets[number] : found.offsets[number + 1]].tolist()
        assert got == reference(text, split_special_tokens=True)["input_ids"]
    assert AutoTokenizer.from_pretrained(folder)(texts[0])["input_ids"] == reference(texts[0])["input_ids"]


def test_is_recognised(tiny_gpt2: Path) -> None:
    """By its own files; a Hugging Face folder and a file are none."""
    assert is_openai_checkpoint(ONE)
    assert not is_openai_checkpoint(tiny_gpt2)
    assert not is_openai_checkpoint(ONE / "hparams.json")


def test_a_moved_or_unnamed_checkpoint_is_found(copy: Path, tmp_path: Path) -> None:
    """A path of the machine that wrote it, or no file named checkpoint beside one index."""
    (copy / "checkpoint").write_text('model_checkpoint_path: "/home/someone/run1/model.ckpt"\n', encoding="utf-8")
    assert load_decoder(_convert(copy, tmp_path)).config.blocks == 2
    (copy / "checkpoint").unlink()
    shutil.rmtree(tmp_path / "converted")
    assert load_decoder(_convert(copy, tmp_path)).config.blocks == 2


def _refused(copy: Path, tmp_path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        _convert(copy, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "converted").iterdir())
    return str(caught.value)


@pytest.mark.parametrize("keep", [0, 7, 1000, 47_623])
def test_cut_short_data(copy: Path, tmp_path: Path, keep: int) -> None:
    """A shard that ends early is told with both sizes."""
    (copy / _DATA).write_bytes((copy / _DATA).read_bytes()[:keep])
    assert f"cut short: {keep} bytes" in _refused(copy, tmp_path)


@pytest.mark.parametrize("keep", [0, 20, 500, 959])
def test_cut_short_index(copy: Path, tmp_path: Path, keep: int) -> None:
    """An index without its end is told as one."""
    file = copy / "model.ckpt.index"
    file.write_bytes(file.read_bytes()[:keep])
    assert "no index of a TensorFlow checkpoint" in _refused(copy, tmp_path)


@pytest.mark.parametrize("name", [_DATA, "model.ckpt.index"])
def test_no_flipped_bit_goes_unseen(copy: Path, tmp_path: Path, name: str) -> None:
    """Anywhere in the values, the index's blocks and what closes it: a refusal in one line, or the same tensors."""
    file, random = copy / name, np.random.default_rng(3)
    whole, seen = file.read_bytes(), 0
    for place in random.integers(0, len(whole), 150).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        file.write_bytes(damaged)
        try:
            bundle = TensorBundle(copy / "model.ckpt")
            found = {key: bundle.read(key) for key in arrays()}
        except ModelError as error:
            assert "\n" not in str(error)
            seen += 1
        else:  # a byte that nobody reads: padding of the footer, or the counter
            assert all(np.array_equal(found[key], expected) for key, expected in arrays().items())
    assert seen > 120


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    """With the tensor that lies in it."""
    copy = shutil.copytree(SHARDS, tmp_path / "checkpoint")
    (copy / "model.ckpt.data-00002-of-00003").unlink()
    said = _refused(copy, tmp_path)
    assert "model.ckpt.data-00002-of-00003: is missing" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_layer": 3}, "12 tensors are missing: model/h2/attn/c_attn/b"),
        ({"n_layer": 1}, "12 tensors are not known in GPT-2: model/h1/attn/c_attn/b"),
        ({"n_embd": 32}, "model/wte has shape [300, 16], hparams.json says [300, 32]"),
        ({"n_head": 3}, "n_embd 16 is no multiple of n_head 3"),
        ({"n_ctx": "32"}, "n_ctx is '32', expected a whole number"),
        ({"n_layer": 10**9}, "n_layer is 1000000000, expected a whole number"),
        ({"n_vocab": None}, "n_vocab is None, expected a whole number"),
    ],
)
def test_wrong_hyperparameters(copy: Path, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    """Numbers that are none, or that describe another model than the weights."""
    (copy / "hparams.json").write_text(json.dumps({**HYPERPARAMETERS, **changes}), encoding="utf-8")
    assert said in _refused(copy, tmp_path)


def test_a_vocabulary_of_another_size(copy: Path, tmp_path: Path) -> None:
    """A tokenizer with more pieces than the embedding has rows would read beyond it."""
    numbers = json.loads((copy / "encoder.json").read_text(encoding="utf-8"))
    (copy / "encoder.json").write_text(json.dumps({**numbers, "one more": len(numbers)}), encoding="utf-8")
    assert "gives ids up to 300, the model knows 300 tokens" in _refused(copy, tmp_path)


def test_not_a_number_in_the_weights(copy: Path, tmp_path: Path) -> None:
    """NaN with a checksum that fits it: the index is written anew around it."""
    from tailtune.models.first_gpt2.crc32c import masked_crc32c

    bundle = TensorBundle(copy / "model.ckpt")
    record = bundle.records["model/ln_f/g"]
    data, index = bytearray((copy / _DATA).read_bytes()), (copy / "model.ckpt.index").read_bytes()
    data[record.offset : record.offset + 4] = np.float32("nan").tobytes()
    now = masked_crc32c(bytes(data[record.offset : record.offset + record.size]))
    changed = bytearray(index.replace(record.checksum.to_bytes(4, "little"), now.to_bytes(4, "little")))
    # The block that holds the entries begins the file; its checksum stands right before the next block.
    size = next(at for at in range(4, len(index)) if masked_crc32c(index[: at + 1]) == _number(index, at + 1))
    changed[size + 1 : size + 5] = masked_crc32c(bytes(changed[: size + 1])).to_bytes(4, "little")
    (copy / _DATA).write_bytes(data)
    (copy / "model.ckpt.index").write_bytes(changed)
    assert "model/ln_f/g holds NaN or infinite values" in _refused(copy, tmp_path)


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
