"""TextClassifier: the whole of Tailtune in scikit-learn's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailtune.config import TrainConfig, settings
from tailtune.errors import ConfigError
from tailtune.resolving import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tailtune.predict import Prediction, Predictor

# Without a test part: seven parts to learn from, one to choose by, as in a run that also tests.
_FRACTIONS = (0.875, 0.125, 0.0)
# Settings of a run that reads files, tests and writes a report; ignoring them would mislead.
_FILES = {
    *("data", "text_column", "label_column", "label_separator", "label_columns", "label_shares", "validation", "test"),
    *("group", "time_column", "folds", "out", "recipe", "baselines", "track", "relabel", "doubts"),
    *("teacher", "unlabelled", "out_of_scope_texts"),
}
_FILES |= {"highlights", "slice_by"}


class TextClassifier:
    """A text classifier on a pretrained language model.

    Keeps an eighth of the texts (near-duplicates together) to choose depth and method by. For an honest test with
    intervals and baselines use ``tailtune.train.train`` or the command line, which keep rows apart for it.

    Args:
        **settings: Fields of ``tailtune.config.TrainConfig``: ``model``, ``method``, ``depth``, ``seed`` ...

    Raises:
        ConfigError: If a setting is unknown or out of range.

    Example:
        >>> clf = TextClassifier(method="probe").fit(texts, labels)  # doctest: +SKIP
        >>> clf.predict_proba(["WINNER!! claim your prize"])  # doctest: +SKIP
    """

    def __init__(self, **settings: Any) -> None:
        self._config = _config(settings)
        self._settings = settings
        self._predictor: Predictor | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings given, as scikit-learn's tools ask for them."""
        return dict(self._settings)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn's tools ask before they use an estimator: a classifier of strings."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
        )

    def set_params(self, **settings: Any) -> TextClassifier:
        """Return self with further settings; what was fitted stays until the next ``fit``."""
        self._config = _config({**self._settings, **settings})
        self._settings = {**self._settings, **settings}
        return self

    def fit(self, texts: Iterable[str], labels: Iterable[Any]) -> TextClassifier:
        """Return self, fitted.

        Args:
            texts: One string per row; blank ones are dropped.
            labels: One label per row; they become strings. Or a list (tuple, set) of labels per row, empty for none:
                each text can then have any number of them.

        Raises:
            ConfigError: If texts or labels are one string, differ in number, or a setting does not go with lists.
            DataError: If there are fewer than two classes, or a class with one row.
        """
        from tailtune.data.check import require_trainable
        from tailtune.data.read import dataset_from_lists
        from tailtune.data.split import split_dataset
        from tailtune.label_aims import refuse_one_label_settings
        from tailtune.learn import learn
        from tailtune.preparing import store_root
        from tailtune.runs import Stopwatch

        dataset = dataset_from_lists(_listed(texts), _listed(labels))
        require_trainable(dataset)
        config = self._config
        if dataset.sets is not None:
            refuse_one_label_settings(config)
        split = split_dataset(
            dataset,
            seed=config.seed,
            fractions=_FRACTIONS,
            balance=config.balance,
            alike=config.near_duplicates,
            by=config.split_by,
        )
        with store_root(keep=config.cache) as store:
            self._predictor = learn(dataset, split, config, store=store, watch=Stopwatch()).predictor
        return self

    @property
    def classes_(self) -> NDArray[np.str_]:
        """[C] label names, in the order of the columns of ``predict_proba``."""
        import numpy as np

        return np.array(self._fitted().labels)

    def predict(self, texts: Sequence[str]) -> NDArray[np.str_] | Any:
        """Return [texts] the label of each text: the most probable one, or as the bundle's decision has it.

        Where a text can have several: a list of lists, the labels whose probability reaches their threshold, in the
        order of ``classes_``.
        """
        fitted = self._fitted()
        decided = fitted.bundle.rules.decide(self.predict_proba(texts))
        if fitted.bundle.labels.several:
            return [self.classes_[row].tolist() for row in decided]
        chosen: NDArray[np.str_] = self.classes_[decided]
        return chosen

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return [texts, C] probabilities; columns in the order of ``classes_``.

        Each row sums to 1 where a text has one label; where it can have several, each probability is its label's own.
        """
        return self._fitted().predict_proba(_listed(texts))

    def explain(self, texts: Sequence[str]) -> list[Prediction]:
        """Return one Prediction per text: label, probabilities by name, tokens and windows read, whether it was cut."""
        return self._fitted().predict(_listed(texts))

    def score(self, texts: Sequence[str], labels: Iterable[Any]) -> float:
        """Return the share of texts whose most probable label is right, or whose whole list of labels is.

        No reading for the ledger of test parts: scikit-learn's searches ask this of every fold. `tailtune evaluate` is.

        Raises:
            ConfigError: If there is not one label per text.
        """
        import numpy as np

        kept_texts, truth = _listed(texts), _listed(labels)
        if len(kept_texts) != len(truth):
            raise ConfigError(f"got {len(kept_texts)} texts and {len(truth)} labels, expected one label per text")
        pairs = list(zip(self.predict(kept_texts), truth, strict=True))
        if self._fitted().bundle.labels.several:
            right = [set(found) == {str(label) for label in own} for found, own in pairs]
        else:
            right = [str(found) == str(own) for found, own in pairs]
        return float(np.mean(right))

    def save(self, path: str | Path) -> None:
        """Write the bundle to ``path``, absent or an empty folder; it is reloaded and compared before it gets its name.

        Raises:
            SetupError: If it cannot be written.
        """
        self._fitted().save(path)

    @classmethod
    def load(cls, path: str | Path) -> TextClassifier:
        """Return the classifier in a bundle or run folder.

        Raises:
            BundleError: If it is damaged or no bundle.
        """
        from tailtune.predict import Predictor

        loaded = cls()
        loaded._predictor = Predictor.load(path)
        return loaded

    def _fitted(self) -> Predictor:
        if self._predictor is None:
            raise ConfigError("this classifier has not been fitted", hint="call fit(texts, labels) or load(path) first")
        return self._predictor


def _config(given: Mapping[str, Any]) -> TrainConfig:
    """The settings by name; None is a value here where the setting has one: no clipping, no early stopping."""
    known = settings()
    if elsewhere := sorted(_FILES & given.keys()):
        raise ConfigError(f"{', '.join(elsewhere)}: only a run has this", hint="use tailtune.train.train for a run")
    can_be_none = {name for name, setting in known.items() if setting.optional and str not in setting.types}
    spelled = {name: "none" if value is None and name in can_be_none else value for name, value in given.items()}
    return resolve({"data": "memory", **spelled}).config


def _listed(values: Iterable[Any]) -> list[Any]:
    if isinstance(values, str):
        raise ConfigError("expected a list of strings, got one string", hint="write [text]")
    return list(values)
