"""Every form of labelled texts, and every refusal with its file and line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars
import pytest

from tailtune.data.read import dataset_from_lists, read_dataset
from tailtune.errors import ConfigError, DataError, SetupError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, *, text_column: str | None = None, label_column: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_dataset(path, text_column=text_column, label_column=label_column)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)


def kinds(path: Path) -> list[str]:
    return [finding.kind for finding in read_dataset(path).findings]


ROWS = (("hello, you", "ham"), ('say "hi"', "spam"), ("two\nlines", "ham"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"hello, you",ham\n"say ""hi""",spam\n"two\nlines",ham\n'),
        ("a.csv", 'Label;Message\nham;hello, you\nspam;"say ""hi"""\nham;"two\nlines"\n'),
        ("a.txt", 'v1\tv2\nham\thello, you\nspam\t"say ""hi"""\nham\t"two\nlines"\n'),
        ("a.tsv", 'id\tclass\tsms\n1\tham\thello, you\n2\tspam\t"say ""hi"""\n3\tham\t"two\nlines"\n'),
        ("a", 'CATEGORY,Content\r\nham,"hello, you"\r\nspam,"say ""hi"""\r\nham,"two\nlines"\r\n'),
        ("a.jsonl", "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS)),
        ("a.ndjson", "\n\n".join(json.dumps({"label": label, "sentence": text}) for text, label in ROWS)),
        ("a.txt", "".join(json.dumps({"body": text, "intent": label}) + "\r\n" for text, label in ROWS)),
    ],
)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, content: str) -> None:
    """Delimiter, quoting, column names, column order and line ends do not change what is read."""
    path = write(tmp_path, name, content)
    dataset = read_dataset(path)
    assert tuple(zip(dataset.texts, dataset.labels, strict=True)) == ROWS
    assert dataset.rows == (1, 2, 3)
    assert dataset.source == str(path)
    assert dataset.sha256 == hashlib.sha256(content.encode()).hexdigest()
    assert dataset.findings == ()


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    """Parquet columns are found by name; integer labels become their text."""
    path = tmp_path / "a.parquet"
    polars.DataFrame({"n": [1, 2, 3], "text": [text for text, _ in ROWS], "label": [0, 10, 2]}).write_parquet(path)
    dataset = read_dataset(path)
    assert dataset.texts == tuple(text for text, _ in ROWS)
    assert dataset.labels == ("0", "10", "2")
    assert dataset.classes == ("0", "2", "10")


def test_the_sms_form_keeps_every_character(tmp_path: Path) -> None:
    """Without a header, one TAB in each line: quotes are text and merge nothing, odd separators end no line."""
    content = 'ham\t"Hello\nspam\tfree "prize"\u0085 now\u2028\nham\t" to you\n\nham\t x \x0c\n'
    dataset = read_dataset(write(tmp_path, "SMSSpamCollection", content))
    assert dataset.texts == ('"Hello', 'free "prize"\u0085 now\u2028', '" to you', " x \x0c")
    assert dataset.labels == ("ham", "spam", "ham", "ham")


def test_the_sms_collection_is_read_whole(sms_spam: Path) -> None:
    """All 5,574 rows come, which a reader with default quoting does not manage."""
    dataset = read_dataset(sms_spam)
    assert len(dataset) == 5574
    assert dataset.labels.count("ham") == 4827
    assert dataset.labels.count("spam") == 747
    assert dataset.sha256 == "7d039a24a6083ed9ef0f806ebad56bbb976e3aeb8de05669173bfdc4996c239d"


def test_public_files_are_read(public_data: Path) -> None:
    """Files in the wild: upper-case column names among others, quotes and line ends inside fields, Parquet."""
    comments = read_dataset(public_data / "youtube_spam" / "Youtube01-Psy.csv")
    assert (len(comments), comments.classes) == (350, ("0", "1"))
    prompts = read_dataset(next((public_data / "deepset_prompt_injections").glob("test*.parquet")))
    assert (len(prompts), prompts.classes) == (116, ("0", "1"))


