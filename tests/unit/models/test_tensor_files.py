"""Files of tensors: written byte for byte as the library does; damaged ones are one clear line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from support.tiny_models import write_tiny_llama
from tailtune.errors import ModelError, SetupError
from tailtune.models.sources.entries import INDEX
from tailtune.models.tensor_files import SafetensorsFolder, write_tensors
from tailtune.models.weights import load_decoder
from tailtune.storage import read_json
from tailtune.text.tokenizer import Tokenizer

MODEL = "model.safetensors"
KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model", seed=1)


def refused(folder: Path, said: str) -> None:
    """Require one line that says it, and names a file."""
    with pytest.raises(ModelError, match=said) as caught:
        load_decoder(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert str(folder) in str(caught.value)


names = st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=3)


@given(st.dictionaries(names, st.tuples(st.sampled_from(KINDS), shapes), max_size=6))
@settings(max_examples=50, deadline=None)
def test_files_are_those_of_the_library(tmp_path_factory: pytest.TempPathFactory, described: Any) -> None:
    """Any types, shapes and names that UTF-8 can hold: the same bytes."""
    described = {name: kind for name, kind in described.items() if name.isprintable()}
    tensors = {
        name: torch.arange(torch.Size(shape).numel()).to(kind).view(shape) for name, (kind, shape) in described.items()
    }
    folder = tmp_path_factory.mktemp("files")
    save_file(tensors, folder / "theirs")
    write_tensors(folder / "ours", tensors)
    assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()


class Asked(Mapping[str, Tensor]):
    """Tensors that say when they are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Tensor:
        self.asked.append(name)
        return torch.full((3, 2), float(len(name)), dtype=torch.bfloat16)

    def __iter__(self) -> Iterator[str]:
        return iter(("bb", "a"))

    def __len__(self) -> int:
        return 2


def test_tensors_are_asked_for_one_by_one(tmp_path: Path) -> None:
    """The header is made from shapes alone, and a tensor is cast as it is written."""
    tensors = Asked()
    like = {name: torch.empty(3, 2, device="meta") for name in tensors}
    write_tensors(tmp_path / "file", tensors, like=like)
    assert tensors.asked == ["a", "bb"]
    assert {name: x.tolist() for name, x in load_file(tmp_path / "file").items()} == {
        "a": [[1.0] * 2] * 3,
        "bb": [[2.0] * 2] * 3,
    }


def test_a_full_disk_is_said() -> None:
    """One line, and the exit code of the machine."""
    with pytest.raises(SetupError, match="no room on the disk"):
        write_tensors(Path("/dev/full"), {"a": torch.zeros(100_000)})


def shard(folder: Path) -> tuple[Path, Path]:
    """Two shards and their index made of the folder's file."""
    tensors = load_file(folder / MODEL)
    (folder / MODEL).unlink()
    parts = {"a.safetensors": sorted(tensors)[::2], "b.safetensors": sorted(tensors)[1::2]}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    index = {name: file for file, part in parts.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"weight_map": index}))
    return folder / "a.safetensors", folder / "b.safetensors"


def test_a_truncated_shard_is_told(folder: Path) -> None:
    """By its name, where the other one is whole."""
    _, last = shard(folder)
    assert load_decoder(folder).blocks
    last.write_bytes(last.read_bytes()[:-1])
    refused(folder, r"b\.safetensors: not a whole safetensors file")


def test_a_missing_shard_is_told(folder: Path) -> None:
    """By its name."""
    first, _ = shard(folder)
    first.unlink()
    refused(folder, r"1 of 2 shards are missing: a\.safetensors")


