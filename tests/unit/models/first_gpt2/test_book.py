"""State dicts of the book's GPTModel come back as the model they were, and what is none is refused before it runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from support.book import BLOCKS, CONTEXT, HEADS, TOKENIZER, VOCABULARY, WIDTH, GPTModel, book_model, save_book
from support.reference import packed, ragged
from tailtune.errors import ConfigError, ModelError
from tailtune.models.first_gpt2.book import convert_book, is_book_state, read_book
from tailtune.models.weights import load_decoder


def _convert(source: Path, folder: Path) -> Path:
    folder.mkdir()
    convert_book(source, folder, tokenizer=TOKENIZER, heads=HEADS)
    return folder


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_the_model_computes_the_same(tmp_path: Path, suffix: str, qkv_bias: bool) -> None:
    """Scores of the book's modules and of ours, and of the reference library on the folder, to 1e-5."""
    from transformers import GPT2LMHeadModel

    model = book_model(qkv_bias=qkv_bias)
    folder = _convert(save_book(model, tmp_path / f"model{suffix}"), tmp_path / "out")
    decoder = load_decoder(folder)
    assert (decoder.config.blocks, decoder.config.heads, decoder.config.context) == (BLOCKS, HEADS, CONTEXT)
    reference = GPT2LMHeadModel.from_pretrained(folder).eval()
    texts = ragged([1, 7, 7, CONTEXT], vocabulary=VOCABULARY)
    batch, ids, layout = packed(decoder, texts)
    with torch.inference_mode():
        last = decoder.read_rows(decoder.embed(ids, layout), layout)
        for row, number in zip(last, batch.texts, strict=True):
            expected = model(torch.from_numpy(texts[number])[None])[0, -1]
            torch.testing.assert_close(model.out_head(row), expected, rtol=1e-5, atol=1e-5)
            got = reference(torch.from_numpy(texts[number])[None]).logits[0, -1]
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_head_that_is_the_embedding_is_not_written_twice(tmp_path: Path) -> None:
    """The book copies the embedding into the head, which doubles 40 million numbers; tied tensors load too."""
    from safetensors.numpy import load_file

    model = book_model()
    model.out_head.weight = model.tok_emb.weight
    folder = _convert(save_book(model, tmp_path / "model.pth"), tmp_path / "out")
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")


def test_a_checkpoint_with_an_optimiser(tmp_path: Path) -> None:
    """What the book saves to go on training holds the state dict under a name."""
    model = book_model()
    optimiser = torch.optim.AdamW(GPTModel().parameters())
    saved = {"model_state_dict": model.state_dict(), "optimizer_state_dict": optimiser.state_dict()}
    torch.save(saved, tmp_path / "model.pth")
    found = read_book(tmp_path / "model.pth", heads=HEADS)
    assert torch.equal(torch.from_numpy(found.tensors["wte.weight"]), model.tok_emb.weight)


def test_half_precision_is_widened(tmp_path: Path) -> None:
    """bf16 numbers are read as the fp32 numbers they are."""
    model = book_model().to(torch.bfloat16)
    found = read_book(save_book(model, tmp_path / "model.pth"), heads=HEADS)
    assert torch.equal(torch.from_numpy(found.tensors["wpe.weight"]), model.pos_emb.weight.float())


def test_is_recognised(tmp_path: Path, tiny_gpt2: Path) -> None:
    """By its names, in both kinds of file; other weights, other files and folders are none."""
    assert is_book_state(save_book(book_model(), tmp_path / "model.pth"))
    assert is_book_state(save_book(book_model(), tmp_path / "model.safetensors"))
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    (tmp_path / "noise.pth").write_bytes(b"noise")
    others = (tmp_path / "other.pth", tmp_path / "noise.pth", tiny_gpt2 / "model.safetensors", tiny_gpt2)
    assert not any(is_book_state(path) for path in (*others, tmp_path / "absent.pth"))


def test_the_number_of_heads(tmp_path: Path) -> None:
    """No tensor tells it: known for the widths of GPT-2, asked for else, and refused where it cannot be."""
    source = save_book(book_model(), tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"32 wide, which GPT-2 is not.*--heads"):
        read_book(source)
    with pytest.raises(ConfigError, match="--heads 5"):
        read_book(source, heads=5)


