"""Which script a text is written in, by Unicode's names of its letters, and which language, where py3langid is there.

A script is no language: Latin letters write English and Vietnamese alike.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from tailtune.data.dataset import Dataset, Finding, name_rows
from tailtune.errors import SetupError

NO_LETTERS = "no letters"
TOO_SHORT = "too short to tell"
# Of fewer letters a language is guessed: of the SMS collection py3langid called 93.8 % English, of its messages with so
# many letters 97.8 %, and none of the others is another language.
_FEWEST_LETTERS = 40
# A script of fewer rows is a foreign name more often than a part of the data, a language of less a wrong guess.
_FEWEST_ROWS = 5
_LEAST_SHARE = 0.02
_SHOWN = 8
# Signs that a text in one language mixes, and forms of one letter.
_SAME = {"Cjk": "Han and kana", "Hiragana": "Han and kana", "Katakana": "Han and kana"}
_FORMS = ("FULLWIDTH ", "HALFWIDTH ", "MATHEMATICAL ", "MODIFIER LETTER ", "COMBINING ")


def script_of(text: str) -> str:
    """Return the script of most letters of ``text``, such as Latin, Cyrillic or Arabic; of equals the first to come."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else NO_LETTERS
    counts = Counter(map(_script, filter(str.isalpha, text)))
    return max(counts, key=counts.__getitem__) if counts else NO_LETTERS


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "Unnamed")
    for form in _FORMS:
        name = name.removeprefix(form)
    first = name.partition(" ")[0].partition("-")[0].capitalize()
    return _SAME.get(first, "Latin" if len(first) == 1 or first in {"Bold", "Italic", "Script", "Fraktur"} else first)


def languages_of(texts: Sequence[str]) -> list[str] | None:
    """Return the language code of each text, or that it is too short to tell; None where py3langid is not installed."""
    if importlib.util.find_spec("py3langid") is None:
        return None
    import py3langid

    def language(text: str) -> str:
        letters = sum(map(str.isalpha, text))
        return str(py3langid.classify(text)[0]) if letters >= _FEWEST_LETTERS else TOO_SHORT

    return [language(text) for text in texts]


def require_languages() -> None:
    """Refuse to go on where languages cannot be told.

    Raises:
        SetupError: It names what to install.
    """
    if importlib.util.find_spec("py3langid") is None:
        raise SetupError("languages: py3langid is not installed", hint="pip install 'tailtune[languages]'")


def script_mix(dataset: Dataset) -> Finding | None:
    """Return the note that the texts are in several scripts; None where one has nearly all of them."""
    return _mix("script_mix", "scripts", [script_of(text) for text in dataset.texts], 0.0, dataset)


def language_mix(dataset: Dataset) -> Finding | None:
    """Return the note that the texts are in several languages; None for one, or where py3langid is not installed."""
    languages = languages_of(dataset.texts)
    return None if languages is None else _mix("language_mix", "languages", languages, _LEAST_SHARE, dataset)


def _mix(kind: str, what: str, found: Sequence[str], least: float, dataset: Dataset) -> Finding | None:
    counts = Counter(name for name in found if name not in (NO_LETTERS, TOO_SHORT))
    fewest = max(_FEWEST_ROWS, least * counts.total())
    known = [(name, rows) for name, rows in counts.most_common() if rows >= fewest]
    if len(known) < 2:
        return None
    shown = ", ".join(f"{name} {rows} ({rows / len(found):.1%})" for name, rows in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    named = {name for name, _ in known[1:]}
    rows = tuple(row for row, name in zip(dataset.rows, found, strict=True) if name in named)
    message = f"texts in several {what}: {shown}{more}; not {known[0][0]}: {name_rows(rows)}"
    return Finding(kind=kind, message=message, rows=rows)
