"""Processes that run trials: as in this process, ended with it, and no more than a trial is lost when one is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.sweeps import judge_of, never, quick
from support.texts import messages, write_csv
from tailtune.errors import DataError, SetupError
from tailtune.resolving import Resolved
from tailtune.sweep.judging import Served
from tailtune.sweep.workers import Done, Epoch, Work, Workers, threads_each


@pytest.fixture
def resolved(tmp_path: Path, tiny_llama: Path) -> Resolved:
    return quick(tiny_llama, write_csv(tmp_path / "m.csv", *messages(60)), threads=1)


def work_of(resolved: Resolved, store: Path) -> Work:
    return Work(config=resolved.config, objective="log-loss", store=store)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_judges_as_this_process_does(resolved: Resolved, tmp_path: Path) -> None:
    """It tells each epoch, stops when told, and leaves nothing running."""
    store = tmp_path / "store"
    here = judge_of(resolved.config, Served.of(resolved.config), store)({"learning_rate": 1e-3}, never)
    done: dict[int, Done] = {}
    with Workers(work=work_of(resolved, store), count=2) as workers:
        workers.start(0, {"learning_rate": 1e-3})
        workers.start(1, {"loss": "focal", "label_smoothing": 0.1})
        asked = []
        while workers.busy:
            for said in workers.wait():
                if isinstance(said, Done):
                    done[said.trial] = said
                    if said.trial == 1:
                        workers.start(2, {})
                else:
                    asked.append((said.trial, said.epoch))
                    workers.answer(said, stop=said.trial == 2)
        pids = workers.pids
        assert len(pids) == 2
    assert {number: done[number].judged.state for number in done} == {0: "complete", 1: "contradiction", 2: "pruned"}
    assert done[0].judged.scores == pytest.approx(here.scores, rel=1e-5)
    assert sorted(asked) == [(0, 1), (2, 1)]
    assert not any(map(alive, pids))


def test_a_killed_worker_loses_its_trial_only(resolved: Resolved, tmp_path: Path) -> None:
    """Killed while its trial waits for an answer; another takes its place."""
    with Workers(work=work_of(resolved, tmp_path / "store"), count=2) as workers:
        workers.start(0, {})
        workers.start(1, {})
        before, states, killed = list(workers.pids), {}, False
        while workers.busy:
            for said in workers.wait():
                if isinstance(said, Epoch) and said.trial == 0:
                    os.kill(before[0], signal.SIGKILL)
                    killed = True
                elif isinstance(said, Epoch):
                    workers.answer(said, stop=False)
                else:
                    states[said.trial] = said.judged
        assert killed
        assert (states[0].state, states[0].reason) == ("failed", "its worker was ended by signal 9")
        assert states[1].state == "complete"
        workers.start(2, {"loss": "focal", "label_smoothing": 0.1})
        workers.start(3, {"loss": "focal", "label_smoothing": 0.1})
        assert len(workers.pids) == 2
        assert before[0] not in workers.pids


def test_what_is_wrong_with_more_than_a_trial_ends_all(resolved: Resolved, tmp_path: Path) -> None:
    """The data are gone when the worker starts: its error is raised here as it is."""
    Path(resolved.config.data).unlink()
    with Workers(work=work_of(resolved, tmp_path / "store"), count=1) as workers:
        workers.start(0, {})
        with pytest.raises(DataError, match=r"m\.csv: no such file"):
            list(workers.wait())


def test_workers_that_die_one_after_the_other_are_an_error(resolved: Resolved, tmp_path: Path) -> None:
    """Not tried for ever."""
    with Workers(work=work_of(resolved, tmp_path / "store"), count=1) as workers:

        def one_dies(trial: int) -> list[Epoch | Done]:
            workers.start(trial, {})
            os.kill(workers.pids[0], signal.SIGKILL)
            return list(workers.wait())

        assert isinstance(one_dies(0)[0], Done)
        one_dies(1)
        with pytest.raises(SetupError, match="3 workers of the sweep ended one after the other, the last by signal 9"):
            one_dies(2)


def test_threads_are_shared_out() -> None:
    """At least one each, and all of them together no more than there are."""
    assert threads_each(1) >= 1
    assert threads_each(10_000) == 1
    assert 2 * threads_each(2) <= max(2, threads_each(1))
