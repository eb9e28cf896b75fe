"""A sweep from start to end: rows, space, study, trials one after the other or side by side, and what they came to."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.errors import ConfigError
from tailtune.preparing import store_root
from tailtune.progress import Progress, Say, ignore, silent
from tailtune.resolving import Resolved
from tailtune.runs import Run, versions
from tailtune.storage import canonical_json, write_text
from tailtune.sweep.judging import SMALLER_IS_BETTER, Judge, Judged, Objective, Served
from tailtune.sweep.page import render_page, render_report
from tailtune.sweep.results import best_config, best_toml, made_with, summary, swept, trials_csv
from tailtune.sweep.space import read_space
from tailtune.sweep.study import Study, open_study
from tailtune.sweep.words import TITLES, varied_text
from tailtune.sweep.workers import Epoch, Work, Workers, threads_each
from tailtune.train import train

_STUDY, _RESULT, _RUN = "study.db", "sweep.json", "run"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a sweep is asked to do.

    Attributes:
        resolved: The settings that are not varied.
        space: TOML file of what is.
        vary: The same as texts, such as ``blocks=1,2,3``.
        trials: How many the study is to hold in all.
        seconds: After which no trial is begun; None for no limit.
        workers: Trials at once.
        study: File of the study; default: in ``out``.
        out: Folder of the result; default: runs/<data>-sweep.
        objective: What is judged by.
        prune: Whether trials that look bad are ended early.
        train_best: Whether a run is trained with the best settings, which reads the test.
        command: How it was asked for; recorded.
    """

    resolved: Resolved
    space: Path | None = None
    vary: tuple[str, ...] = ()
    trials: int = 30
    seconds: float | None = None
    workers: int = 1
    study: Path | None = None
    out: Path | None = None
    objective: Objective = "log-loss"
    prune: bool = True
    train_best: bool = False
    command: str | None = None

    @property
    def folder(self) -> Path:
        """Where the result goes: always the same, so that the same command goes on."""
        return self.out or Path("runs") / f"{Path(self.resolved.config.data).stem or 'texts'}-sweep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """A sweep that has ended.

    Attributes:
        folder: Holds best.toml, trials.csv, sweep.json, report.md, report.html.
        result: The content of sweep.json.
        run: Trained with the best settings, where that was asked for.
    """

    folder: Path
    result: dict[str, Any]
    run: Run | None = None


def sweep(order: Order, *, progress: Progress = silent, say: Say = ignore) -> Swept:
    """Return what the trials came to, after running those that the study still lacks.

    Args:
        order: What to do.
        progress: Told trials done, and stages while one runs in this process.
        say: Told what people should know, a line per trial.

    Raises:
        TailtuneError: By who must act; every trial that had ended is in the study.
        KeyboardInterrupt: After what is known has been written.
    """
    _require_possible(order)
    config, folder = order.resolved.config, order.folder
    path = order.study or folder / _STUDY
    served = Served.of(config, progress)
    space = read_space(order.space, order.vary, config, order.resolved.origins, progress)
    default = order.space is None and not order.vary
    say(f"varied: {', '.join(name.replace('_', '-') for name in space)}{' (the default space)' if default else ''}")
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "data": served.dataset.about(),
        "rows": {name: len(getattr(served.split, name)) for name in ("train", "validation")},
        "default_space": default,
        "command": order.command,
        "seed": config.seed,
        "study": str(path),
        "versions": versions(),
    }
    fixed = made_with(served.sha256(), space, order.resolved, order.objective)
    with (
        store_root(keep=config.cache) as store,
        open_study(
            path,
            fixed,
            space,
            objective=order.objective,
            method=config.method,
            seed=config.seed,
            prune=order.prune,
        ) as study,
    ):
        judge = Judge(config=config, served=served, objective=order.objective, store=store)
        interrupted = _interrupted(_Sweep(order=order, judge=judge, study=study, progress=progress, say=say))
        result = summary(study, space, order.resolved, objective=order.objective, groups=served.groups, about=about)
    _write(folder, order, result)
    if interrupted:
        say(f"interrupted; what is known is in {folder}, the same command goes on")
        raise KeyboardInterrupt
    if result["best"] is None:
        reasons = [trial["reason"] for trial in result["trials"] if trial["reason"]]
        said = f"nothing could be judged in {len(result['trials'])} trials; {folder / 'trials.csv'} tells of each"
        raise ConfigError(said, hint=f"the last one: {reasons[-1]}" if reasons else None)
    run = _train_best(order, result, progress=progress, say=say) if order.train_best else None
    return Swept(folder=folder, result=result, run=run)


def _require_possible(order: Order) -> None:
    config, folder = order.resolved.config, order.folder
    if config.folds:
        raise ConfigError("--folds judges on test rows, a sweep on the validation part alone", hint="leave out --folds")
    for flag, number in (("--trials", order.trials), ("--workers", order.workers)):
        if number < 1:
            raise ConfigError(f"{flag}: expected an integer, at least 1, got {number}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is no folder", hint="name another one")
    ours = {_STUDY, f"{_STUDY}.lock", f"{_STUDY}-journal"}
    if folder.is_dir() and not (folder / _RESULT).is_file():
        others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
        if others:
            said = f"--out {folder}: holds no sweep, but {others[0]}"
            raise ConfigError(said, hint="name a new folder, or that of a sweep to go on with it")
    if order.train_best and (folder / _RUN).exists():
        hint = "name another --out, or leave out --train-best"
        raise ConfigError(f"--train-best: {folder / _RUN} is there already; no run is overwritten", hint=hint)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sweep:
    """What the trials of one sweep share."""

    order: Order
    judge: Judge
    study: Study
    progress: Progress
    say: Say
    started: float = dataclasses.field(default_factory=time.monotonic)

    def run(self) -> None:
        """Run the trials that the study lacks."""
        if self.study.given is None:
            self._judge_given()
        if self.order.workers == 1:
            self._one_by_one()
        else:
            self._side_by_side()

    def _judge_given(self) -> None:
        """What there is without a sweep: what it is measured against, and it fills the feature store before workers."""
        self.say("first the settings as they are, nothing varied")
        judged = self.judge({}, lambda epoch, loss: False, self.progress)
        if judged.state == "contradiction":
            raise ConfigError(judged.reason)
        self.study.given = judged
        self.say(f"nothing varied: {self._came_to(judged)}")

    def _more(self) -> bool:
        late = self.order.seconds is not None and time.monotonic() - self.started >= self.order.seconds
        return not late and self.study.counted < self.order.trials

    def _one_by_one(self) -> None:
        while self._more():
            number, varied = self.study.ask()

            def report(epoch: int, loss: float, number: int = number) -> bool:
                return self.study.report(number, epoch, loss)

            self._tell(number, varied, self.judge(varied, report, self.progress))

    def _side_by_side(self) -> None:
        config = self.judge.config
        running: dict[int, dict[str, Any]] = {}
        threads = config.threads or threads_each(self.order.workers)
        config = dataclasses.replace(config, threads=threads, quiet=True)
        work = Work(config=config, objective=self.order.objective, store=self.judge.store)
        with Workers(work=work, count=self.order.workers) as workers:
            while True:
                while len(workers.busy) < workers.count and self._more():
                    number, varied = self.study.ask()
                    running[number] = varied
                    workers.start(number, varied)
                if not workers.busy:
                    return
                for said in workers.wait():
                    if isinstance(said, Epoch):
                        workers.answer(said, stop=self.study.report(said.trial, said.epoch, said.loss))
                    else:
                        self._tell(said.trial, running.pop(said.trial), said.judged)

    def _tell(self, number: int, varied: dict[str, Any], judged: Judged) -> None:
        self.study.tell(number, judged)
        self.progress("sweep", self.study.counted, self.order.trials, "trials")
        self.say(f"trial {number}: {self._came_to(judged)}; {varied_text(varied)}{self._best()}")

    def _came_to(self, judged: Judged) -> str:
        if judged.state != "complete":
            return f"{judged.state}: {judged.reason}"
        return f"{TITLES[self.order.objective]} {judged.scores[self.order.objective]:.4f}"

    def _best(self) -> str:
        objective = self.order.objective
        sign = 1 if SMALLER_IS_BETTER[objective] else -1
        found = [
            (sign * t.judged.scores[objective], t.number) for t in self.study.trials() if t.judged and t.judged.scores
        ]
        value, number = min(found, default=(math.nan, 0))
        return f"; best so far {sign * value:.4f} in trial {number}" if found else ""


def _interrupted(running: _Sweep) -> bool:
    """Run the trials; return whether they were interrupted. Those that had not ended are left to the next time."""
    try:
        running.run()
    except KeyboardInterrupt:
        return True
    finally:
        running.study.interrupt()
    return False


def _write(folder: Path, order: Order, result: dict[str, Any]) -> None:
    """Write what is known; without anything that completed only the trials and why they did not."""
    files: dict[str, Callable[[], str]] = {
        _RESULT: lambda: canonical_json(result),
        "trials.csv": lambda: trials_csv(result),
    }
    if result["best"] is not None:
        files |= {
            "best.toml": lambda: best_toml(order.resolved, result),
            "report.md": lambda: render_report(result),
            "report.html": lambda: render_page(result),
        }
    for name, content in files.items():
        write_text(folder / name, content())


def _train_best(order: Order, result: dict[str, Any], *, progress: Progress, say: Say) -> Run:
    config = dataclasses.replace(best_config(order.resolved.config, result["best"]), out=str(order.folder / _RUN))
    say("the sweep is over; the best settings are trained, and the test part is read once")
    origins = dict(order.resolved.origins) | dict.fromkeys(result["best"]["varied"], "sweep")
    return train(config, origins=origins, command=order.command, swept=swept(result), progress=progress, say=say)