class _Runs:
    """What a hostile pickle holds: reading it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("beside", [False, True])
def test_a_pickle_that_would_run_code_runs_none(tmp_path: Path, protocol: int, beside: bool) -> None:
    """Alone or among real tensors, in the pickle protocol of torch.save or a newer one: refused in one line."""
    marker, source = tmp_path / "ran", tmp_path / "model.pth"
    hostile: Any = {**book_model().state_dict(), "extra": _Runs(marker)} if beside else _Runs(marker)
    torch.save(hostile, source, pickle_protocol=protocol)
    with pytest.raises(ModelError, match="asks to run") as caught:
        read_book(source, heads=HEADS)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    torch.load(source, weights_only=False)  # it was no dud
    assert marker.exists()


def test_a_bare_pickle_runs_none(tmp_path: Path) -> None:
    """A file that is no archive of torch.save is not unpickled at all."""
    marker, source = tmp_path / "ran", tmp_path / "model.pth"
    source.write_bytes(pickle.dumps(_Runs(marker)))
    with pytest.raises(ModelError, match=r"not written by torch\.save"):
        read_book(source, heads=HEADS)
    assert not marker.exists()


def test_an_archive_behind_something_else_is_refused(tmp_path: Path) -> None:
    """Zip files are found from their end; what begins otherwise is another file to PyTorch than to who looks at it."""
    source = save_book(book_model(), tmp_path / "model.pth")
    source.write_bytes(bytes(512) + source.read_bytes())
    assert zipfile.is_zipfile(source)
    with pytest.raises(ModelError, match=r"not written by torch\.save"):
        read_book(source, heads=HEADS)


def test_a_script_is_refused(tmp_path: Path) -> None:
    """A second pickle in the archive is code or constants, not tensors."""
    source = save_book(book_model(), tmp_path / "model.pth")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("model/constants.pkl", b"x")
    with pytest.raises(ModelError, match="2 pickles in it, expected one"):
        read_book(source, heads=HEADS)


def test_a_whole_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """torch.save(model) instead of its state dict holds a class, not only numbers."""
    torch.save(book_model(), tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"asks to run support\.book\.GPTModel; .*model\.state_dict\(\)"):
        read_book(tmp_path / "model.pth", heads=HEADS)


@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_a_cut_short_archive(tmp_path: Path, keep: int) -> None:
    """A copy that stopped early."""
    source = save_book(book_model(), tmp_path / "model.pth")
    source.write_bytes(source.read_bytes()[:keep])
    with pytest.raises(ModelError, match="cut short"):
        read_book(source, heads=HEADS)


def test_a_flipped_bit(tmp_path: Path) -> None:
    """PyTorch reads on over a damaged weight; the archive's own checksums tell it."""
    source = save_book(book_model(), tmp_path / "model.pth")
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    source.write_bytes(content)
    torch.load(source, weights_only=True)
    with pytest.raises(ModelError, match=r"its part model/data/\d+ does not have its checksum"):
        read_book(source, heads=HEADS)


def test_an_archive_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """Compressed parts, which torch.save never writes, are refused before they are unpacked."""
    source = save_book(book_model(), tmp_path / "model.pth")
    with zipfile.ZipFile(source, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/data/99", "w") as part:
        for _ in range(64):
            part.write(bytes(1 << 20))
    with pytest.raises(ModelError, match="its parts are compressed"):
        read_book(source, heads=HEADS)


def test_a_tensor_larger_than_its_file(tmp_path: Path) -> None:
    """One number stretched to a billion by a stride of zero: the child's memory ends, not the machine's."""
    state = book_model().state_dict()
    torch.save({**state, "pos_emb.weight": torch.zeros(1).expand(1 << 15, 1 << 15)}, tmp_path / "model.pth")
    with pytest.raises(ModelError) as caught:
        read_book(tmp_path / "model.pth", heads=HEADS)
    assert "\n" not in str(caught.value)


_CHANGES = [
    ({"final_norm.scale": torch.full((WIDTH,), float("nan"))}, "final_norm.scale holds NaN or infinite"),
    ({"final_norm.scale": torch.ones(WIDTH + 1)}, r"final_norm.scale has shape \[33\], expected \[32\]"),
    ({"trf_blocks.1.ff.layers.0.weight": None}, "trf_blocks.1.ff.layers.0.weight is missing"),
    ({"trf_blocks.1.att.W_key.bias": None}, "trf_blocks.1.att.W_key.bias is missing"),
    ({"out_head.weight": None}, "out_head.weight is missing"),
    ({"tok_emb.weight": None}, "not a state dict of the book's GPTModel: it has no tok_emb.weight"),
    ({"tok_emb.weight": torch.ones(3)}, "tok_emb.weight has shape .*, expected a matrix"),
    ({"trf_blocks.0.att.W_query.lora.A": torch.ones(2, 2)}, "not known in .*merge the LoRA layers first"),
]


@pytest.mark.parametrize(
    ("suffix", "change", "said"), [*((".safetensors", *each) for each in _CHANGES), (".pth", *_CHANGES[0])]
)
def test_other_tensors(tmp_path: Path, suffix: str, change: dict[str, torch.Tensor | None], said: str) -> None:
    """Missing, misshapen, not finite or unknown: one line that names the file as it was given."""
    state = {name: value for name, value in (book_model().state_dict() | change).items() if value is not None}
    source = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(state, source)
    else:
        from safetensors.torch import save_file

        save_file(state, source)
    with pytest.raises(ModelError, match=said) as caught:
        read_book(source, heads=HEADS)
    assert str(caught.value).startswith(str(source))
