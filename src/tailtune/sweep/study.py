"""The study: what has been tried, in a file that Optuna writes and reads, and what to try next. The one user of Optuna.

The file is SQLite: a trial is in it whole or not at all, whatever is killed. One process has it open for a sweep, held
by a lock beside it, so that trials left running by one that died are known to be lost; workers do not touch it.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailtune.errors import ArtefactError, ConfigError, SetupError
from tailtune.storage import locked
from tailtune.sweep.judging import SMALLER_IS_BETTER, Judged, Objective
from tailtune.sweep.space import Choice, Domain, Space, drawn

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Random trials before the sampler learns from them: Optuna's own number.
_RANDOM = 10
# Nothing is pruned before so many trials have been completed, and so many have been as far.
_BEFORE_PRUNING = 4
_NAME = "tailtune"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One trial of the study.

    Attributes:
        number: From 0.
        varied: Setting -> value.
        judged: What it came to; None where it was interrupted or still runs.
        losses: Epoch -> validation loss of its tail, as far as it was told.
    """

    number: int
    varied: dict[str, Any]
    judged: Judged | None
    losses: dict[int, float] = field(default_factory=dict)


class Study:
    """Open for one process; see ``open_study``."""

    def __init__(self, study: optuna.Study, space: Space, *, objective: Objective, method: str, seed: int) -> None:
        self._study, self._space, self._objective = study, space, objective
        self._method, self._seed = method, seed
        self._asked: dict[int, optuna.Trial] = {}

    @property
    def counted(self) -> int:
        """Trials that have ended or run; those that were interrupted are run again under another number."""
        return sum("judged" in trial.user_attrs or not trial.state.is_finished() for trial in self._all())

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Return the number of a new trial and what it varies.

        Each is drawn with a seed of its own, from the sweep's and how many trials there were before: a sweep that was
        interrupted goes on as if it had not been.
        """
        from optuna.samplers import TPESampler

        seed = int(np.random.SeedSequence([self._seed, self.counted]).generate_state(1)[0])
        with _quiet():
            # Groups: which settings are drawn depends on the method.
            self._study.sampler = TPESampler(seed=seed, n_startup_trials=_RANDOM, multivariate=True, group=True)
            trial = self._study.ask()
            varied: dict[str, Any] = {}
            for name in self._space:
                if name in drawn(self._space, varied.get("method", self._method)):
                    varied[name] = _suggested(trial, name, self._space[name])
        self._asked[trial.number] = trial
        return trial.number, varied

    def report(self, number: int, epoch: int, loss: float) -> bool:
        """Record the validation loss of a trial's tail after an epoch, and return whether to stop it."""
        trial = self._asked[number]
        # The pruner takes what the study takes for better: of accuracies, and so of losses turned around, the larger.
        trial.report(loss if SMALLER_IS_BETTER[self._objective] else -loss, epoch)
        return trial.should_prune()

    def tell(self, number: int, judged: Judged) -> None:
        """Record what a trial came to."""
        self._asked.pop(number).set_user_attr("judged", _attributes(judged))
        self._end(number, judged)

    def interrupt(self) -> None:
        """End all trials that still run, by what they came to or as failed without having been judged."""
        for trial in self._all():
            if not trial.state.is_finished():
                self._end(trial.number, _judged(trial.user_attrs.get("judged")))
        self._asked.clear()

    def _end(self, number: int, judged: Judged | None) -> None:
        from optuna.trial import TrialState

        if judged is not None and judged.state == "complete":
            self._study.tell(number, judged.scores[self._objective])
        else:
            # Pruned, for Optuna: the sampler learns from it where not to look. A failure says nothing of the settings.
            failed = judged is None or judged.state == "failed"
            self._study.tell(number, state=TrialState.FAIL if failed else TrialState.PRUNED)

    def _all(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def given(self) -> Judged | None:
        """What the settings come to where nothing is varied; None before it is known."""
        return _judged(self._study.user_attrs.get("given"))

    @given.setter
    def given(self, judged: Judged) -> None:
        """Record it."""
        self._study.set_user_attr("given", _attributes(judged))

    def trials(self) -> list[Trial]:
        """Return every trial in the order of asking."""
        sign = 1 if SMALLER_IS_BETTER[self._objective] else -1
        return [
            Trial(
                number=trial.number,
                varied=dict(trial.params),
                judged=_judged(trial.user_attrs.get("judged")),
                losses={epoch: sign * loss for epoch, loss in trial.intermediate_values.items()},
            )
            for trial in self._all()
        ]

    def importance(self, numbers: list[int]) -> dict[str, float]:
        """Return the share of each setting in how the objective varies over the trials ``numbers``, which sum to 1.

        By fANOVA (Hutter, Hoos, Leyton-Brown 2014).

        Args:
            numbers: Complete trials that vary the same settings.
        """
        import optuna

        alike = optuna.create_study(direction=self._study.direction)
        for trial in self._all():
            if trial.number in numbers:
                alike.add_trial(trial)
        with _quiet():
            evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._seed)
            return optuna.importance.get_param_importances(alike, evaluator=evaluator)