def test_stray_quotes_in_tsv_merge_no_lines(tmp_path: Path) -> None:
    """A quoting reader would merge lines 2 and 3 into one without a word; here quotes stay, and that is said."""
    path = write(tmp_path, "a.tsv", 'label\ttext\nham\t"Hello there\nspam\tfree"\nham\t"quoted"\n')
    dataset = read_dataset(path)
    assert dataset.texts == ('"Hello there', 'free"', '"quoted"')
    assert kinds(path) == ["quotes_kept"]


def test_named_columns_win(tmp_path: Path) -> None:
    """--text-column and --label-column choose, exactly or without regard to case."""
    path = write(tmp_path, "a.csv", "text,label,Notes,Kind\nt1,l1,n1,k1\nt2,l2,n2,k2\n")
    dataset = read_dataset(path, text_column="notes", label_column="Kind")
    assert (dataset.texts, dataset.labels) == (("n1", "n2"), ("k1", "k2"))


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_further_columns_are_read_by_name(tmp_path: Path, name: str) -> None:
    """As strings, row by row with the texts that are kept; a blank text takes its values along."""
    path, rows = tmp_path / name, [("t", "x", "u1", "5"), (" ", "x", "u2", "6"), ("v", "y", "u3", "7")]
    names = ["text", "label", "User", "n"]
    if name == "a.parquet":
        polars.DataFrame(rows, schema=names, orient="row").write_parquet(path)
    elif name == "a.jsonl":
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    else:
        mark = "," if name == "a.csv" else "\t"
        path.write_text("".join(mark.join(row) + "\n" for row in [tuple(names), *rows]))
    assert read_dataset(path, others=("user",)).columns == {"user": ("u1", "u3")}
    assert read_dataset(path, others=None).columns == {"User": ("u1", "u3"), "n": ("5", "7")}
    with pytest.raises(DataError, match="no column 'who'; columns present: 'text', 'label', 'User', 'n'"):
        read_dataset(path, others=("who",))


def test_a_form_without_header_has_no_further_columns(tmp_path: Path) -> None:
    """Said, not guessed."""
    with pytest.raises(DataError, match="no column 'who': without a header"):
        read_dataset(write(tmp_path, "a", "ham\tone\nspam\ttwo\n"), others=("who",))


def test_the_convention_wins_over_other_aliases(tmp_path: Path) -> None:
    """A file that follows the convention (text, label) may have other columns with usual names."""
    path = write(tmp_path, "a.csv", "comment,text,label,label_text\nc,t,1,one\n")
    assert read_dataset(path).texts == ("t",)
    assert read_dataset(path).labels == ("1",)


