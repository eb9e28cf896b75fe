"""The study goes on where it was, gives the same trials again, and refuses what would make trials incomparable."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.sweeps import SPACE, opened
from tailtune.errors import ArtefactError, ConfigError
from tailtune.sweep.judging import Judged
from tailtune.sweep.space import Numbers
from tailtune.sweep.study import Study

# Asks for a trial and dies before it has been judged.
KILLED = """
import os, signal, sys
from pathlib import Path
from support.sweeps import opened
with opened(Path(sys.argv[1])) as study:
    study.ask()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def loss_of(varied: dict[str, Any]) -> float:
    """A made-up validation loss that depends on every setting."""
    value = 0.5 if varied["method"] == "probe" else 0.3
    value += abs(np.log10(varied.get("penalty", 0.1)) + 1) / 10
    return float(value + abs(np.log10(varied.get("learning_rate", 1e-4)) + 4) / 5)


def complete(loss: float, **more: Any) -> Judged:
    scores = {"log-loss": loss, "accuracy": 1 - loss, "macro-f1": 1 - loss}
    return Judged(state="complete", scores=scores, rows=np.array([loss, loss], dtype=np.float32), **more)


def go_on(study: Study, count: int) -> None:
    for _ in range(count):
        number, varied = study.ask()
        study.tell(number, complete(loss_of(varied)))


def test_what_is_told_comes_back(tmp_path: Path) -> None:
    """Scores, rows, reasons, None among the values; in the order of asking."""
    with opened(tmp_path / "s.db") as study:
        go_on(study, 12)
        number, _ = study.ask()
        study.tell(number, Judged(state="diverged", reason="the loss became nan", steps=7))
        study.given = complete(0.7, chosen={"method": "probe"})
    with opened(tmp_path / "s.db") as study:
        trials, given = study.trials(), study.given
        assert [trial.number for trial in trials] == list(range(13))
        assert study.counted == 13
        for trial in trials[:12]:
            assert trial.judged is not None
            assert trial.judged.scores["log-loss"] == loss_of(trial.varied)
            assert ("penalty" in trial.varied) == (trial.varied["method"] == "probe")
            assert ("learning_rate" in trial.varied) == (trial.varied["method"] == "tail")
        assert {None, 1.0} == {t.varied["clip_norm"] for t in trials if "clip_norm" in t.varied}
        assert trials[12].judged == Judged(state="diverged", reason="the loss became nan", steps=7)
        assert given is not None
        assert given.rows is not None
        assert given.rows.tolist() == pytest.approx([0.7, 0.7])
        assert given.chosen == {"method": "probe"}


