"""The page's second view: files of every kind, answered in pieces, counted, looked at and downloaded."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.classifiers import probe_bundle
from support.pages import HOSTILE, Seen, answering, opened
from support.serving import saved, service_of
from support.texts import messages
from tailtune.predict import Predictor
from tailtune.service.classify import Service
from tailtune.service.limits import Limits

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NASTY = (
    'He said "claim it", twice',
    "two\nlines, one field",
    "=HYPERLINK(1)",
    "+44 call",
    "-5 degrees",
    "@you",
    "\ttab first",
    "; and | and \t inside",
    "שלום lunch 🎉",
    "  spaces around  ",
)


@pytest.fixture
def seen(browser: Browser, url: str) -> Iterator[Seen]:
    """The page's view of files; nothing is said on its console and nothing asked for elsewhere."""
    with opened(browser, f"{url}#file") as found:
        yield found
        assert found.said == []
        assert [address for address in found.asked if not address.startswith((url, f"blob:{url}"))] == []


def choose(page: Page, content: str | bytes, name: str = "file.csv") -> None:
    """Choose a file of that content."""
    buffer = content.encode() if isinstance(content, str) else content
    page.set_input_files("#file-input", {"name": name, "mimeType": "text/plain", "buffer": buffer})


def classify(page: Page) -> None:
    """Begin, and wait for the end."""
    page.locator("#file-form").wait_for()
    page.click("#file-go")
    page.locator("#results").wait_for()
    page.locator("#file-progress").wait_for(state="hidden")