def test_json_labels_become_their_text(tmp_path: Path) -> None:
    """Integers and booleans are label names like any other; their order is numeric."""
    lines = [{"text": "a", "label": label} for label in (True, False, 10, 9, "x")]
    dataset = read_dataset(write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert dataset.labels == ("true", "false", "10", "9", "x")
    assert dataset.classes == ("9", "10", "false", "true", "x")


def test_a_text_of_a_megabyte_is_read(tmp_path: Path) -> None:
    """The csv module's limit of 131,072 characters a field does not hold here."""
    long = "word " * 200_000
    dataset = read_dataset(write(tmp_path, "a.csv", f'text,label\n"{long}",a\nshort,b\n'))
    assert dataset.texts == (long, "short")


def test_bom_is_removed_and_noted(tmp_path: Path) -> None:
    """A byte order mark is no part of the first column's name."""
    path = write(tmp_path, "a.csv", b"\xef\xbb\xbftext,label\nhello,ham\n")
    assert read_dataset(path).texts == ("hello",)
    assert kinds(path) == ["byte_order_mark"]


def test_blank_texts_are_dropped_and_named(tmp_path: Path) -> None:
    """White space, a zero-width space and a BOM show nothing: dropped, by row number; other rows keep theirs."""
    path = write(tmp_path, "a.csv", "text,label\na,x\n  ,x\n\u200b\ufeff,y\n,\nb,y\n")
    dataset = read_dataset(path)
    assert (dataset.texts, dataset.rows) == (("a", "b"), (1, 5))
    (finding,) = dataset.findings
    assert finding.kind == "blank_texts"
    assert finding.rows == (2, 3, 4)
    assert "3 blank texts dropped: rows 2, 3, 4" in finding.message


def test_similar_labels_are_kept_and_warned_about(tmp_path: Path) -> None:
    """Labels that differ in case or outer blanks stay as they are, and all spellings are named."""
    path = write(tmp_path, "a.csv", "text,label\na,Spam\nb,spam\nc,ham\nd, spam\n")
    dataset = read_dataset(path)
    assert dataset.labels == ("Spam", "spam", "ham", " spam")
    (finding,) = dataset.findings
    assert finding.kind == "similar_labels"
    assert "' spam', 'Spam', 'spam'" in finding.message
    assert "ham'," not in finding.message.replace("spam'", "")


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    path = tmp_path / "none.csv"
    assert f"{path}: no such file" in refusal(path)


def test_folder(tmp_path: Path) -> None:
    """A folder is not a file."""
    assert f"{tmp_path}: is a folder" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a"])
def test_empty_file(tmp_path: Path, name: str, content: str) -> None:
    """Nothing, or nothing but white space, is an empty file in every form."""
    assert "the file is empty" in refusal(write(tmp_path, name, content))


def test_empty_parquet(tmp_path: Path) -> None:
    """A Parquet file of 0 bytes is empty too."""
    assert "the file is empty" in refusal(write(tmp_path, "a.parquet", ""))


def test_header_only(tmp_path: Path) -> None:
    """A header alone is a Dataset without rows; ``require_trainable`` refuses it."""
    assert len(read_dataset(write(tmp_path, "a.csv", "text,label\n"))) == 0


def test_nul_byte(tmp_path: Path) -> None:
    """A NUL is refused with line and byte."""
    path = write(tmp_path, "a.csv", b"text,label\nfine,x\nbr\0ken,y\n")
    assert f"{path}:3: NUL byte (byte 3 of the line)" in refusal(path)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_broken_utf8(tmp_path: Path, start: bytes) -> None:
    """Bytes that are not UTF-8 are refused with line and byte, also behind a byte order mark."""
    path = write(tmp_path, "a.csv", start + b"text,label\nfine,x\ncaf\xe9,y\n")
    message = refusal(path)
    assert f"{path}:3: broken UTF-8: byte 0xe9 (byte 4 of the line)" in message
    assert "iconv" in message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16(tmp_path: Path, encoding: str) -> None:
    """UTF-16, which spreadsheets write as "Unicode text", is refused with the way out."""
    message = refusal(write(tmp_path, "a.csv", "\ufefftext,label\na,b\n".encode(encoding)))
    assert "UTF-16" in message
    assert "iconv -f UTF-16" in message


@pytest.mark.parametrize(
    ("magic", "what"), [(b"PK\x03\x04rest\0", "spreadsheet"), (b"\x1f\x8b\x08\0", "gzip"), (b"%PDF-1.4", "PDF")]
)
def test_foreign_forms(tmp_path: Path, magic: bytes, what: str) -> None:
    """An archive or a spreadsheet is called by its name."""
    assert what in refusal(write(tmp_path, "a.csv", magic))


def test_absent_columns(tmp_path: Path) -> None:
    """An unknown header is refused; the message lists the columns and the flag."""
    message = refusal(write(tmp_path, "a.csv", "alpha,beta\n1,2\n"))
    assert "no text column; columns present: 'alpha', 'beta'" in message
    assert "--text-column" in message
    message = refusal(write(tmp_path, "a.csv", "text,beta\n1,2\n"))
    assert "no label column; columns present: 'text', 'beta'" in message
    assert "--label-column" in message


def test_unclear_columns(tmp_path: Path) -> None:
    """Two usual names and not the convention: not clear, both are named."""
    message = refusal(write(tmp_path, "a.csv", "message,body,label\n1,2,3\n"))
    assert "text column is not clear: 'message', 'body' would do" in message


def test_twice_the_same_column(tmp_path: Path) -> None:
    """Two columns of one name are not clear, even when asked for."""
    message = refusal(write(tmp_path, "a.csv", "text,Text,label\n1,2,3\n"), text_column="TEXT")
    assert "is not clear" in message


def test_asked_column_absent(tmp_path: Path) -> None:
    """A column asked for that is not there is named, with those that are; this holds for every form."""
    table = write(tmp_path, "a.csv", "text,label\n1,2\n")
    assert "no text column 'subject'; columns present: 'text', 'label'" in refusal(table, text_column="subject")
    lines = write(tmp_path, "a.jsonl", '{"text": "a", "label": "b"}\n')
    assert "no label column 'kind'; columns present: 'text', 'label'" in refusal(lines, label_column="kind")
    parquet = tmp_path / "a.parquet"
    polars.DataFrame({"text": ["a"], "label": ["b"]}).write_parquet(parquet)
    assert "no label column 'kind'; columns present: 'text', 'label'" in refusal(parquet, label_column="kind")


def test_one_column_cannot_be_both(tmp_path: Path) -> None:
    """Text and label must be two columns."""
    path = write(tmp_path, "a.csv", "text,label\n1,2\n")
    assert "cannot be both" in refusal(path, text_column="label")


def test_wrong_number_of_fields(tmp_path: Path) -> None:
    """A row with another number of fields is refused by the line where it starts, counted through quoted line ends."""
    path = write(tmp_path, "a.csv", 'text,label\n"two\nlines",x\na,b,c\n')
    assert f"{path}:4: got 3 fields, expected 2" in refusal(path)
    path = write(tmp_path, "b.tsv", "text\tlabel\na\tb\nalone\n")
    assert f"{path}:3: got 1 fields, expected 2" in refusal(path)


def test_unclosed_quote(tmp_path: Path) -> None:
    """A quote that is never closed is refused by the line that opens it, not swallowed to the end of the file."""
    path = write(tmp_path, "a.csv", 'text,label\nfine,x\n"open,y\nmore,z\nmore,z\n')
    assert f"{path}:3: a quote is opened here and not closed" in refusal(path)


def test_bad_quoting(tmp_path: Path) -> None:
    """Text after a closing quote is refused by its line."""
    path = write(tmp_path, "a.csv", 'text,label\nfine,x\n"he said "no" twice",y\n')
    assert f"{path}:3: bad quoting" in refusal(path)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "text,label\na,x\nb, \n", 3),
        ("a.tsv", "text\tlabel\na\tx\nb\t\n", 3),
        ("a", "ham\thello\n\n \thello again\n", 3),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "\u00a0"}\n', 2),
    ],
)
def test_blank_label(tmp_path: Path, name: str, content: str, line: int) -> None:
    """A text without a label is refused by its line."""
    path = write(tmp_path, name, content)
    assert f"{path}:{line}: the label is blank" in refusal(path)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("null", "the label is null"),
        ('["a", ["b"]]', "the label is a list"),
        ('[{"a": 1}, {"b": ["c"]}, null]', "the label is null"),
        ("0.5", "the label is a number"),
        ("NaN", "the label is a number"),
    ],
)
def test_json_labels_refused(tmp_path: Path, value: str, part: str) -> None:
    """A label is a string, an integer, a boolean, a list of them, or an object of shares."""
    path = write(tmp_path, "a.jsonl", f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {value}}}\n')
    assert f"{path}:2: {part}" in refusal(path)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"text": "b", "label": ', "not JSON"),
        ('"only text"', "got a string, expected an object"),
        ('[{"text": "b", "label": "x"}]', "one object per line (JSON lines), not one array"),
        ('{"text": "b"}', "no key 'label'; keys present: 'text'"),
        ('{"text": 5, "label": "x"}', "the text is a number"),
        ('{"text": "half \\ud83d", "label": "x"}', "lone surrogate \\ud83d"),
        ('{"text": "b", "label": "\\udc00"}', "lone surrogate \\udc00"),
        ('{"text": "b", "label": ' + "[" * 100_000, "nested too deep"),
        ('{"text": "b", "label": ' + "9" * 5000 + "}", "a number too long"),
    ],
)
def test_json_lines_refused(tmp_path: Path, line: str, part: str) -> None:
    """Each kind of bad line is refused with its number and what is wrong."""
    path = write(tmp_path, "a.jsonl", '{"text": "a", "label": "x"}\n' + line + "\n")
    message = refusal(path)
    assert f"{path}:2: " in message
    assert part in message


