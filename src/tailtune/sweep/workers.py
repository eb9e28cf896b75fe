"""Trials in processes of their own. They share the feature store; only the process that started them has the study.

A worker that dies, of SIGKILL or for want of memory, loses its trial and nothing else: another takes its place.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailtune.config import TrainConfig
from tailtune.errors import SetupError, TailtuneError
from tailtune.machine import cores
from tailtune.sweep.judging import Judge, Judged, Objective, Served

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    Pipe = connection.Connection[Any, Any]

# So many workers in a row that die without a result are no accident.
_MOST_DEATHS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What every worker is told once; the texts it reads itself."""

    config: TrainConfig
    objective: Objective
    store: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """A trial's validation loss after an epoch; its worker waits to hear whether to stop."""

    trial: int
    epoch: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A trial has ended."""

    trial: int
    judged: Judged


@dataclass(kw_only=True)
class _Worker:
    process: BaseProcess
    pipe: Pipe
    trial: int | None = None


@dataclass(kw_only=True)
class Workers:
    """A number of processes and what each is at; use as a context manager, so that none outlives it."""

    work: Work
    count: int
    _all: list[_Worker] = field(default_factory=list)
    _deaths: int = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *ended: object) -> None:
        for worker in self._all:
            worker.process.kill()
        for worker in self._all:
            worker.process.join()
            worker.pipe.close()

    @property
    def pids(self) -> list[int]:
        """Of the processes that live."""
        return [worker.process.pid for worker in self._all if worker.process.pid is not None]

    @property
    def busy(self) -> list[int]:
        """The trials that are being run."""
        return [worker.trial for worker in self._all if worker.trial is not None]

    def start(self, trial: int, varied: Mapping[str, Any]) -> None:
        """Have a worker that has nothing to do run a trial; there is one while fewer than ``count`` are busy."""
        worker = next((each for each in self._all if each.trial is None), None) or self._new()
        worker.trial = trial
        with contextlib.suppress(OSError):  # it died idle: the next look at its pipe tells
            worker.pipe.send((trial, dict(varied)))

    def answer(self, epoch: Epoch, *, stop: bool) -> None:
        """Say whether the trial of ``epoch`` is to stop."""
        for worker in self._all:
            if worker.trial == epoch.trial:
                with contextlib.suppress(OSError):
                    worker.pipe.send(stop)

    def wait(self, seconds: float | None = None) -> Iterator[Epoch | Done]:
        """Yield what the busy workers have to say, after waiting for at least one of them.

        Raises:
            TailtuneError: What a worker met that is wrong with more than its trial.
            SetupError: If workers die one after the other.
        """
        busy = {worker.pipe: worker for worker in self._all if worker.trial is not None}
        for pipe in connection.wait(list(busy), seconds):
            worker = busy[pipe]  # type: ignore[index]
            try:
                said = worker.pipe.recv()
            except (EOFError, OSError):
                yield self._lost(worker)
                continue
            if isinstance(said, TailtuneError):
                raise said
            if isinstance(said, Done):
                worker.trial, self._deaths = None, 0
            yield said

    def _new(self) -> _Worker:
        # A new interpreter: a fork of one in which PyTorch has threads may wait for a lock for ever.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self.work), daemon=True)
        process.start()
        theirs.close()  # or its end would stay open when the worker dies
        worker = _Worker(process=process, pipe=ours)
        self._all.append(worker)
        return worker

    def _lost(self, worker: _Worker) -> Done:
        trial = worker.trial
        assert trial is not None
        worker.process.join()
        worker.pipe.close()
        self._all.remove(worker)
        self._deaths += 1
        code = worker.process.exitcode or 0
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if self._deaths >= _MOST_DEATHS:
            hint = "is there memory for so many? Try fewer --workers"
            raise SetupError(
                f"{self._deaths} workers of the sweep ended one after the other, the last {how}", hint=hint
            )
        return Done(trial=trial, judged=Judged(state="failed", reason=f"its worker was ended {how}"))


def _serve(pipe: Pipe, work: Work) -> None:
    """Run trials until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; who started us ends us
    from threadpoolctl import threadpool_limits

    with contextlib.suppress(EOFError, BrokenPipeError), threadpool_limits(work.config.threads):
        try:
            judge = Judge(config=work.config, served=Served.of(work.config), objective=work.objective, store=work.store)
            while True:
                trial, varied = pipe.recv()
                judged = judge(varied, partial(_asked, pipe, trial))
                pipe.send(Done(trial=trial, judged=judged))
        except TailtuneError as error:
            pipe.send(error)


def _asked(pipe: Pipe, trial: int, epoch: int, loss: float) -> bool:
    pipe.send(Epoch(trial=trial, epoch=epoch, loss=loss))
    return bool(pipe.recv())


def threads_each(workers: int) -> int:
    """Return how many threads each of ``workers`` may use, so that all of them together use this machine's."""
    return max(1, cores() // workers)