def written(rows: Sequence[Sequence[str]], delimiter: str = ",", end: str = "\r\n") -> str:
    """Return CSV as others write it."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    return out.getvalue()


def quoted(cell: str, delimiter: str, chance: random.Random) -> str:
    """Return a cell as others write it: in quotes where it must be, and now and then where it need not."""
    needed = any(sign in cell for sign in (delimiter, '"', "\n", "\r"))
    return f'"{cell.replace(chr(34), 2 * chr(34))}"' if needed or chance.random() < 0.3 else cell


def saved_by(page: Page, button: str) -> tuple[str, str]:
    """Return the name and content of what a button downloads."""
    with page.expect_download() as started:
        page.click(button)
    return started.value.suggested_filename, Path(started.value.path()).read_text(encoding="utf-8")


@pytest.mark.parametrize("guard", [True, False])
def test_csv_in_csv_out(seen: Seen, run_folder: Path, guard: bool) -> None:
    """All columns come back as they were, but for cells that a spreadsheet would run, with what the predictor says."""
    rows = [[str(number), text, "x" * number] for number, text in enumerate(NASTY)]
    choose(seen.page, "\ufeff" + written([["number", "text", "rest"], *rows]))
    seen.page.locator("#file-form").wait_for()
    assert "10 rows, 3 columns, columns by comma" in seen.page.locator("#file-told").inner_text()
    classify(seen.page)
    seen.page.locator("#save-guard").set_checked(guard)
    name, content = saved_by(seen.page, "#save-csv")
    assert name == "file-classified.csv"
    header, *found = csv.reader(io.StringIO(content.removeprefix("\ufeff"), newline=""))
    added = ["predicted", "confidence", "abstained", "probability ham", "probability spam"]
    assert header == ["number", "text", "rest", *added]
    for before, after, expected in zip(rows, found, Predictor.load(run_folder).predict(NASTY), strict=True):
        kept = [f"'{cell}" if guard and cell[:1] in tuple("=+-@\t\r") else cell for cell in before]
        assert after[:3] == [cell if cell else "" for cell in kept]
        assert after[3] == expected.label
        assert after[5] == str(expected.abstained).lower()
        numbers = [expected.confidence, *expected.probabilities.values()]
        assert [float(after[at]) for at in (4, 6, 7)] == pytest.approx(numbers, abs=1e-6)


def test_jsonl_out_and_names_that_are_taken(seen: Seen, bundles: dict[str, Path]) -> None:
    """JSON lines hold the columns and the prediction under a free name; labels that are formulas are made safe."""
    page = seen.page
    page.select_option("#model", "hostile")
    page.wait_for_function("() => document.title.startsWith('hostile')")
    lines = [{"text": f"lunch {number}", "prediction": "mine", "predicted": number} for number in range(6)]
    choose(page, "\n".join(map(json.dumps, lines)), "rows.jsonl")
    classify(page)
    _, content = saved_by(page, "#save-jsonl")
    found = [json.loads(line) for line in content.splitlines()]
    expected = Predictor.load(bundles["hostile"]).predict([str(line["text"]) for line in lines])
    for line, one, each in zip(lines, found, expected, strict=True):
        assert one["prediction"] == "mine"
        assert one["predicted"] == str(line["predicted"])
        assert one["prediction 2"]["label"] == each.label
        assert one["prediction 2"]["probabilities"] == pytest.approx(dict(each.probabilities), abs=1e-6)
    _, content = saved_by(page, "#save-csv")
    header = next(csv.reader(io.StringIO(content.removeprefix("\ufeff"))))
    assert header[3:5] == ["predicted 2", "confidence"]
    given = [row[3] for row in csv.reader(io.StringIO(content))][1:]
    assert given == [f"'{each.label}" if each.label.startswith("=") else each.label for each in expected]
    assert page.locator("#rows img").count() == 0
    assert set(HOSTILE) >= {label.removeprefix("'") for label in given}


def test_the_reader_reads_what_others_write(seen: Seen) -> None:
    """Cells of quotes, line ends and delimiters, cut into pieces anywhere, come out as they went in."""
    chance = random.Random(7)
    parse = """async ([pieces, delimiter]) => {
      const { Delimited } = await import("/page/csv.js");
      const reader = new Delimited(delimiter);
      return [...pieces.flatMap((piece) => reader.push(piece)), ...reader.end()];
    }"""
    for round_ in range(40):
        delimiter, end = chance.choice(",;\t|"), chance.choice(["\n", "\r\n", "\r"])
        signs = f'ab"" {delimiter}\n\r{chr(0x1F389)}é'
        rows = [["".join(chance.choices(signs, k=chance.randrange(9))) + "x" for _ in range(3)] for _ in range(8)]
        text = "".join(delimiter.join(quoted(cell, delimiter, chance) for cell in row) + end for row in rows)
        text = text if round_ % 2 else text.removesuffix(end)
        cuts = sorted(chance.sample(range(len(text)), 6))
        pieces = [text[low:high] for low, high in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        assert seen.page.evaluate(parse, [pieces, delimiter]) == rows, (round_, text)


_KINDS = (
    ("a.csv", "id;text\n1;one, two\n2;three\n", "2 rows, 2 columns, columns by semicolon", "one, two"),
    ("a.tsv", "text\tid\none\t1\n", "1 row, 2 columns, columns by tab", "one"),
    ("a.csv", 'text\n"one\n\nline"\n\nother\n', "2 rows, 1 column, columns by comma", "one\n\nline"),
    ("a.txt", "one, two; three\r\n\r\nfour\r\n", "2 rows, 1 column, one text per line", "one, two; three"),
    ("SMSSpam", "ham\tone two three\nspam\tfour\n", "2 rows, 2 columns, columns by tab", "one two three"),
    ("a.jsonl", '{"text": "one", "n": 1}\n\n{"n": null}\n', "2 rows, 2 columns, JSON lines", "one"),
    ("a.csv", "text\rone\rtwo", "2 rows, 1 column, columns by comma", "one"),
    ("a.csv", "id,body of it\n1,a rather long text\n2\n3,x,extra\n", "3 rows, 3 columns", "a rather long text"),
    ("a.csv", ",text,label\n0,one,ham\n", "1 row, 3 columns", "one"),
)


def test_every_kind_of_file(seen: Seen) -> None:
    """Delimiter, names, texts and blank lines are found as people mean them."""
    for number, (name, content, told, first) in enumerate(_KINDS):
        choose(seen.page, content, f"{number}-{name}")
        seen.page.wait_for_function(
            "name => document.querySelector('#file-told bdi')?.textContent === name", arg=f"{number}-{name}"
        )
        assert told in seen.page.locator("#file-told").inner_text()
        assert seen.page.locator("#file-preview li").first.text_content() == first


_UNREADABLE = (
    ("text\ncaf\u00e9\n".encode("latin-1"), "not UTF-8"),
    ("text\nx\n".encode("utf-16"), "UTF-16"),
    (b"PK\x03\x04rest", "workbook"),
    (b"", "empty"),
    (b"a\x00b", "NUL"),
    (b'text\n"never closed\n', "line 2: a quote is opened and never closed"),
    (b"\n\n", "holds no row"),
    (b'{"text": "a"}\n{"text": \n', "line 2: is no JSON"),
)


def test_what_cannot_be_read(seen: Seen) -> None:
    """Other encodings, workbooks and broken files are refused in words, and nothing is sent."""
    told = "said => document.getElementById('file-problem').textContent.includes(said)"
    for content, said in _UNREADABLE:
        choose(seen.page, content, "a.jsonl" if content.startswith(b"{") else "a.csv")
        seen.page.wait_for_function(told, arg=said)
        assert seen.page.locator("#file-form").is_hidden()
    assert not any(address.endswith("/v1/classify") for address in seen.asked)


def test_labels_are_judged_filtered_and_sorted(seen: Seen, run_folder: Path) -> None:
    """Accuracy, confusion and rows are the predictor's; filters and orders show what they say, a page at a time."""
    page = seen.page
    texts, labels = messages(130)
    choose(page, written([["message", "category"], *zip(texts, labels, strict=True)]))
    page.locator("#file-form").wait_for()
    assert page.locator("#file-label").input_value() == "1"
    classify(page)
    expected = Predictor.load(run_folder).predict(texts)
    right = sum(each.label == label for each, label in zip(expected, labels, strict=True))
    assert f"{right} of 130 rows" in page.locator("#accuracy").inner_text()
    page.click("#results-judged summary")
    cells = [int(cell) for cell in page.locator(".matrix td").all_inner_texts()]
    pairs = [(truth, each.label) for truth, each in zip(labels, expected, strict=True)]
    assert cells == [pairs.count((truth, given)) for truth in ("ham", "spam") for given in ("ham", "spam")]
    assert page.locator("#rows-cells tr").count() == 50
    page.click("#rows-next")
    page.click("#rows-next")
    assert page.locator("#rows-cells tr").count() == 30
    assert page.locator("#rows-next").is_disabled()
    page.select_option("#rows-order", "least")
    first = min(range(130), key=lambda at: expected[at].confidence)
    assert page.locator("#rows-cells th").first.inner_text() == str(first + 1)
    for only, kept in (
        ("unsure", [each.abstained for each in expected]),
        ("wrong", [truth != given for truth, given in pairs]),
    ):
        page.select_option("#rows-only", only)
        assert page.locator("#rows-count").inner_text().startswith(f"{sum(map(bool, kept))} row")
    page.select_option("#rows-only", "")
    page.select_option("#rows-label", "spam")
    assert page.locator("#rows-count").inner_text().startswith(f"{sum(each.label == 'spam' for each in expected)} row")