def test_whole_surrogate_pairs_are_characters(tmp_path: Path) -> None:
    """Escaped emoji are fine."""
    path = write(tmp_path, "a.jsonl", '{"text": "\\ud83d\\ude00", "label": "x"}\n')
    assert read_dataset(path).texts == ("😀",)


def test_swapped_columns_without_header(tmp_path: Path) -> None:
    """Text TAB label without a header would make every text a class; it is refused with the way out."""
    path = write(tmp_path, "a.txt", "".join(f"text {number}\t{number % 2}\n" for number in range(9)))
    message = refusal(path)
    assert "9 different values and the second 2" in message
    assert "header line" in message


def test_not_parquet(tmp_path: Path) -> None:
    """A file that only claims to be Parquet is refused."""
    assert "not a Parquet file" in refusal(write(tmp_path, "a.parquet", "text,label\na,b\n"))


def test_parquet_null_labels(tmp_path: Path) -> None:
    """Null labels are refused by row; a null text is a blank text."""
    path = tmp_path / "a.parquet"
    polars.DataFrame({"text": ["a", "b"], "label": ["x", None]}).write_parquet(path)
    assert f"{path}:2: the label is null" in refusal(path)
    polars.DataFrame({"text": ["a", None], "label": ["x", None]}).write_parquet(path)
    assert read_dataset(path).findings[0].rows == (2,)


