"""Which column holds the texts and which the labels. Knows nothing about file forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tailtune.data.several import ONE_NAME_OR_LIST, LabelForm
from tailtune.errors import ConfigError, DataError
from tailtune.template import Template

Role = Literal["text", "label"]

# The first name of each is the convention: where it is present, other aliases beside it do not make the choice unclear.
ALIASES: dict[Role, tuple[str, ...]] = {
    "text": (
        "text", "texts", "message", "messages", "sentence", "content", "body", "sms", "review", "utterance", "comment",
        "input", "document", "tweet", "query", "question", "post", "v2",
    ),
    "label": (
        "label", "labels", "class", "category", "intent", "target", "sentiment", "y", "label_text", "topic", "emotion",
        "v1",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which columns to read.

    Attributes:
        text_column: Its name, or None to find it by its usual names.
        label_column: Its name, or None to find it by its usual names.
        labelled: Whether labels are read at all; predicting needs none.
        others: Further columns to read beside them, by name; None for all there are.
        label_form: How labels are written.
        joined: Columns whose cells make the text, the text column first; () where that one is the text.
    """

    text_column: str | None = None
    label_column: str | None = None
    labelled: bool = True
    others: tuple[str, ...] | None = ()
    label_form: LabelForm = ONE_NAME_OR_LIST
    joined: tuple[str, ...] = ()

    def read_by(self, template: Template | None) -> Wanted:
        """Return what is to be read where ``template`` makes the texts.

        Raises:
            ConfigError: If a text column is asked for beside a template that names its columns.
        """
        if template is None or template.text_column is None:
            return self
        if self.text_column is not None:
            said = f"--text-column {self.text_column} and --template {template.spelled!r} both say where the texts are"
            raise ConfigError(said, hint="leave out --text-column, or call it {text} in the template")
        own = template.columns if template.joins else ()
        others = None if self.others is None else tuple(dict.fromkeys((*self.others, *own[1:])))
        return replace(self, text_column=template.text_column, others=others, joined=own)

    @property
    def asked(self) -> set[str]:
        """Names of columns that were asked for."""
        return {name for name in (self.text_column, self.label_column, *(self.others or ())) if name is not None}

    @property
    def named(self) -> bool:
        """Whether a column was asked for by name."""
        return self.text_column is not None or self.label_column is not None


def is_known_name(name: str) -> bool:
    """Return whether ``name`` is a usual name of a text or label column, in any case."""
    return any(_plain(name) in names for names in ALIASES.values())


def choose_columns(names: Sequence[str], wanted: Wanted, path: Path | str) -> tuple[int, int]:
    """Return the positions of the text and the label column in ``names``; the label's is -1 when none is wanted.

    Raises:
        DataError: If a column is absent, not clear, or is asked to be both; it lists the columns there are.
    """
    if wanted.joined:
        text = _single(names, wanted.joined[0], f"column {wanted.joined[0]!r}, which the template reads", None, path)
    else:
        text = _choose(names, "text", wanted.text_column, path)
    label = _choose(names, "label", wanted.label_column, path) if wanted.labelled else -1
    if label >= 0 and names[label] in wanted.joined:
        said = f"the template reads {names[label]!r}, which is the label column"
        raise DataError(said, path=path, hint="leave it out of the template, or name another with --label-column")
    if text == label:
        raise DataError(
            f"column {names[text]!r} cannot be both the text and the label",
            path=path,
            hint="give two different columns with --text-column and --label-column",
        )
    return text, label


def choose_others(names: Sequence[str], wanted: Wanted, taken: tuple[int, int], path: Path | str) -> dict[str, int]:
    """Return the further columns that are wanted: what they are called -> their position in ``names``.

    A column asked for is called as it was asked for. Of all columns, ``taken`` are left out, and a name that comes
    again is numbered.

    Raises:
        DataError: If a column is absent or not clear; it lists the columns there are.
    """
    if wanted.others is not None:
        return {name: _single(names, name, f"column {name!r}", None, path) for name in wanted.others}
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        if index not in taken:
            again = sum(known == name for known in names[:index])
            found[f"{name} ({again + 1})" if again else name] = index
    return found


def _choose(names: Sequence[str], role: Role, asked: str | None, path: Path | str) -> int:
    hint = f"name it with --{role}-column"
    if asked is not None:
        return _single(names, asked, f"{role} column {asked!r}", hint, path)
    found = _usual(names, role)
    if not found:
        hint += "; the first line must be a header with column names"
    return _only(names, found, f"{role} column", hint, path)


def _single(names: Sequence[str], asked: str, what: str, hint: str | None, path: Path | str) -> int:
    exact = [index for index, name in enumerate(names) if name == asked]
    found = exact or [index for index, name in enumerate(names) if _plain(name) == _plain(asked)]
    return _only(names, found, what, hint, path)


def _only(names: Sequence[str], found: Sequence[int], what: str, hint: str | None, path: Path | str) -> int:
    if len(found) == 1:
        return found[0]
    present = ", ".join(repr(name) for name in names[:30]) + (" …" if len(names) > 30 else "")
    if not found:
        raise DataError(f"no {what}; columns present: {present}", path=path, hint=hint)
    several = ", ".join(repr(names[index]) for index in found)
    raise DataError(f"{what} is not clear: {several} would do; columns present: {present}", path=path, hint=hint)


def _usual(names: Sequence[str], role: Role) -> list[int]:
    convention = [index for index, name in enumerate(names) if _plain(name) == role]
    return convention or [index for index, name in enumerate(names) if _plain(name) in ALIASES[role]]


def _plain(name: str) -> str:
    return name.strip().casefold()
