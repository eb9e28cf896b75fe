"""GPT-2's two tokenizer files become one tokenizer.json: the same ids, in one file that needs no code beside it.

OpenAI calls them encoder.json and vocab.bpe, Hugging Face vocab.json and merges.txt: the number of each piece, and the
pairs that are merged, most frequent first. Knows nothing about models.
"""

from __future__ import annotations

from pathlib import Path

from tailtune.errors import ModelError
from tailtune.storage import read_json

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_JSON = "tokenizer.json"
PAIRS = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))


def read_tokenizer(path: Path) -> bytes:
    """Return the content of a tokenizer.json: the one at ``path``, or what GPT-2's two files there amount to.

    Args:
        path: A tokenizer.json, one of the two files, or a folder that holds the one or the two.

    Raises:
        ModelError: If there is neither, or the two do not fit together.
    """
    names = {path.name} if path.is_file() else {file.name for file in path.glob("*")}
    folder = path.parent if path.is_file() else path
    for pair in PAIRS:
        if names & set(pair) and TOKENIZER_JSON not in names:
            return join_gpt2_files(*(folder / name for name in pair))
    file = path if path.is_file() else path / TOKENIZER_JSON
    if not file.is_file():
        wanted = ", or ".join(" and ".join(pair) for pair in ((TOKENIZER_JSON,), *PAIRS))
        raise ModelError(f"{path}: no tokenizer there", hint=f"give a folder or file: {wanted}")
    return file.read_bytes()


def holds_gpt2_files(folder: Path) -> bool:
    """Say whether both files of one of the pairs are in ``folder``."""
    return any(all((folder / name).is_file() for name in pair) for pair in PAIRS)


def join_gpt2_files(vocabulary: Path, merges: Path) -> bytes:
    """Return the tokenizer.json whose ids are those of GPT-2's own tokenizer with these two files.

    Args:
        vocabulary: encoder.json or vocab.json.
        merges: vocab.bpe or merges.txt.

    Raises:
        ModelError: If a file is missing or damaged, or a merge makes a piece that has no number.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    numbers = _read_vocabulary(vocabulary)
    pairs = _read_merges(merges)
    for first, second in pairs:
        strange = next((piece for piece in (first, second, first + second) if piece not in numbers), None)
        if strange is not None:
            raise ModelError(f"{merges}: merges to or from {strange!r}, which {vocabulary.name} does not know")
    tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return tokenizer.to_str().encode()


def _read_vocabulary(path: Path) -> dict[str, int]:
    from tokenizers.pre_tokenizers import ByteLevel

    numbers = read_json(path)
    if not all(type(number) is int for number in numbers.values()):
        raise ModelError(f"{path}: expected one JSON object from pieces to whole numbers")
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise ModelError(f"{path}: its {len(numbers)} pieces do not have the numbers 0 to {len(numbers) - 1}")
    absent = [piece for piece in (END_OF_TEXT, *ByteLevel.alphabet()) if piece not in numbers]
    if absent:
        raise ModelError(f"{path}: not GPT-2's: it lacks {absent[0]!r}, and {len(absent) - 1} more pieces of it")
    return numbers


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid UTF-8: {error}") from error
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        parts = line.rstrip("\r").split(" ")
        if len(parts) != 2 or not all(parts):
            raise ModelError(f"{path}:{number}: expected two pieces with a blank between them, got {line!r}")
        found.append((parts[0], parts[1]))
    return found
