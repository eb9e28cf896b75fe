"""Models in other forms than Hugging Face's: recognised, converted once into the cache, known by their content."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from support.gguf_files import write_gguf_of
from tailtune.errors import ModelError
from tailtune.models.sources.catalog import find_kept, kept, remove, resolve
from tailtune.models.sources.formats import content_sha256, converted_home, format_of, formats
from tailtune.models.sources.kept import read_manifest
from tailtune.storage import sha256_file


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """The tiny Llama as a GGUF file; read it only."""
    return write_gguf_of(tiny_llama, tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _stages(path: Path) -> list[str]:
    """What progress is told while ``path`` is resolved."""
    told: list[str] = []
    resolve(str(path), progress=lambda stage, done, total, unit: told.append(stage))
    return told


def test_a_gguf_file_is_the_model_it_was_made_of(gguf_file: Path, tiny_llama: Path) -> None:
    """Every weight, exactly; the path and the hash of the file are its source."""
    from tailtune.models.weights import load_decoder

    model = resolve(str(gguf_file))
    assert model.path == converted_home() / sha256_file(gguf_file)
    assert (model.name, model.source) == ("tiny.gguf", f"{gguf_file} (sha256 {sha256_file(gguf_file)})")
    expected = load_decoder(tiny_llama).state_dict()
    for name, tensor in load_decoder(model.path).state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), expected[name].numpy())


def test_the_same_content_is_converted_once(gguf_file: Path, tmp_path: Path) -> None:
    """Wherever it lies and whatever it is called; the name that is recorded is each time the one asked for."""
    assert _stages(gguf_file)
    copy = Path(shutil.copy(gguf_file, tmp_path / "other name.bin"))
    assert not _stages(copy)
    assert resolve(str(copy)).name == "other name.bin"
    assert resolve(str(copy)).path == resolve(str(gguf_file)).path


def test_a_damaged_conversion_is_made_anew(gguf_file: Path) -> None:
    """One byte short, or by an older converter."""
    folder = resolve(str(gguf_file)).path
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert _stages(gguf_file)
    assert weights.read_bytes() == whole
    manifest = folder / "source.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"scheme": 1', '"scheme": 0'), encoding="utf-8")
    assert _stages(gguf_file)
    assert read_manifest(folder)["scheme"] == 1


def test_a_broken_file_leaves_nothing(gguf_file: Path, tmp_path: Path) -> None:
    """One line, and no folder that could be taken for a model."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf_file.read_bytes()[:3000])
    with pytest.raises(ModelError, match="broken"):
        resolve(str(broken))
    assert not [path for path in converted_home().iterdir() if path.is_dir()]


@pytest.mark.parametrize("by", ["path", "name", "hash"])
def test_a_conversion_is_removed_and_the_file_stays(gguf_file: Path, by: str) -> None:
    """By the path it was made of, its name, or its hash."""
    folder = resolve(str(gguf_file)).path
    model = find_kept({"path": str(gguf_file), "name": "tiny.gguf", "hash": folder.name[:12]}[by])
    assert (model.path, model.source, model.converted_from) == (folder, str(gguf_file.resolve()), folder.name)
    remove(model)
    assert kept() == ()
    assert gguf_file.is_file()


def test_forms_are_told_apart(gguf_file: Path, tiny_llama: Path, tmp_path: Path) -> None:
    """By content, not by name; a Hugging Face folder is none of them."""
    misnamed = tmp_path / "name.gguf"
    misnamed.write_bytes(b"no such thing")
    assert [form.title for form in (format_of(gguf_file),) if form] == ["a GGUF file"]
    assert format_of(misnamed) is None
    assert format_of(tiny_llama) is None
    assert len({form.title for form in formats()}) == len(formats())


def test_a_folder_is_known_by_names_and_contents(tmp_path: Path) -> None:
    """Each matters, and nothing else."""

    def digest(**files: str) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content, encoding="utf-8")
        return content_sha256(folder)

    first = digest(a="1", b="2")
    assert first == digest(b="2", a="1")
    assert len({first, digest(a="2", b="1"), digest(a="1"), digest(a="1", c="2")}) == 4


def test_openais_files_are_a_model(tmp_path: Path) -> None:
    """The folder as OpenAI published it goes where any other --model goes, its tokenizer with it."""
    from tailtune.models.weights import load_decoder
    from tailtune.text.tokenizer import Tokenizer

    folder = shutil.copytree(Path(__file__).parents[3] / "fixtures" / "openai_gpt2", tmp_path / "gpt2")
    model = resolve(str(folder))
    assert model.path.parent == converted_home()
    assert load_decoder(model.path).config.family == "gpt2"
    assert len(Tokenizer.of_model(model.path, max_tokens=9).encode(["Do you have time"]).ids)


def test_the_books_state_dicts_are_recognised(tmp_path: Path) -> None:
    """By the names inside; its conversion fetches GPT-2's tokenizer and is tested beside it."""
    from support.book import book_model, save_book

    form = format_of(save_book(book_model(), tmp_path / "model.safetensors"))
    assert form is not None
    assert form.title == "a state dict of the book's GPTModel"