@contextlib.contextmanager
def open_study(
    path: Path, made_with: Mapping[str, Any], space: Space, *, objective: Objective, method: str, seed: int, prune: bool
) -> Iterator[Study]:
    """Yield the study in ``path``, a new one where there is none; trials that a dead process left running are lost.

    Args:
        path: Of the file.
        made_with: What must stay the same for trials to be comparable: name -> value, ready for JSON.
        space: What is varied.
        objective: What is judged by.
        method: Where it is not varied.
        seed: Of the sampler.
        prune: Whether trials are ended early: those whose tail is worse than the median of the others after as many
            epochs.

    Raises:
        SetupError: If Optuna is not installed, or the file cannot be written.
        ArtefactError: If the file is no study.
        ConfigError: If another sweep has it open, or it was made with something else.
    """
    if importlib.util.find_spec("optuna") is None:
        raise SetupError("the sweep needs Optuna, which is not installed", hint="pip install 'tailtune[sweep]'")
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_BEFORE_PRUNING, n_min_trials=_BEFORE_PRUNING)
    try:
        with locked(path.with_name(f"{path.name}.lock"), wait=False):
            try:
                storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
                study = optuna.create_study(
                    storage=storage,
                    study_name=_NAME,
                    direction="minimize" if SMALLER_IS_BETTER[objective] else "maximize",
                    pruner=pruner if prune else optuna.pruners.NopPruner(),
                    load_if_exists=True,
                )
            except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise ArtefactError(f"--study {path}: no study: {reason}", hint="name another file") from error
            try:
                _require_same(path, study, made_with)
                opened = Study(study, space, objective=objective, method=method, seed=seed)
                opened.interrupt()
                yield opened
            finally:
                storage.remove_session()
                storage.engine.dispose()
    except BlockingIOError as error:
        hint = "wait for it, or name another --study; --workers runs several trials at once"
        raise ConfigError(f"--study {path}: another sweep has it open", hint=hint) from error


def _require_same(path: Path, study: optuna.Study, made_with: Mapping[str, Any]) -> None:
    before = study.user_attrs.get("made_with")
    if before is None:
        if study.get_trials(deepcopy=False):
            raise ArtefactError(
                f"--study {path}: holds trials that no sweep of tailtune made", hint="name another file"
            )
        study.set_user_attr("made_with", dict(made_with))
        return
    differing = [name for name in {**before, **made_with} if before.get(name) != made_with.get(name)]
    if differing:
        name = differing[0]
        said = f"{name} {before.get(name)}, now {made_with.get(name)}"
        if name == "texts":
            said = "other texts, labels or parts than there are now"
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        hint = "name another --study for a new sweep, or go back to what it was made with"
        raise ConfigError(f"--study {path}: was made with {said}{more}", hint=hint)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna warns of each use of what is new in it; a search space by groups has been so for years."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _suggested(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.values)
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log, step=int(domain.step or 1))
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log, step=domain.step)


def _attributes(judged: Judged) -> dict[str, Any]:
    """What is told, as JSON: rows as base64, a quarter of what they would take in digits."""
    told = asdict(judged)
    if judged.rows is not None:
        told["rows"] = base64.b64encode(judged.rows.astype("<f4").tobytes()).decode()
    return told


def _judged(attributes: Mapping[str, Any] | None) -> Judged | None:
    if attributes is None:
        return None
    told = dict(attributes)
    if told["rows"] is not None:
        told["rows"] = np.frombuffer(base64.b64decode(told["rows"]), dtype="<f4").astype(np.float32)
    return Judged(**told)
