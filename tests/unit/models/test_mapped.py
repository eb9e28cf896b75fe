"""Models that stay in their files: the same answers, a fraction of the memory, and only the shards that are needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from support.architectures import ARCHITECTURES
from support.classifiers import probe_bundle
from support.large_models import write_large_llama
from support.reference import write_reference
from support.texts import messages
from support.tiny_models import write_tiny_gpt2, write_tiny_llama
from tailtune.bundle import write_bundle
from tailtune.errors import ModelError
from tailtune.features.backbone import Backbone, Wanted
from tailtune.features.cost import stored_bytes
from tailtune.methods.tail import new_tail
from tailtune.models.decoder import Decoder
from tailtune.models.int8 import to_int8
from tailtune.models.mapped import MappedDecoder, memory_bytes, shapes_of, tensors_of
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokenizer, Tokens

CPU = torch.device("cpu")

# Loads a model, runs a pass and prints the memory that only this process has, at most, in MB above that before it.
MEASURED = """
import json, sys, threading, time
from pathlib import Path
import numpy as np, torch
from tailtune.features.allocator import keep_freed_memory
from tailtune.features.backbone import Backbone, Wanted
from tailtune.models.weights import load_decoder
from tailtune.text.tokenizer import Tokens

def sizes():
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return next(int(words[1]) / 1000 for words in lines if words[0] == "RssAnon:")

def look():
    while True:
        seen.append(sizes())
        time.sleep(0.002)

def maps():
    found, name = {}, ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0]:
            name = Path(words[-1]).name
        elif words[0] == "Rss:" and name.endswith(".safetensors"):
            found[name] = found.get(name, 0) + int(words[1]) / 1000
    return found

def states(backbone):
    ids = np.arange(1, 37, dtype=np.int32)
    tokens = Tokens(ids=ids, offsets=np.array([0, 16, 36]), full_lengths=np.array([16, 20]))
    (piece,) = backbone.run(tokens, Wanted(states=(backbone.depth,)))
    return piece.states[backbone.depth]

