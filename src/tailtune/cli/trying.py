"""A sitting in which somebody tries a classifier: typed texts are answered, lines such as ``:report`` are obeyed."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailtune.bundle import find_bundle
from tailtune.cli import show
from tailtune.cli.lines import Record, require_text
from tailtune.cli.marks import markdown, marked, spoken
from tailtune.cli.predict import Asked, chunks_of, to_file
from tailtune.cli.screen import Screen, show_error
from tailtune.errors import BundleError, ConfigError, TailtuneError
from tailtune.explain import explain
from tailtune.report.decisions import calibration_line
from tailtune.report.reading import reading_line
from tailtune.report.thresholds import threshold_lines, usual_label
from tailtune.rules import Rules
from tailtune.storage import read_json

if TYPE_CHECKING:
    from tailtune.predict import Prediction, Predictor

# Not ":p" and the like, which texts begin with.
_COMMAND = re.compile(r":([a-z]{3,}|q)(?:\s+(.*))?", re.DOTALL)
_END_OF_PASTE = "."


class Prompt:
    """Lines from a terminal, with line editing and a history that is forgotten at the end: texts are nobody's business.

    Text that is pasted keeps its line ends where the terminal brackets it, as most do.
    """

    def __init__(self) -> None:
        with contextlib.suppress(ImportError):  # not everywhere; then the terminal itself edits lines
            import readline

            readline.parse_and_bind("set enable-bracketed-paste on")

    def read(self, prompt: str = "> ") -> str | None:
        """Return what was typed up to Enter; None at the end of the input."""
        try:
            return input(prompt)
        except EOFError:
            print()
            return None

    def paste(self) -> str:
        """Return all lines up to one that is a single full stop, or to the end of the input."""
        lines: list[str] = []
        while (line := self.read("")) is not None and line != _END_OF_PASTE:
            lines.append(line)
        return "\n".join(lines)


@dataclass(kw_only=True, slots=True)
class Trial:
    """One classifier and what was set while it is tried.

    Attributes:
        predictor: The classifier.
        metrics: What its run measured; empty where the bundle has nothing.
        card: The model card; empty where the bundle has none.
        screen: Shows notes and progress.
        highlights: Whether to say which words each answer hangs on.
        threshold: A label and the probability from which it is given; None for the classifier's own way.
    """

    predictor: Predictor
    metrics: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    screen: Screen
    highlights: bool = True
    threshold: tuple[str, float] | None = None

    @classmethod
    def of(cls, predictor: Predictor, path: Path, screen: Screen, *, highlights: bool) -> Trial:
        """Return a trial of the classifier that was loaded from ``path``."""
        folder = find_bundle(path)
        measured, card = folder / "metrics.json", folder / "README.md"
        return cls(
            predictor=predictor,
            metrics=read_json(measured, BundleError) if measured.is_file() else {},
            card=card.read_text(encoding="utf-8") if card.is_file() else "",
            screen=screen,
            highlights=highlights,
        )

    def greet(self) -> None:
        """Say what this is."""
        self.screen.say(f"{', '.join(self.predictor.labels)}; type or paste a text, :help for more, :quit to leave")

    def answer(self, text: str) -> None:
        """Print what the classifier says of ``text``, and why."""
        predictor = self.predictor
        (answer,) = predictor.predict([text])
        words = explain(predictor, text, label=answer.label) if self.highlights else None
        marked(text, words or ())
        show.answered(answer, long=predictor.bundle.tokenizer.long.kind)
        for line in (*self._reasons(answer), *self._decided(answer)):
            show.line(f"  {line}")
        if words is not None:
            show.line(f"  {spoken(words, answer.label)}")
        show.line("")

    def _reasons(self, answer: Prediction) -> list[str]:
        """Why there is no answer, or no good one, in plain words."""
        bundle, said = self.predictor.bundle, []
        if answer.abstained and isinstance(bundle.rules, Rules) and (rule := bundle.rules.abstain):
            said.append(
                f"why: {answer.label} has {100 * answer.confidence:.1f} %, and only above {100 * rule.above:.1f} % are "
                f"at most {100 * rule.error:g} % of all texts answered wrongly"
            )
        if answer.truncated:
            most = f"it reads {bundle.tokenizer.max_tokens:,} tokens at once"
            said.append(f"why: {most}; train with a larger --max-tokens, or with --long windows, to read all of it")
        return said

    def _decided(self, answer: Prediction) -> list[str]:
        if self.threshold is None:
            return []
        label, least = self.threshold
        return [f"with {label} from {100 * least:g} %: {self._at_threshold(answer)}"]

    def _at_threshold(self, answer: Prediction) -> str:
        """What the text is called with the threshold that was set."""
        assert self.threshold is not None
        label, least = self.threshold
        if answer.probabilities[label] >= least:
            return label
        others = [name for name in self.predictor.labels if name != label]
        return others[0] if len(others) == 1 else f"not {label}"

    def set_threshold(self, given: Sequence[str]) -> None:
        """Give a label from another probability on, and print what that would have done to known rows."""
        if list(given) == ["off"]:
            self.threshold = None
            show.line("labels are decided as the classifier does")
            return
        label = given[1] if len(given) > 1 else usual_label(self.metrics)
        self.threshold = self._label(label), _share(given)
        label, least = self.threshold
        show.line(f"{label} from {100 * least:g} %")
        lines = threshold_lines(self.metrics, label, least)
        for line in lines or ["its run kept no counts for thresholds: what this does to known rows cannot be told"]:
            show.line(f"  {line}")

    def _label(self, label: str | None) -> str:
        if label in self.predictor.labels:
            return label
        named = ", ".join(self.predictor.labels)
        raise ConfigError(f"expected one of the labels: {named}", hint=":threshold 0.9 LABEL")

    def classify_file(self, given: Sequence[str]) -> None:
        """Write the answers to a file's texts beside it, and print how many got which label."""
        if not 1 <= len(given) <= 2:
            raise ConfigError("expected a file", hint=":file messages.csv, or :file messages.csv answers.jsonl")
        file = Path(given[0]).expanduser()
        out = Path(given[1]).expanduser() if len(given) > 1 else file.with_name(f"{file.stem}-predicted.jsonl")
        counts: Counter[str] = Counter()
        chunks = partial(chunks_of, (), file, None)
        to_file(chunks, lambda: self.predictor, out, self.screen, Asked(), see=partial(self._count, counts))
        total = counts.pop("texts", 0)
        rows = [(name, f"{count:,}", f"{100 * count / total:.1f} %") for name, count in counts.most_common()]
        show.listing(("of the texts", "", ""), rows)
        show.line(f"{total:,} answers in {out}")

    def _count(self, counts: Counter[str], answer: Prediction) -> None:
        counts["texts"] += 1
        counts.update(answer.given)
        counts["(too uncertain to answer)"] += bool(answer.abstained)
        counts["(only a part was read)"] += answer.truncated
        if self.threshold is not None:
            label, least = self.threshold
            counts[f"({label} from {100 * least:g} %)"] += answer.probabilities[label] >= least

    def report(self) -> None:
        """Print what the run measured."""
        if "test" not in self.metrics:
            raise BundleError("the bundle holds no metrics of its run")
        show.evaluation(self.metrics)
        verdict = self.metrics.get("verdict", {}).get("text")
        for line in (verdict, calibration_line(self.metrics), reading_line(self.metrics)):
            if line:
                show.line(line)

    def show_card(self) -> None:
        """Print the model card."""
        if not self.card:
            raise BundleError("the bundle holds no model card")
        markdown(self.card)