def change_index(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((folder / INDEX).read_text())
    changed = change(content)
    (folder / INDEX).write_text(json.dumps(content if changed is None else changed))


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    "place", ["../a.safetensors", "/etc/passwd", "..", ".", "", "x/a.safetensors", 7, None, ["a"], "a\0b", "a.bin"]
)
def test_an_index_leads_to_files_beside_it_only(folder: Path, place: Any) -> None:
    """Other folders, and what is no name, are refused without a look there."""
    shard(folder)
    (folder.parent / "a.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    change_index(folder, lambda index: index["weight_map"].update({NORM: place}))
    refused(folder, r"model\.norm\.weight lies in .*, expected the name of a \.safetensors file beside it")


@pytest.mark.parametrize("index", [{}, [], "weight_map", {"weight_map": []}, {"weight_map": {}}, {"weight_map": "a"}])
def test_an_index_without_a_map_is_told(folder: Path, index: Any) -> None:
    """No map from tensors to files."""
    shard(folder)
    change_index(folder, lambda _: index)
    refused(folder, r"index\.json: (has no weight_map|expected a JSON object)")


def test_an_index_that_is_wrong_is_told(folder: Path) -> None:
    """A tensor lies in another shard than the index says, or in none."""
    shard(folder)
    index = json.loads((folder / INDEX).read_text())["weight_map"]
    other = {"a.safetensors": "b.safetensors", "b.safetensors": "a.safetensors"}[index[NORM]]
    change_index(folder, lambda content: content["weight_map"].update({NORM: other}))
    refused(folder, rf"(in {index[NORM]}, and {INDEX} looks for it in {other}|{other}: does not hold {NORM})")
    tensors = load_file(folder / index[NORM])
    save_file({name: tensor for name, tensor in tensors.items() if name != NORM}, folder / index[NORM])
    refused(folder, rf"{other}: does not hold {NORM}, which {INDEX} looks for there")


@pytest.mark.parametrize("indexed", [True, False])
def test_a_tensor_in_two_files_is_told(folder: Path, indexed: bool) -> None:
    """Which of the two would be right cannot be known."""
    if indexed:
        for file in shard(folder):
            save_file({**load_file(file), NORM: torch.zeros(32)}, file)
        refused(folder, rf"{NORM} is in [ab]\.safetensors, and (in [ab]\.safetensors too|.* looks for it in [ab])")
    else:
        save_file({NORM: torch.zeros(32)}, folder / "other.safetensors")
        refused(folder, rf"{NORM} is in other\.safetensors, and in model\.safetensors too")


def raw(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def described(*offsets: tuple[int, int]) -> dict[str, Any]:
    return {f"t{n}": {"dtype": "F32", "shape": [2], "data_offsets": list(o)} for n, o in enumerate(offsets)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**60),
        struct.pack("<Q", 2**60) + b"{}" * 100,
        struct.pack("<Q", 2**64 - 1) + b"{}",
        raw(b"not json"),
        raw(b"[" * 100_000),
        raw(described((0, 8), (4, 12)), bytes(12)),
        raw(described((0, 8), (0, 8)), bytes(8)),
        raw(described((0, 8), (12, 20)), bytes(20)),
        raw(described((8, 0)), bytes(8)),
        raw(described((0, 8)), bytes(7)),
        raw(described((0, 8)), bytes(9)),
        raw({"t": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, bytes(8)),
        raw({"t": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    ],
)
def test_damaged_heads_are_told(folder: Path, content: bytes) -> None:
    """Empty, a head of an exabyte, nonsense, tensors that overlap or leave gaps, shapes that do not fit."""
    (folder / MODEL).write_bytes(content)
    refused(folder, r"model\.safetensors: not a whole safetensors file")


def edit(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(folder / MODEL)
    change(tensors)
    save_file(tensors, folder / MODEL)


KEY, ROWS = "model.layers.1.self_attn.k_proj.weight", (16, 32)


@pytest.mark.parametrize("shape", [(3, 3), (32, 16), (16, 31), (512,), (16, 32, 1), (17, 32), ()])
def test_parts_of_joined_tensors_have_their_own_shape(folder: Path, shape: tuple[int, ...]) -> None:
    """Keys lie between queries and values in our tensors; the file's name and shape are told, and what was expected."""
    edit(folder, lambda tensors: tensors.update({KEY: torch.zeros(shape)}))
    refused(folder, rf"{KEY} has shape \[{', '.join(map(str, shape))}\], expected \[16, 32\]")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (torch.int64, "holds I64 values, expected one of F64, F32, F16, BF16"),
        (torch.bool, "holds BOOL values"),
        (torch.int8, r"holds quantised weights \(I8\), which are not read"),
        (torch.uint8, r"holds quantised weights \(U8\)"),
        (torch.float8_e4m3fn, r"holds quantised weights \(F8_E4M3\), .*use the unquantised model, or its GGUF file"),
        (torch.float8_e5m2, r"holds quantised weights \(F8_E5M2\)"),
    ],
)
def test_types_that_are_no_weights_are_told(folder: Path, kind: torch.dtype, said: str) -> None:
    """Whole numbers and quantised weights."""
    edit(folder, lambda tensors: tensors.update({KEY: torch.zeros(ROWS).to(kind)}))
    refused(folder, rf"{KEY} {said}")


def test_a_config_of_quantised_weights_is_told(folder: Path) -> None:
    """Before any tensor is looked for: their names differ."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    with pytest.raises(
        ModelError, match=r"quantised weights \(gptq\) are not read \(use the unquantised model, or its"
    ):
        load_decoder(folder)


@pytest.mark.parametrize("above", [None, 0])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [KEY, NORM, "model.embed_tokens.weight"])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_values_that_are_no_numbers_are_told(
    folder: Path, name: str, value: float, kind: torch.dtype, above: int | None
) -> None:
    """One value among thousands, of any type, mapped or not."""

    def poison(tensors: dict[str, Tensor]) -> None:
        tensors[name] = tensors[name].to(kind)
        tensors[name].view(-1)[-3] = value

    edit(folder, poison)
    with pytest.raises(ModelError, match=rf"{name} holds NaN or infinite values"):
        load_decoder(folder, map_above=above)


def test_values_too_large_for_fp32_are_told(folder: Path) -> None:
    """Finite in fp64, infinite where it counts."""
    edit(folder, lambda tensors: tensors.update({NORM: torch.full((32,), 1e39, dtype=torch.float64)}))
    refused(folder, "holds NaN or infinite values")


@pytest.mark.parametrize("above", [None, 0])
def test_types_may_be_mixed_in_one_file(folder: Path, above: int | None) -> None:
    """Parts of a joined tensor too; each becomes fp32 exactly."""
    kinds = [torch.float16, torch.bfloat16, torch.float64, torch.float32]
    exact = load_file(folder / MODEL)
    for place, name in enumerate(sorted(exact)):
        exact[name] = exact[name].to(kinds[place % 4])
    save_file(exact, folder / MODEL)
    from tailtune.models.mapped import tensors_of

    given = tensors_of(load_decoder(folder, map_above=above))
    joined = torch.cat([exact[f"model.layers.2.self_attn.{part}_proj.weight"].float() for part in "qkv"])
    assert torch.equal(given["blocks.2.query_key_value.weight"].float(), joined)
    assert torch.equal(given["embedding.weight"].float(), exact["model.embed_tokens.weight"].float())


@pytest.mark.parametrize("said", [2, 6, 1000, 10**9])
def test_another_number_of_blocks_is_told(folder: Path, said: int) -> None:
    """A config that says more or fewer than the file holds, a billion too: at once."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": said}))
    whole = f"the weights are of 4 blocks, config.json says {said}"
    refused(folder, whole if said < 10_000 else r"config\.json: num_hidden_layers = \d+, expected at most 10000")