def test_ten_thousand_rows_cancelled_and_gone_on_with(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """Cancelled, what is answered stays and the table is no longer than a page; the rest can be had later."""
    bundle = saved(tiny_llama, tmp_path / "small", probe_bundle)
    with (
        answering(service_of(bundle)) as address,
        opened(browser, f"{address}/#file") as seen,
    ):
        page = seen.page
        choose(page, written([["text"], *([f"lunch {number}"] for number in range(10_000))]))
        page.get_by_role("button", name="Classify 10,000 rows").click()
        page.wait_for_function("() => document.getElementById('file-bar').value > 0.01")
        assert re.search(r"of 10,000 · [\d,]+ a second, .* left", page.locator("#file-rate").inner_text())
        page.click("#file-cancel")
        page.locator("#results").wait_for()
        left = page.locator("#file-go").inner_text()
        assert left.startswith("Go on with")
        done = 10_000 - int(re.sub(r"\D", "", left))
        assert 0 < done < 10_000
        assert f"{done:,} rows answered" in page.locator("#results-summary").inner_text()
        assert page.locator("#rows-cells tr").count() == 50
        page.click("#file-go")
        page.wait_for_function("done => document.getElementById('file-bar').value > 0", arg=done)
        page.click("#file-cancel")
        page.locator("#results").wait_for()
        assert int(re.sub(r"\D", "", page.locator("#file-go").inner_text())) < 10_000 - done
        assert seen.said == []


def test_another_model_while_it_runs(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """What runs is stopped, its answers are gone, and the file is there for the other one; columns cannot change."""
    bundles = [saved(tiny_llama, tmp_path / name, probe_bundle) for name in ("first", "second")]
    with (
        answering(service_of(*bundles)) as address,
        opened(browser, f"{address}/#file") as seen,
    ):
        page = seen.page
        choose(page, written([["text"], *([f"lunch {number}"] for number in range(10_000))]))
        page.get_by_role("button", name="Classify 10,000 rows").click()
        page.wait_for_function("() => document.getElementById('file-bar').value > 0")
        assert page.locator("#file-form").get_attribute("inert") is not None
        page.select_option("#model", "second")
        page.locator("#file-progress").wait_for(state="hidden")
        assert page.get_by_role("button", name="Classify 10,000 rows").is_enabled()
        assert page.locator("#results").is_hidden()
        assert seen.said == []


def tight(bundle: Path, limits: Limits) -> Service:
    return service_of(bundle, limits=limits, workers=1)


def test_a_busy_service_is_asked_again(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """Told to come back it comes back, no row is lost, and the person sees that it waits."""
    bundle = saved(tiny_llama, tmp_path / "small", probe_bundle)
    texts = [f"message number {number} about lunch" for number in range(150)]
    limits = Limits(waiting_tokens=200, batch_tokens=64)
    with answering(tight(bundle, limits)) as address, opened(browser, f"{address}/#file") as seen:
        statuses: list[int] = []
        seen.page.on("response", lambda response: statuses.append(response.status))
        choose(seen.page, "\n".join(texts), "a.txt")
        classify(seen.page)
        assert 429 in statuses
        _, content = saved_by(seen.page, "#save-csv")
        found = list(csv.DictReader(io.StringIO(content.removeprefix("\ufeff"))))
        expected = Predictor.load(bundle).predict(texts)
        assert [row["text"] for row in found] == texts
        assert [row["predicted"] for row in found] == [each.label for each in expected]


def test_what_is_too_large_is_split_or_said(browser: Browser, tiny_llama: Path, tmp_path: Path) -> None:
    """Pieces beyond a limit are halved; a single text beyond it, or one that is no Unicode, is said to be so."""
    bundle = saved(tiny_llama, tmp_path / "small", probe_bundle)
    texts = [f"message number {number} about lunch " * 3 for number in range(40)]
    lines = [*({"text": text} for text in texts), {"text": "ab " * 60}, {"text": "half \ud83d of it"}, {"text": " "}]
    limits = Limits(tokens=150, characters=150)
    with answering(tight(bundle, limits)) as address, opened(browser, f"{address}/#file") as seen:
        choose(seen.page, "\n".join(map(json.dumps, lines)), "a.jsonl")
        classify(seen.page)
        _, content = saved_by(seen.page, "#save-jsonl")
        found = [json.loads(line)["prediction"] for line in content.splitlines()]
        expected = [each.label for each in Predictor.load(bundle).predict(texts)]
        assert [each and each["label"] for each in found] == [*expected, None, None, None]
        seen.page.select_option("#rows-only", "failed")
        said = seen.page.locator("#rows-cells").inner_text()
        assert "at most 150" in said
        assert "no text" in said
        summary = seen.page.locator("#results-summary").inner_text()
        assert "3 rows without an answer, 1 of them without a text" in summary