def test_unreadable_place(tmp_path: Path) -> None:
    """A path through a file is refused as missing; a name too long for the disk is this machine's matter."""
    plain = write(tmp_path, "plain", "x")
    with pytest.raises((DataError, SetupError)) as caught:
        read_dataset(plain / "below.csv")
    assert "below.csv" in str(caught.value)


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    """Reading tells how far it is, in lines, and ends at the total."""
    path = write(tmp_path, "a.csv", "text,label\n" + "a,b\n" * 40_000)
    seen: list[tuple[str, int, int, str]] = []
    read_dataset(path, progress=lambda stage, done, total, unit: seen.append((stage, done, total, unit)))
    assert len(seen) >= 3
    assert [done for _, done, _, _ in seen] == sorted(done for _, done, _, _ in seen)
    assert seen[-1][1] == seen[-1][2]
    assert {(stage, unit) for stage, _, _, unit in seen} == {("reading", "lines")}


def test_lists_become_a_dataset() -> None:
    """Labels of any kind become strings; blank texts are dropped and named; the hash depends on texts and labels."""
    dataset = dataset_from_lists(["a", " ", "b"], [1, 2, 3])
    assert (dataset.texts, dataset.labels, dataset.rows) == (("a", "b"), ("1", "3"), (1, 3))
    assert dataset.findings[0].rows == (2,)
    assert dataset_from_lists(["a"], ["x"]).sha256 != dataset_from_lists(["a"], ["y"]).sha256


def test_lists_refused() -> None:
    """Unequal lengths, texts that are no strings, and labels that are None."""
    with pytest.raises(ConfigError, match="got 2 texts and 1 labels"):
        dataset_from_lists(["a", "b"], ["x"])
    with pytest.raises(DataError, match="memory:1: the label is blank"):
        dataset_from_lists(["a"], [None])
    with pytest.raises(DataError, match="half a character"):
        dataset_from_lists(["\ud800"], ["x"])
