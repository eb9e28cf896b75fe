"""What a run has been told already: marks of all its texts and, where its data can still be read, the labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailtune.bundle import Bundle, read_bundle
from tailtune.data.catalog import open_dataset
from tailtune.data.dataset import Dataset
from tailtune.data.marks import row_marks
from tailtune.data.several import LabelForm
from tailtune.errors import ConfigError, TailtuneError
from tailtune.ledger import run_folder, seen_marks
from tailtune.progress import Progress, silent
from tailtune.storage import read_json
from tailtune.template import Template

_LEARNT = ("train", "validation")


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What a run knows.

    Attributes:
        marks: Of the texts of all its parts; empty for a bundle that stands alone.
        texts: All labelled texts of its data; empty where they cannot be read any more.
        learnt: The rows of its training and validation parts; None where not all can be read any more.
    """

    marks: frozenset[str]
    texts: tuple[str, ...] = ()
    learnt: Dataset | None = None


def classifier_of(path: Path) -> Bundle:
    """Return the classifier saved at ``path``, where it reads texts as they are labelled here: from one text column.

    Raises:
        BundleError: If it cannot be used.
        ConfigError: If its template names columns: what is written for people to label would lack them.
    """
    bundle = read_bundle(path)
    template = bundle.tokenizer.template
    if template is not None and template.text_column is not None:
        said = f"{path}: its template reads {', '.join(template.columns)}, and texts to label are one column"
        raise ConfigError(said, hint="take a classifier of {text}, or --model instead of one")
    return bundle


def known_of(path: Path, *, progress: Progress = silent) -> Known:
    """Return what a run knows; of its data, what is still where it was: the file may have grown or been corrected.

    Args:
        path: A run folder, the bundle inside, or a bundle that stands alone.
        progress: Told about lines read.
    """
    seen = seen_marks(path)
    marks = frozenset(mark for part in seen.values() for mark in part)
    try:
        whole = _dataset(read_json(run_folder(path) / "config.json")["config"], progress)
    except (TailtuneError, OSError, ValueError, KeyError, TypeError):
        return Known(marks=marks)
    own, wanted = row_marks(whole.texts), {mark for name in _LEARNT for mark in seen.get(name, ())}
    if not marks & set(own):  # another file by now
        return Known(marks=marks)
    learnt = whole.take([at for at, mark in enumerate(own) if mark in wanted])
    return Known(marks=marks, texts=whole.texts, learnt=learnt if wanted <= set(own) else None)


def _dataset(config: dict[str, Any], progress: Progress) -> Dataset:
    return open_dataset(
        config["data"],
        text_column=config["text_column"],
        label_column=config["label_column"],
        form=LabelForm.given(config["label_separator"], config["label_columns"], config.get("label_shares")),
        template=Template.parse(config["template"]) if config.get("template") else None,
        progress=progress,
    )
