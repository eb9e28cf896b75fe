"""From doubtful labels to better ones: a run lists them, a person fills in a column, the next run learns from it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from support.command_line import call, json_lines, read_metrics, require_refusal
from support.texts import messages, write_csv

QUICK = ["--method", "probe", "--depth", "2", "--no-baselines", "--no-highlights"]


def test_doubts_are_corrected_and_fed_back(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planted wrong labels come first, corrected they are gone; the data file and the parts stay as they were."""
    texts, labels = messages(300)
    wrong = {at: {"ham": "spam", "spam": "ham"}[labels[at]] for at in (10, 55, 120, 201)}
    data = write_csv(tmp_path / "data.csv", texts, [wrong.get(at, label) for at, label in enumerate(labels)])
    before = data.read_bytes()
    common = [data, "--model", tiny_llama, *QUICK]
    assert call(capsys, "train", *common, "--out", tmp_path / "a").code == 0
    first = read_metrics(tmp_path / "a")
    doubts = tmp_path / "a" / "doubts.csv"
    with doubts.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    planted = {at + 1 for at in wrong} & {int(row["row"]) for row in rows}
    assert planted
    assert planted <= {int(row["row"]) for row in rows[:8]}
    assert first["doubts"]["rows"] == len(rows) == sum(first["data"]["parts"][part] for part in ("train", "validation"))
    assert first["doubts"]["issues"] == sum(row["issue"] == "yes" for row in rows)
    for row in rows:
        row["corrected"] = labels[int(row["row"]) - 1] if int(row["row"]) in planted else ""
    with doubts.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    outcome = call(capsys, "train", *common, "--out", tmp_path / "b", "--relabel", doubts)
    assert outcome.code == 0, outcome.err
    assert f"{len(planted)} labels changed as {doubts} says" in outcome.err
    second = read_metrics(tmp_path / "b")
    [finding] = [each for each in second["data"]["findings"] if each["kind"] == "relabelled"]
    assert set(finding["rows"]) == planted
    assert second["detail"]["test_sha256"] == first["detail"]["test_sha256"]
    assert data.read_bytes() == before
    with (tmp_path / "b" / "doubts.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {int(row["row"]) for row in csv.DictReader(file) if row["corrected"]} == planted
    data.write_text(before.decode().replace(texts[min(planted) - 1], "another text altogether"), encoding="utf-8")
    said = require_refusal(call(capsys, "train", *common, "--out", tmp_path / "c", "--relabel", doubts), 3)
    assert "has another text than when this file was made" in said
    assert not (tmp_path / "c").exists()


def test_no_doubts_and_no_highlights_leave_them_out(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file, no numbers, no section, no shaded word."""
    data = write_csv(tmp_path / "data.csv", *messages(60))
    outcome = call(capsys, "train", data, "--model", tiny_llama, *QUICK, "--no-doubts", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "doubts" not in read_metrics(tmp_path / "run")
    assert not (tmp_path / "run" / "doubts.csv").exists()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="doubts"' not in page
    assert "<mark" not in page


def test_predictions_hold_the_label_that_predict_gives(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a threshold ``predicted`` follows it, ``likeliest`` does not, and predict agrees with the first."""
    texts, labels = messages(200)
    data = write_csv(tmp_path / "data.csv", texts, labels)
    costs = tmp_path / "costs.toml"
    costs.write_text("[ham]\nspam = 1\n[spam]\nham = 1000000\n", encoding="utf-8")
    run = tmp_path / "run"
    asked = ["train", data, "--model", tiny_llama, *QUICK, "--no-doubts", "--costs", costs, "--out", run]
    assert call(capsys, *asked, "--calibration", "none").code == 0
    answers = json_lines((run / "predictions.jsonl").read_text(encoding="utf-8"))
    given = json_lines(call(capsys, "predict", run, "--json", *(texts[each["row"] - 1] for each in answers)).out)
    assert [each["predicted"] for each in answers] == [each["label"] for each in given]
    likeliest = [max(each["probabilities"], key=each["probabilities"].get) for each in given]
    assert [each["likeliest"] for each in answers] == likeliest
    assert any(each["predicted"] != each["likeliest"] for each in answers)
    accuracy = sum(each["likeliest"] == each["label"] for each in answers) / len(answers)
    assert accuracy == read_metrics(run)["test"]["accuracy"]


def test_the_report_shows_doubts_and_shaded_words(
    tmp_path: Path, tiny_llama: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Doubtful rows with the label suggested, words shaded in them and in the worst errors, texts escaped."""
    texts, labels = messages(200)
    texts[10] = "<b>WINNER</b> & claim <script>alert(1)</script> prize now"
    labels = [{"ham": "spam", "spam": "ham"}[label] if at in (10, 55, 90) else label for at, label in enumerate(labels)]
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    asked = ["train", tmp_path / "data.csv", "--model", tiny_llama, *QUICK[:-1], "--out", tmp_path / "run"]
    outcome = call(capsys, *asked)
    assert outcome.code == 0, outcome.err
    assert "labels are probably wrong; doubts.csv has them all" in outcome.err
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    doubts = page[page.index('<section id="doubts"') :].partition("</section>")[0]
    assert "perhaps <b><bdi>" in doubts
    assert "<mark" in doubts
    assert "<mark" in page[page.index('<section id="worst"') :].partition("</section>")[0]
    assert "<script>" not in page
    assert "<b>WINNER" not in page
