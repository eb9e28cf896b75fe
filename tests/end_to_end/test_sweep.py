"""A sweep from the command line: what lies in its folder, that it goes on, and that the test rows are never read."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Outcome, call, contents, read_metrics, require_refusal
from support.html_outline import Outline
from support.sweeps import quick
from support.texts import messages, write_csv
from tailtune.ledger import entries
from tailtune.sweep.run import Order, sweep

# A probe takes a tenth of a second.
PROBE = ("--method", "probe", "--precision", "fp32", "--vary", "penalty=auto", "--vary", "depth=1,2,3")
TAIL = ("--method", "tail", "--precision", "fp32", "--depth", "3", "--epochs", "3", "--vary")


def result_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    return found


def trials_of(folder: Path) -> list[dict[str, Any]]:
    """What each trial varied and came to, without its seconds."""
    return [{key: value for key, value in each.items() if key != "seconds"} for each in result_of(folder)["trials"]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "m.csv", *messages(100))


def swept(
    capsys: pytest.CaptureFixture[str], data: Path, model: Path, out: Path, *more: object, how: tuple[str, ...] = PROBE
) -> Outcome:
    outcome = call(capsys, "sweep", data, "--model", model, "--out", out, *how, *more)
    assert outcome.code == 0, outcome.err
    return outcome


def test_a_sweep_leaves_settings_and_reports(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The best is the best, its file trains what was judged, and the test is read by that training alone, once."""
    out = tmp_path / "out"
    outcome = swept(capsys, data, tiny_llama, out, "--trials", "10")
    found = result_of(out)
    names = ["best.toml", "report.html", "report.md", "study.db", "study.db.lock", "sweep.json", "trials.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert found["counts"] == {"complete": 10}
    assert found["settings_compared"] == 11
    losses = [each["scores"]["log-loss"] for each in (*found["trials"], found["given"])]
    assert found["best"]["scores"]["log-loss"] == min(losses)
    assert entries() == []
    assert "11 settings were compared on the same" in outcome.out
    assert f"next: tailtune train --config {out / 'best.toml'}" in outcome.out
    best = tomllib.loads((out / "best.toml").read_text(encoding="utf-8"))
    assert best["data"] == str(data)
    assert best["method"] == "probe"
    trained = call(capsys, "train", "--config", out / "best.toml", "--out", tmp_path / "run", "--no-baselines")
    assert trained.code == 0, trained.err
    metrics = read_metrics(tmp_path / "run")
    assert metrics["validation"]["log_loss"] == pytest.approx(min(losses), rel=1e-4)
    assert len(entries()) == 1


def test_the_reports_say_what_the_score_is_worth(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How many were compared, that the score flatters, plots in words too, every trial; and no text of the data."""
    out = tmp_path / "out"
    swept(capsys, data, tiny_llama, out, "--trials", "9")
    page, report = ((out / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "md"))
    outline = Outline(page)
    assert outline.open == []
    assert len(outline.named("svg")) == len(outline.named("figcaption")) == 4  # history, importance, two settings
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in outline.named("svg"))
    for text in (page, report):
        assert "10 settings were compared on the same" in text
        assert "flatters" in text
        assert "The sweep did not read the test part" in text
        assert "Corrected for having been chosen" in text
        assert "penalty" in text
        assert not any(message in text for message in messages(100)[0])
    assert len(re.findall(r"^\| \d+ \| complete", report, re.MULTILINE)) == 9
    rows = (out / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0] == "trial,state,log-loss,accuracy,macro-f1,penalty,depth,steps,seconds,reason"
    assert len(rows) == 10


def test_poisoned_test_labels_change_nothing(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A test file with every label wrong: the same trials, the same best settings, and the same study goes on."""
    texts, labels = messages(120)
    data = write_csv(tmp_path / "m.csv", texts[:90], labels[:90])
    right = write_csv(tmp_path / "right.csv", texts[90:], labels[90:])
    wrong = write_csv(
        tmp_path / "wrong.csv", texts[90:], [{"ham": "spam", "spam": "ham"}[each] for each in labels[90:]]
    )
    for test in (right, wrong):
        swept(capsys, data, tiny_llama, tmp_path / test.stem, "--test", test, "--trials", "6")
    assert trials_of(tmp_path / "right") == trials_of(tmp_path / "wrong")
    assert result_of(tmp_path / "right")["worth"] == result_of(tmp_path / "wrong")["worth"]
    more = swept(capsys, data, tiny_llama, tmp_path / "right", "--test", wrong, "--trials", "7")
    assert more.err.count("\ntrial ") == 1


def test_the_same_command_goes_on(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs give the same trials; one that is done again does nothing; one that stopped early ends as the whole."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    swept(capsys, data, tiny_llama, whole, "--trials", "8")
    for count, new in ((3, 3), (8, 5), (8, 0)):
        outcome = swept(capsys, data, tiny_llama, parts, "--trials", count)
        assert len(re.findall(r"^trial \d+: ", outcome.err, re.MULTILINE)) == new
        assert ("first the settings as they are" in outcome.err) == (count == 3)
    assert trials_of(whole) == trials_of(parts)
    other = tmp_path / "other"
    swept(capsys, data, tiny_llama, other, "--trials", "3", "--study", tmp_path / "another.db")
    assert trials_of(other) == trials_of(whole)[:3]
    assert (tmp_path / "another.db").is_file()


def test_what_changed_is_refused(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data, split, fixed settings, space or objective under the same study: one line, and nothing is touched."""
    out = tmp_path / "out"
    swept(capsys, data, tiny_llama, out, "--trials", "2")
    before = contents(out)
    for more, said in (
        (("--label-smoothing", "0"), None),
        (("--max-tokens", "40"), "was made with max_tokens None, now 40"),
        (("--seed", "1"), "was made with other texts, labels or parts than there are now"),
        (("--vary", "depth=1,2"), "was made with space of depth [1, 2, 3], now [1, 2]"),
        (("--objective", "accuracy"), "was made with objective log-loss, now accuracy"),
    ):
        outcome = call(
            capsys, "sweep", data, "--model", tiny_llama, "--out", out, *PROBE, "--trials", "2", "--quiet", *more
        )
        if said is None:
            assert outcome.code == 0, outcome.err
        else:
            assert said in require_refusal(outcome, 2)
    changed = write_csv(tmp_path / "m.csv", *messages(98))
    outcome = call(capsys, "sweep", changed, "--model", tiny_llama, "--out", out, *PROBE, "--quiet")
    assert "other texts, labels or parts" in require_refusal(outcome, 2)
    after = contents(out)
    assert after.keys() == before.keys()
    assert after[str(out / "trials.csv")] == before[str(out / "trials.csv")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--vary", "lerning-rate=auto"), "unknown setting 'lerning-rate'"),
        (("--vary", "seed=1,2"), "seed cannot be swept"),
        (("--trials", "0"), "--trials: expected an integer, at least 1, got 0"),
        (("--workers", "0"), "--workers: expected an integer, at least 1, got 0"),
        (("--timeout", "soon"), "--timeout 'soon' is no time above 0"),
        (("--folds", "5"), "no such option: --folds"),
        (("--objective", "f1"), "--objective"),
        (("--depth", "9"), "--depth 9: the model has 4 blocks"),
        (("--space", "absent.toml"), "absent.toml: cannot be read"),
    ],
)
def test_refusals_are_one_line(
    arguments: tuple[str, ...], said: str, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any trial, with exit code 2."""
    data = write_csv(tmp_path / "m.csv", *messages(40))
    fixed = ("--model", tiny_llama, "--out", tmp_path / "out", "--method", "probe", "--quiet")
    assert said in require_refusal(call(capsys, "sweep", data, *fixed, *arguments), 2)


def test_a_folder_of_something_else_is_left_alone(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's report is not overwritten by that of a sweep."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.md").write_text("mine", encoding="utf-8")
    outcome = call(capsys, "sweep", data, "--model", tiny_llama, "--out", tmp_path / "out", *PROBE)
    assert "holds no sweep, but report.md" in require_refusal(outcome, 2)
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8") == "mine"


def test_bad_rates_end_early(data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials with a rate at which nothing is learnt do fewer steps once others have been as far."""
    out = tmp_path / "out"
    swept(capsys, data, tiny_llama, out, "--trials", "14", how=(*TAIL, "learning-rate=1e-9,3e-4,1e-3,2e-3"))
    found = result_of(out)
    whole = max(trial["steps"] for trial in found["trials"])
    pruned = [trial for trial in found["trials"] if trial["state"] == "pruned"]
    assert 1e-9 in {trial["varied"]["learning_rate"] for trial in pruned}
    assert all(0 < trial["steps"] < whole and trial["losses"] for trial in pruned)
    assert found["best"]["varied"]["learning_rate"] != 1e-9
    assert f"{len(pruned):,} more were ended early by these rows" in (out / "report.md").read_text(encoding="utf-8")


def test_contradictions_are_recorded_and_do_not_end_the_sweep(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with its reason, in table and report."""
    out = tmp_path / "out"
    vary = ("loss=cross-entropy,focal", "--vary", "label-smoothing=0.05..0.2")
    swept(capsys, data, tiny_llama, out, "--trials", "8", how=(*TAIL, *vary))
    trials = result_of(out)["trials"]
    wrong = [trial for trial in trials if trial["state"] == "contradiction"]
    assert {trial["varied"]["loss"] for trial in wrong} == {"focal"}
    assert all("contradict each other" in trial["reason"] for trial in wrong)
    assert "contradict each other" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "trials.csv").read_text(encoding="utf-8").count("contradict each other") == len(wrong)


def test_the_best_settings_are_trained_and_tested_once(
    data: Path, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run says in metrics, report and model card among how many its settings were chosen; it is not overwritten."""
    out = tmp_path / "out"
    outcome = swept(capsys, data, tiny_llama, out, "--trials", "5", "--train-best", "--baselines", "none", "--json")
    found, metrics = json.loads(outcome.out), read_metrics(out / "run")
    assert found["run"] == str(out / "run")
    assert metrics["sweep"]["settings"] == found["settings_compared"] == 6
    assert metrics["sweep"]["chosen_on"] == "validation"
    assert metrics["sweep"]["varied"] == ["penalty", "depth"]
    if found["best"]["trial"] is not None:
        assert metrics["origins"]["depth"] == "sweep"
        assert metrics["config"]["depth"] == found["best"]["varied"]["depth"]
    assert metrics["test"]["reading"]["nth"] == 1
    assert len(entries()) == 1
    said = "chosen among 6 settings by a sweep on validation"
    for file in ("report.md", "report.html", "bundle/README.md"):
        assert said in (out / "run" / file).read_text(encoding="utf-8")
    again = call(capsys, "sweep", data, "--model", tiny_llama, "--out", out, *PROBE, "--trials", "5", "--train-best")
    assert "is there already; no run is overwritten" in require_refusal(again, 2)


def test_two_workers_make_as_many_trials(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    """None is lost and none is run twice, though one of the two is killed in between: that costs it its trial."""
    resolved = quick(tiny_llama, data, threads=1)
    said: list[str] = []
    killed: list[int] = []

    def say(note: str) -> None:
        said.append(note)
        if re.match(r"trial \d+: ", note) and not killed:
            child = multiprocessing.active_children()[0]
            assert child.pid is not None
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    order = Order(
        resolved=resolved,
        vary=("learning-rate=1e-4..1e-3:log",),
        trials=8,
        workers=2,
        out=tmp_path / "out",
        prune=False,
    )
    found = sweep(order, say=say).result
    assert killed
    assert [trial["trial"] for trial in found["trials"]] == list(range(8))
    assert sum(found["counts"].values()) == 8
    assert found["counts"] == {"complete": 7, "failed": 1}
    assert [each["reason"] for each in found["trials"] if each["reason"]] == ["its worker was ended by signal 9"]
    assert len({str(each["varied"]) for each in found["trials"]}) == 8
    assert multiprocessing.active_children() == []


def test_ctrl_c_keeps_what_is_known(tiny_llama: Path, data: Path, tmp_path: Path) -> None:
    """Exit code 130, reports of the trials that had ended, no process left; the same command then ends the sweep."""
    out = tmp_path / "out"
    how = (*TAIL, "learning-rate=1e-4..1e-3:log", "--workers", "2", "--no-prune", "--trials", "4")
    command = [sys.executable, "-m", "tailtune.cli", "sweep", str(data), "--model", str(tiny_llama), "--out", str(out)]
    command += how
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if line.startswith("trial "):
                os.killpg(run.pid, signal.SIGINT)
                break
        rest = run.stderr.read()
    assert run.returncode == 130
    assert f"interrupted; what is known is in {out}, the same command goes on" in rest
    assert rest.rstrip().endswith("error: interrupted")
    assert "Traceback" not in rest
    assert {"best.toml", "report.html", "trials.csv"} <= {path.name for path in out.iterdir()}
    found = result_of(out)
    ended = found["counts"]["complete"]
    assert 1 <= ended < 4
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(re.findall(r"^trial \d+: ", done.stderr, re.MULTILINE)) == 4 - ended
    assert result_of(out)["counts"]["complete"] == 4
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)