def _share(given: Sequence[str]) -> float:
    try:
        share = float(given[0])
    except (IndexError, ValueError):
        share = -1.0
    if not 0 <= share <= 1:
        raise ConfigError("expected a probability from 0 to 1", hint=":threshold 0.9, or :threshold off")
    return share


@dataclass(frozen=True, slots=True)
class _Command:
    usage: str
    told: str
    run: Callable[[Trial, Sequence[str]], None]


_COMMANDS: Mapping[str, _Command] = {
    "threshold": _Command(
        ":threshold 0.9 [LABEL]",
        "give a label from this probability on, and what that does to known rows; off: as the classifier does",
        Trial.set_threshold,
    ),
    "file": _Command(
        ":file FILE [ANSWERS]", "answer all texts of a file; FILE-predicted.jsonl gets the answers", Trial.classify_file
    ),
    "report": _Command(":report", "what the run measured", lambda trial, _: trial.report()),
    "card": _Command(":card", "the model card", lambda trial, _: trial.show_card()),
}
_OF_THE_LOOP = {
    ":paste": f"a text of several lines, up to a line with a single {_END_OF_PASTE!r}",
    ":help": "this list",
    ":quit": "leave; so does Ctrl-D",
}


def _help() -> None:
    told = [(command.usage, command.told) for command in _COMMANDS.values()]
    show.listing(("", ""), [*told, *_OF_THE_LOOP.items()])


def try_out(trial: Trial, prompt: Prompt) -> None:
    """Answer and obey until somebody quits or the input ends; what cannot be done is said, and the sitting goes on."""
    while (typed := prompt.read()) is not None:
        command = _COMMAND.fullmatch(typed.strip())
        if command is not None and command[1] in ("quit", "q"):
            return
        try:
            if command is None:
                _answer(trial, typed)
            elif command[1] == "paste":
                _answer(trial, prompt.paste())
            else:
                _obey(trial, command[1], command[2] or "")
        except (TailtuneError, OSError) as error:
            refused = error if isinstance(error, TailtuneError) else None
            show_error(refused.message if refused else str(error), refused.hint if refused else None)


def _answer(trial: Trial, typed: str) -> None:
    if typed.strip():
        for record in _records(trial, typed):
            trial.answer(record.text)


def _records(trial: Trial, typed: str) -> list[Record]:
    """The text typed; where texts have several columns, those of JSON objects with them."""
    template = trial.predictor.bundle.tokenizer.template
    if template is not None and template.joins:
        import io

        from tailtune.cli.lines import records

        stream = io.BytesIO(typed.encode("utf-8", "surrogateescape"))
        return [record for chunk in records(stream, "what was typed", template=template) for record in chunk]
    return [Record(line=1, text=require_text(typed, "what was typed"))]


def _obey(trial: Trial, name: str, rest: str) -> None:
    if name == "help":
        _help()
        return
    if name not in _COMMANDS:
        raise ConfigError(f":{name} is not known", hint=":help lists what is; :paste takes texts that begin like this")
    try:
        given = shlex.split(rest)
    except ValueError as error:
        raise ConfigError(f":{name}: {str(error).lower()}") from error
    _COMMANDS[name].run(trial, given)


def answer_lines(trial: Trial) -> None:
    """Answer each text of stdin: nothing there is a command."""
    for chunk in chunks_of(["-"], None, None, trial.predictor.bundle.tokenizer.template):
        for record in chunk:
            trial.answer(record.text)
        sys.stdout.flush()