@pytest.mark.parametrize("size", [10**7, 10**10, 10**19, 10**40])
@pytest.mark.parametrize(
    "key", ["hidden_size", "vocab_size", "intermediate_size", "head_dim", "max_position_embeddings"]
)
def test_sizes_of_no_model_are_told(folder: Path, key: str, size: int) -> None:
    """At once, without room being made for them; the longest text is not seen in the weights of a Llama."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: size}))
    if size > 10**7:
        refused(folder, r"config\.json: a size of \d+, expected at most 268435456")
    elif key != "max_position_embeddings":
        refused(folder, r"has shape \[\d+, 32\], expected \[")
    else:
        assert load_decoder(folder).config.context == size


def test_a_head_may_be_there_or_not(folder: Path) -> None:
    """It is not read either way."""
    before = load_decoder(folder).state_dict()
    edit(folder, lambda tensors: tensors.update({"lm_head.weight": torch.full((400, 32), float("nan"))}))
    after = load_decoder(folder).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"3", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000],
)
def test_a_config_that_is_no_object_is_told(folder: Path, content: bytes) -> None:
    """Not JSON, of another kind, nested without end, not UTF-8."""
    (folder / "config.json").write_bytes(content)
    refused(folder, r"config\.json: (not valid JSON|expected a JSON object)")


def test_a_config_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A folder in its place, or nothing."""
    (tmp_path / "config.json").mkdir()
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        read_json(tmp_path / "config.json")
    with pytest.raises(ModelError, match="no such file"):
        read_json(tmp_path / "other.json")


def test_an_empty_tokenizer_is_told(folder: Path) -> None:
    """0 bytes."""
    (folder / "tokenizer.json").write_bytes(b"")
    with pytest.raises(ModelError, match=r"tokenizer\.json: not a usable tokenizer"):
        Tokenizer.load(folder / "tokenizer.json", max_tokens=8)


def test_a_folder_gives_views_of_its_files(folder: Path) -> None:
    """Reading copies nothing: a change of the file shows in the tensor."""
    files = SafetensorsFolder(folder)
    tensor = files.read(NORM)
    content = (folder / MODEL).read_bytes()
    place = content.index(tensor.numpy().tobytes())
    with (folder / MODEL).open("r+b") as file:
        file.seek(place)
        file.write(struct.pack("<f", 42.0))
    assert tensor[0] == 42.0


def test_writing_to_a_view_leaves_the_file_alone(folder: Path) -> None:
    """A mapped weight that is changed is this process's own from then on."""
    before = (folder / MODEL).read_bytes()
    tensor = SafetensorsFolder(folder).read(NORM)
    tensor.add_(1.0)
    assert torch.equal(tensor, load_file(folder / MODEL)[NORM] + 1.0)
    assert (folder / MODEL).read_bytes() == before


@pytest.mark.parametrize("blanks", range(8))
def test_heads_of_any_length_are_read(folder: Path, blanks: int) -> None:
    """Older writers did not pad them, so that tensors lie at odd places."""
    content = (folder / MODEL).read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    head = content[8 : 8 + size].rstrip() + b" " * blanks
    wanted = load_decoder(folder).state_dict()
    wanted = {name: tensor.clone() for name, tensor in wanted.items()}
    (folder / MODEL).write_bytes(struct.pack("<Q", len(head)) + head + content[8 + size :])
    given = load_decoder(folder).state_dict()
    assert all(torch.equal(tensor, given[name]) for name, tensor in wanted.items())


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_mapping_reserves_no_memory(folder: Path) -> None:
    """Else a file larger than the memory could not be mapped: Linux refuses what it could not hold ("ac": counted)."""
    files = SafetensorsFolder(folder)
    assert files.read(NORM).numel()
    seen = Path("/proc/self/smaps").read_text().split(str(folder / MODEL))[1]
    flags = next(line.split() for line in seen.splitlines() if line.startswith("VmFlags:"))
    assert "nr" in flags
    assert "ac" not in flags