def test_seeds_decide_the_trials(tmp_path: Path) -> None:
    """The same seed draws the same, another one does not, and stopping between trials changes nothing."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        with opened(tmp_path / name, seed=seed) as study:
            go_on(study, 14)
    for count in (2, 9, 3):
        with opened(tmp_path / "d", seed=3) as study:
            go_on(study, count)
    found = {}
    for name in "abcd":
        with opened(tmp_path / name, seed=3) as study:
            found[name] = [trial.varied for trial in study.trials()]
    assert found["a"] == found["b"] == found["d"]
    assert found["a"] != found["c"]
    assert len({str(varied) for varied in found["a"]}) == 14


def test_an_interrupted_trial_is_run_again(tmp_path: Path) -> None:
    """It does not count, and the next one draws what it drew."""
    with opened(tmp_path / "s.db") as study:
        go_on(study, 11)
        _, lost = study.ask()
        study.interrupt()
        assert study.counted == 11
        assert study.ask()[1] == lost
    with opened(tmp_path / "s.db") as study:
        assert study.counted == 11
        assert [trial.judged is None for trial in study.trials()[11:]] == [True, True]
        assert study.ask()[1] == lost


def test_a_killed_process_leaves_a_study_that_goes_on(tmp_path: Path) -> None:
    """The lock is gone with it, its trial is lost, the others are whole."""
    with opened(tmp_path / "s.db") as study:
        go_on(study, 3)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "s.db"],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    with opened(tmp_path / "s.db") as study:
        assert study.counted == 3
        assert [trial.judged is None for trial in study.trials()] == [False, False, False, True]


def test_bad_tails_are_ended_and_probes_are_not(tmp_path: Path) -> None:
    """Once four others have been as far, one that is worse than their median; never with pruning off."""
    for prune in (True, False):
        with opened(tmp_path / f"{prune}", prune=prune, space={"learning_rate": SPACE["learning_rate"]}) as study:
            for loss in (0.5, 0.4, 0.6, 0.7):
                number, _ = study.ask()
                assert not study.report(number, 1, loss)
                study.tell(number, complete(loss))
            number, _ = study.ask()
            assert study.report(number, 1, 0.9) == prune
            other, _ = study.ask()
            assert not study.report(other, 1, 0.3)
            assert study.trials()[number].losses == {1: 0.9}


def test_of_accuracies_the_larger_is_better(tmp_path: Path) -> None:
    """A tail is ended for a larger validation loss all the same."""
    with opened(tmp_path / "s.db", objective="accuracy", space={"learning_rate": SPACE["learning_rate"]}) as study:
        for loss in (0.5, 0.4, 0.6, 0.7):
            number, _ = study.ask()
            assert not study.report(number, 1, loss)
            study.tell(number, complete(loss))
        number, _ = study.ask()
        assert study.report(number, 1, 0.9)
        assert study.trials()[number].losses == {1: 0.9}


def test_what_would_make_trials_incomparable_is_refused(tmp_path: Path) -> None:
    """One line that names what differs, before and now."""
    path = tmp_path / "s.db"
    with opened(path, {"texts": "a", "epochs": 3, "space of blocks": [1, 2]}):
        pass
    for made_with, said in (
        ({"texts": "b", "epochs": 3, "space of blocks": [1, 2]}, "was made with other texts, labels or parts"),
        ({"texts": "a", "epochs": 5, "space of blocks": [1, 2]}, "was made with epochs 3, now 5"),
        ({"texts": "a", "epochs": 3}, r"was made with space of blocks \[1, 2\], now None"),
        ({"texts": "a", "epochs": 4, "space of blocks": [1]}, r"was made with epochs 3, now 4 \(and 1 more\)"),
    ):
        with pytest.raises(ConfigError, match=said), opened(path, made_with):
            pass


def test_two_sweeps_do_not_share_a_study(tmp_path: Path) -> None:
    """The second is told, and the first goes on."""
    with opened(tmp_path / "s.db") as study:
        with pytest.raises(ConfigError, match="another sweep has it open"), opened(tmp_path / "s.db"):
            pass
        go_on(study, 1)


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    """A file of something else, and a study that another program filled."""
    (tmp_path / "text.db").write_text("text,label\n" * 300, encoding="utf-8")
    with pytest.raises(ArtefactError, match="no study"), opened(tmp_path / "text.db"):
        pass
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'other.db'}")
    optuna.create_study(storage=storage, study_name="tailtune").ask()
    storage.engine.dispose()
    with (
        pytest.raises(ArtefactError, match="holds trials that no sweep of tailtune made"),
        opened(tmp_path / "other.db"),
    ):
        pass


def test_importance_finds_what_matters(tmp_path: Path) -> None:
    """Of two settings the one that decides the loss has nearly all of it."""
    space = {"epochs": Numbers(low=1, high=8), "weight_decay": Numbers(low=0.0, high=0.3)}
    with opened(tmp_path / "s.db", space=space) as study:
        for _ in range(16):
            number, varied = study.ask()
            study.tell(number, complete(varied["epochs"] / 10))
        shares = study.importance(list(range(16)))
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["epochs"] > 0.9
