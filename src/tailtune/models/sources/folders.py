"""What a Hugging Face model folder must hold, and the ways out of what it may hold instead."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from tailtune.errors import ModelError
from tailtune.models.sources.entries import INDEX
from tailtune.storage import read_json
from tailtune.text.gpt2_files import PAIRS, TOKENIZER_JSON

_PICKLED = (".bin", ".pth", ".pt")
# Any of these is enough to tokenise as the model was trained; the pairs are how GPT-2 was first published.
TOKENIZERS = ((TOKENIZER_JSON,), *PAIRS)


def require_model_files(names: Collection[str], where: str) -> None:
    """Refuse a folder whose files are not those of a model.

    Args:
        names: Of its files.
        where: Said in errors.

    Raises:
        ModelError: It lists what is missing; pickled weights are named as such.
    """
    missing = [] if "config.json" in names else ["config.json"]
    if not any(all(part in names for part in parts) for parts in TOKENIZERS):
        missing.append("tokenizer.json")
    if not any(name.endswith(".safetensors") for name in names):
        _refuse_other_weights(names, where)
        missing.append("*.safetensors")
    if missing:
        raise ModelError(f"{where}: not a model folder, it lacks {', '.join(missing)}")


def _refuse_other_weights(names: Collection[str], where: str) -> None:
    if found := sorted(name for name in names if name.endswith(".gguf")):
        raise ModelError(f"{where}: holds GGUF files only", hint=f"give the file itself, such as {found[0]}")
    if any(name.endswith(_PICKLED) for name in names):
        raise ModelError(
            f"{where}: holds pickled weights only (.bin, .pt), which are not read: they can run code",
            hint="convert them: AutoModel.from_pretrained(folder).save_pretrained(new) with transformers",
        )


def require_model_folder(path: Path) -> None:
    """Refuse a folder that is no Hugging Face model folder, or lacks parts of its weights.

    Raises:
        ModelError: It lists what is missing; pickled weights are named as such.
    """
    require_model_files([file.name for file in path.iterdir() if file.is_file()], str(path))
    if (path / INDEX).is_file():
        wanted = shards(path / INDEX)
        absent = [name for name in wanted if not (path / name).is_file()]
        if absent:
            raise ModelError(f"{path}: {len(absent)} of {len(wanted)} shards are missing: {', '.join(absent)}")


def weight_map(index: Path) -> dict[str, str]:
    """Return tensor -> file of an index of shards.

    Raises:
        ModelError: If it lists none, or files that lie elsewhere.
    """
    listed = read_json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ModelError(f"{index}: has no weight_map from tensors to files", hint="download it again")
    for name, file in listed.items():
        if not isinstance(file, str) or Path(file).name != file or "\0" in file or not file.endswith(".safetensors"):
            raise ModelError(
                f"{index}: {name} lies in {str(file)[:80]!r}, expected the name of a .safetensors file beside it"
            )
    return listed


def shards(index: Path) -> list[str]:
    """Return the names of the files that an index of shards lists.

    Raises:
        ModelError: As for ``weight_map``.
    """
    return sorted(set(weight_map(index).values()))