folder, depth, above, out = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
keep_freed_memory()
before, seen = sizes(), []
threading.Thread(target=look, daemon=True).start()
decoder = load_decoder(folder, depth=depth, map_above=above, final_norm=False)
loaded, mapped = max([sizes(), *seen]), maps()
backbone = Backbone(decoder, device=torch.device("cpu"))
np.save(out, states(backbone))
print(json.dumps({"load": loaded - before, "pass": max([sizes(), *seen]) - before, "maps": mapped}))
"""


def measured(folder: Path, out: Path, *, depth: int | None, above: int | None) -> dict[str, Any]:
    """What MEASURED prints of a process of its own."""
    arguments = [str(folder), json.dumps(depth), json.dumps(above), str(out)]
    done = subprocess.run([sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def megabytes(decoder: Decoder) -> float:
    """Size of the weights in fp32."""
    return sum(4 * tensor.numel() for tensor in shapes_of(decoder).values()) / 1e6


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """206 MB of weights in fp32, stored in bf16 in four shards; read it only."""
    return write_large_llama(tmp_path_factory.mktemp("large"))


needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def mapped(large: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Any]:
    """What reading it and a pass take where it stays in its files, and the states."""
    out = tmp_path_factory.mktemp("mapped") / "states.npy"
    return measured(large, out, depth=None, above=0), np.load(out)


@needs_proc
def test_a_mapped_model_takes_the_memory_of_a_block(large: Path, mapped: tuple[dict[str, Any], Any]) -> None:
    """Reading it takes nothing, a pass less than 0.35 of the fp32 size."""
    size = megabytes(load_decoder(large, map_above=0))
    assert 200 < size < 210
    assert mapped[0]["load"] < 0.05 * size
    assert 0.05 * size < mapped[0]["pass"] < 0.35 * size


@needs_proc
def test_a_plain_model_takes_its_size(large: Path, mapped: tuple[dict[str, Any], Any], tmp_path: Path) -> None:
    """Reading takes the fp32 size and no more; the states are those of the mapped model."""
    plain = measured(large, tmp_path / "states.npy", depth=None, above=None)
    assert 0.8 < plain["load"] / megabytes(load_decoder(large, map_above=0)) < 1.1
    wanted = np.load(tmp_path / "states.npy")
    assert np.abs(mapped[1] - wanted).max() < 1e-5 * np.abs(wanted).max()


@needs_proc
def test_a_cut_reads_no_more_than_its_blocks(large: Path, tmp_path: Path) -> None:
    """Of four shards two blocks need one; of it the pages of their tensors and of the embedding are touched."""
    found = measured(large, tmp_path / "states.npy", depth=2, above=0)["maps"]
    stored = megabytes(load_decoder(large, depth=2, map_above=0)) / 2  # bf16
    first = found.pop("model-00001-of-00004.safetensors")
    assert not found
    assert 0.9 * stored < first < 1.1 * stored + 1.5  # a touched page brings neighbours along
    assert stored < 0.7 * (large / "model-00001-of-00004.safetensors").stat().st_size / 1e6


def tokens_of(folder: Path) -> Tokens:
    tokenizer = Tokenizer.load(folder / "tokenizer.json", max_tokens=64)
    return tokenizer.encode(messages(12)[0])


def states_of(decoder: Decoder, tokens: Tokens) -> list[Any]:
    """Token states at every depth, batch by batch."""
    backbone = Backbone(decoder, device=CPU)
    depths = tuple(range(backbone.depth + 1))
    return [piece.states[depth] for piece in backbone.run(tokens, Wanted(states=depths)) for depth in depths]


@pytest.mark.parametrize("write", [write_tiny_llama, write_tiny_gpt2])
def test_mapped_states_are_the_same_bytes(write: Callable[..., Path], tmp_path: Path) -> None:
    """Joined and transposed tensors too; at every depth, and after a cut."""
    folder = write(tmp_path / "model", seed=3)
    tokens = tokens_of(folder)
    plain, mapped = load_decoder(folder), load_decoder(folder, map_above=0)
    assert isinstance(mapped, MappedDecoder)
    assert not isinstance(plain, MappedDecoder)
    for one, other in ((plain, mapped), (plain.below(2), mapped.below(2))):
        pairs = list(zip(states_of(one, tokens), states_of(other, tokens), strict=True))
        assert all(np.array_equal(first, second) for first, second in pairs)
        assert len(pairs) > 2


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layout_is_read_mapped(name: str, tmp_path: Path) -> None:
    """Interleaved heads, tables of types, ALiBi, blocks without a first norm, fused files: the same tensors."""
    write_reference(ARCHITECTURES[name], tmp_path)
    plain, mapped = load_decoder(tmp_path), load_decoder(tmp_path, map_above=0)
    given, wanted = tensors_of(mapped), plain.state_dict()
    assert set(given) == set(wanted) == set(shapes_of(mapped))
    assert all(torch.equal(given[key].float(), wanted[key]) for key in wanted)
    ids = np.arange(5, 25, dtype=np.int32)
    tokens = Tokens(ids=ids, offsets=np.array([0, 8, 20]), full_lengths=np.array([8, 12]))
    for one, other in zip(states_of(plain, tokens), states_of(mapped, tokens), strict=True):
        assert np.array_equal(one, other)


def test_all_that_is_made_of_a_decoder(tiny_llama: Path, tmp_path: Path) -> None:
    """Tails, int8 twins, sizes and bundles of a mapped decoder are those of a plain one."""
    plain, mapped = load_decoder(tiny_llama), load_decoder(tiny_llama, map_above=0)

    def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    tails = [new_tail(decoder, blocks=2, depth=3, classes=3, seed=0) for decoder in (plain, mapped)]
    assert same(tails[0].state_dict(), tails[1].state_dict())
    twins = [to_int8(decoder.below(3)) for decoder in (plain, mapped)]
    assert same(twins[0].state_dict(), twins[1].state_dict())
    sizes = [stored_bytes(Backbone(decoder, device=CPU), range(1, 5)) for decoder in (plain, mapped)]
    assert sizes[0] == sizes[1]
    bundle = probe_bundle(tiny_llama)
    files = []
    for name, decoder in (("plain", plain), ("mapped", mapped)):
        (tmp_path / name).mkdir()
        cut = decoder.below(len(bundle.decoder.blocks))
        write_bundle(replace(bundle, decoder=cut), tmp_path / name, extra={})
        files.append((tmp_path / name / "backbone.safetensors").read_bytes())
    assert files[0] == files[1]


def test_threads_do_not_disturb_each_other(tiny_llama: Path) -> None:
    """All blocks share one room, so that a second pass waits for a block's end."""
    tokens = tokens_of(tiny_llama)
    backbone = Backbone(load_decoder(tiny_llama, map_above=0), device=CPU)

    def run() -> bytes:
        return b"".join(piece.states[4].tobytes() for piece in backbone.run(tokens, Wanted(states=(4,))))

    found: list[bytes] = []
    wanted = run()
    threads = [threading.Thread(target=lambda: found.extend(run() for _ in range(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 40


def test_the_limit_is_half_of_the_memory(tiny_llama: Path) -> None:
    """A tiny model is read; above the limit it is mapped, at it it is not."""
    size = round(megabytes(load_decoder(tiny_llama)) * 1e6)
    assert 2**28 < memory_bytes() < 2**50
    assert not isinstance(load_decoder(tiny_llama), MappedDecoder)
    assert not isinstance(load_decoder(tiny_llama, map_above=size), MappedDecoder)
    assert isinstance(load_decoder(tiny_llama, map_above=size - 1), MappedDecoder)


def shards_of(tmp_path: Path) -> Path:
    return write_large_llama(tmp_path / "model", width=32, wide=48, vocabulary=400, blocks=4, shards=2)


@pytest.mark.parametrize("above", [None, 0])
@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"no tensors")])
def test_damage_above_the_cut_does_not_matter(damage: Callable[[Path], Any], above: int | None, tmp_path: Path) -> None:
    """A shard of upper blocks may be missing or broken where nothing in it is asked for; else it is told."""
    folder = shards_of(tmp_path)
    upper = folder / "model-00002-of-00002.safetensors"
    assert len(load_decoder(folder, map_above=above).blocks) == 4
    damage(upper)
    assert len(load_decoder(folder, depth=2, map_above=above, final_norm=False).blocks) == 2
    for depth, norm in ((3, False), (2, True)):
        with pytest.raises(ModelError, match=re.escape(upper.name)):
            load_decoder(folder, depth=depth, final_norm=norm, map_above=above)
