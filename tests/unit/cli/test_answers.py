"""Answers in a file: whole or beside their name, gone on with wherever they were cut, never mixed with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailtune.cli.answers import Answers
from tailtune.cli.lines import Record
from tailtune.errors import ConfigError, DataError

CHUNK = 4
RECORDS = [Record(line=line, text=f"text {line}", kept={"id": f"é{line}"} if line % 2 else {}) for line in range(1, 11)]
CHUNKS = [RECORDS[start : start + CHUNK] for start in range(0, len(RECORDS), CHUNK)]


def answer(record: Record) -> str:
    return json.dumps({"line": record.line, **record.kept, "probabilities": {"a": 1.0}}, ensure_ascii=False)


WHOLE = "".join(f"{answer(record)}\n" for record in RECORDS).encode()


def write(out: Path, *, resume: bool = False, chunks: list[list[Record]] = CHUNKS) -> tuple[int, int]:
    """Return the answers kept and the texts answered again."""
    answered = 0
    with Answers(out, resume=resume) as answers:
        for chunk in chunks:
            if len(answers.held(chunk)) < len(chunk):
                answers.write([answer(record) for record in chunk])
                answered += len(chunk)
        answers.publish()
    return answers.kept, answered


def test_answers_get_their_name_when_whole(tmp_path: Path) -> None:
    """Until then they lie in the part."""
    out = tmp_path / "answers.jsonl"
    with Answers(out, resume=False) as answers:
        answers.held(CHUNKS[0])
        answers.write([answer(record) for record in CHUNKS[0]])
        assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl.part"]
        assert len((tmp_path / "answers.jsonl.part").read_bytes().splitlines()) == CHUNK
        answers.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.parametrize("length", [*range(0, len(WHOLE), 7), len(WHOLE) - 1, len(WHOLE)])
def test_a_part_cut_anywhere_is_completed_to_the_same_bytes(tmp_path: Path, length: int) -> None:
    """Complete lines count as kept; whole chunks are not answered again, nor is anything twice in the file."""
    out, part = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.part"
    part.write_bytes(WHOLE[:length])
    kept, answered = write(out, resume=True)
    assert out.read_bytes() == WHOLE
    assert kept == WHOLE[:length].count(b"\n")
    assert answered == len(RECORDS) - (kept if kept == len(RECORDS) else kept // CHUNK * CHUNK)
    assert not part.exists()


def test_resuming_what_never_began_is_beginning(tmp_path: Path) -> None:
    """So one command line serves every attempt."""
    assert write(tmp_path / "answers.jsonl", resume=True) == (0, 10)
    assert (tmp_path / "answers.jsonl").read_bytes() == WHOLE


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A part needs --resume, a whole file another name; both stay as they are."""
    out, part = tmp_path / "answers.jsonl", tmp_path / "answers.jsonl.part"
    part.write_bytes(WHOLE[:50])
    with pytest.raises(ConfigError, match=r"answers\.jsonl\.part of an earlier call is there") as caught:
        Answers(out, resume=False)
    assert "--resume" in str(caught.value.hint)
    part.rename(out)
    for resume in (False, True):
        with pytest.raises(ConfigError, match="is there already"):
            Answers(out, resume=resume)
    assert out.read_bytes() == WHOLE[:50]


def test_two_processes_do_not_write_one_part(tmp_path: Path) -> None:
    """The second is refused while the first is at work."""
    out = tmp_path / "answers.jsonl"
    with Answers(out, resume=True) as first:
        first.held(CHUNKS[0])
        first.write([answer(record) for record in CHUNKS[0]])
        with pytest.raises(ConfigError, match="another process is writing"), Answers(out, resume=True):
            raise AssertionError("two writers")


def test_a_failure_before_the_first_answer_leaves_nothing(tmp_path: Path) -> None:
    """No empty part that the next call would have to be told about."""
    with pytest.raises(RuntimeError), Answers(tmp_path / "answers.jsonl", resume=False):
        raise RuntimeError("no model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (WHOLE.replace(b'"line": 2,', b'"line": 3,'), "answers line 3 (id None), but the input has line 2 (id None)"),
        (WHOLE.replace("é3".encode(), b"e3"), "answers line 3 (id 'e3'), but the input has line 3 (id 'é3')"),
        (b"\0\0\0\n", "part:1: not an answer"),
        (WHOLE[: WHOLE.index(b"\n") + 1] + b"[]\n", "part:2: not an answer"),
        (WHOLE + WHOLE, "holds more answers than the input has texts (10)"),
    ],
)
def test_answers_to_something_else_are_refused(tmp_path: Path, part: bytes, said: str) -> None:
    """Another input, or a damaged file: it is named, and left as it is."""
    (tmp_path / "answers.jsonl.part").write_bytes(part)
    with pytest.raises(DataError) as caught:
        write(tmp_path / "answers.jsonl", resume=True)
    assert said in caught.value.message
    assert (tmp_path / "answers.jsonl.part").read_bytes() == part


def test_chunks_without_texts_are_passed_over(tmp_path: Path) -> None:
    """Blank lines between JSON objects have no answers."""
    write(tmp_path / "answers.jsonl", chunks=[[], CHUNKS[0], [], [], CHUNKS[1], CHUNKS[2], []])
    assert (tmp_path / "answers.jsonl").read_bytes() == WHOLE
