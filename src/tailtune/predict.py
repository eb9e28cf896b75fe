"""From texts to the probability of each category. Thread-safe; never imports training."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tailtune.bundle import Bundle, read_bundle, write_bundle
from tailtune.errors import BundleError
from tailtune.features.backbone import Piece
from tailtune.label_levels import levels_of
from tailtune.label_rules import AnyRules, LabelRules
from tailtune.methods.members import BackboneMember, place
from tailtune.methods.scorers import NoScorer, Scorer, in_order, probabilities, score_tokens
from tailtune.models.int8 import Precision
from tailtune.progress import Progress, silent
from tailtune.rules import Rules
from tailtune.storage import writing_folder
from tailtune.text.tokenizer import Tokenizer, Tokens
from tailtune.text.windows import Windows

Probabilities = NDArray[np.float64]

# Texts of our own, saved with their probabilities in every bundle: a loaded bundle must give the same.
GOLDEN_TEXTS = (
    "Hey, are we still meeting for lunch at 12?",
    "Congratulations! You have won a prize of 1000 pounds. Call 0800 123456 now to claim.",
    "ok",
    "Größe 38 in Rot? 你好 明天见 👋🏽 — до встречи!",
)
# How far a reloaded classifier may be from the one in memory: the same products on the same machine.
SAME = 1e-5
# How far one may be on another machine, before its rules. Sums in another order move probabilities by up to 1e-6. In
# int8 they also make values that lie on the border of two integers fall on the other side, and processors without an
# int8 product of their own saturate: 0.02 was the most of 120 texts (docs/log.md).
ELSEWHERE: Mapping[Precision, float] = {"fp32": 1e-3, "int8": 0.05}


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """What the classifier says of one text.

    Attributes:
        label: The most probable category, or what the bundle's decision makes of the probabilities.
        probabilities: Category -> probability, in the order of the classifier's labels; they sum to 1.
        confidence: The probability of ``label``.
        tokens: Tokens of the text that the language model read, each counted once; a template's words are among them,
            and n-grams read all of it.
        tokens_total: Tokens of the whole text, with those words.
        truncated: Whether the text was longer than the classifier reads; its end, or its beginning, was not seen.
        windows: In how many windows it was read.
        rule: How the label was decided, in words; None for the most probable one.
        abstained: Whether ``label`` is too uncertain to count as an answer; None where no error rate is promised.
        labels: Categories that together hold the true one as often as the bundle promises, likeliest first.
        out_of_scope: Share of held-out texts that are less unlike the training texts; None where the bundle cannot
            tell. Of texts like those at most a share of a reaches 1 - a.
        rejected: Whether ``out_of_scope`` reaches what the caller allows; None where nothing was asked.
        thresholds: Label -> least probability with which it is given, above 1 for never; empty where a text has one.
        padded_to: Tokens that were read with the pads behind the text; None where the classifier reads texts alone.
        levels: Where labels are paths the likeliest label of each level with its probability, the coarsest first. A
            coarser label has the sum of those below it, so ``label`` need not lie below it.
    """

    label: str
    probabilities: Mapping[str, float]
    confidence: float
    tokens: int
    tokens_total: int
    truncated: bool
    windows: int
    rule: str | None = None
    abstained: bool | None = None
    labels: tuple[str, ...] = ()
    out_of_scope: float | None = None
    rejected: bool | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)
    padded_to: int | None = None
    levels: tuple[tuple[str, float], ...] = ()

    @property
    def given(self) -> tuple[str, ...]:
        """The labels that the text is given: the one, or any number where it can have several."""
        return (self.label,)

    def sure(self, least: float) -> tuple[str, float] | None:
        """Return the finest label that is at least so probable, with its probability, of labels that are paths.

        None where not even a coarsest one is, or labels are no paths.

        Args:
            least: Probability, in (0, 1].
        """
        return next((each for each in reversed(self.levels) if each[1] >= least), None)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps; what the classifier does not have leaves out its key."""
        value: dict[str, Any] = {
            "label": self.label,
            "probabilities": dict(self.probabilities),
            "confidence": self.confidence,
            **self._read(),
        }
        if self.rule is not None:
            value["rule"] = self.rule
        if self.abstained is not None:
            value |= {"abstained": self.abstained, "labels": list(self.labels)}
        if self.levels:
            value["levels"] = [{"label": label, "confidence": share} for label, share in self.levels]
        if self.out_of_scope is not None:
            value["out_of_scope"] = self.out_of_scope
        if self.rejected is not None:
            value["rejected"] = self.rejected
        return value

    def _read(self) -> dict[str, Any]:
        read = {name: getattr(self, name) for name in ("tokens", "tokens_total", "truncated", "windows")}
        return read if self.padded_to is None else {**read, "padded_to": self.padded_to}


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelsPrediction(Prediction):
    """What a classifier says of one text that can have any number of labels.

    ``labels`` are those whose probability reaches their threshold, likeliest first, perhaps none; ``label`` is the
    likeliest of all, given or not, and the probabilities are each label's own, so that they sum to nothing in
    particular.
    """

    @property
    def given(self) -> tuple[str, ...]:
        """The labels that the text is given, likeliest first, perhaps none."""
        return self.labels

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dumps."""
        return {
            "labels": list(self.labels),
            "probabilities": dict(self.probabilities),
            "thresholds": dict(self.thresholds),
            **self._read(),
        }


class Predictor:
    """A classifier ready to answer.

    Args:
        bundle: What to answer with.
        device: "auto", "cpu", "cuda" or "mps".
        threads: Processor threads, for the whole process; default as PyTorch has it.
    """

    def __init__(self, bundle: Bundle, *, device: str = "auto", threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        if bundle.blend is not None:
            members = tuple(member.on(device) for member in bundle.blend.members)
            bundle = replace(bundle, blend=replace(bundle.blend, members=members))
        self._bundle = bundle
        self._backbone = place(bundle.decoder, bundle.scorer, device=device, precision=bundle.precision)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "auto", threads: int | None = None) -> Predictor:
        """Return the classifier in a bundle or run folder, verified against its hashes.

        Raises:
            BundleError: If it is damaged or no bundle.
        """
        return cls(read_bundle(Path(path)), device=device, threads=threads)

    def with_scorer(self, scorer: Scorer) -> Predictor:
        """Return a classifier on the same backbone with another scorer, without rules or members of a blend.

        Args:
            scorer: Reads no deeper than this one, and knows the same classes.
        """
        other = copy.copy(self)
        other._bundle = replace(self._bundle, scorer=scorer, rules=Rules(), blend=None)
        return other

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories, in the order of the probabilities."""
        return self._bundle.labels.names

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda" or "mps"."""
        return self._backbone.device.type

    @property
    def bundle(self) -> Bundle:
        """What this answers with."""
        return self._bundle

    def predict(self, texts: Sequence[str], *, progress: Progress = silent) -> list[Prediction]:
        """Return one Prediction per text, in order.

        Args:
            texts: Any number, without the words that a template puts around them, columns joined as it joins them; a
                blank one is read as the model's begin-of-text token alone, or as those words.
            progress: Told tokens done.
        """
        tokens, windows = self._bundle.tokenizer.read(texts)
        rows, strange = self._answers(texts, tokens, windows, progress)
        rules, lengths = self._bundle.rules, (windows.lengths, windows.full_lengths, windows.counts)
        read = zip(rows, rules.decide(rows).tolist(), *(each.tolist() for each in lengths), strict=True)
        found: list[Prediction]
        if isinstance(rules, LabelRules):
            found = [_with_labels(rules, self.labels, *each) for each in read]
        else:
            found = self._with_levels([_with_label(rules, self.labels, *each) for each in read], rows)
            if strange is not None:
                shares = zip(found, strange.tolist(), strict=True)
                found = [replace(each, out_of_scope=share) for each, share in shares]
        tokenizer = self._bundle.tokenizer
        if tokenizer.pad is None:
            return found
        return [replace(each, padded_to=tokenizer.max_tokens) for each in found]

    def _with_levels(self, found: list[Prediction], rows: Probabilities) -> list[Prediction]:
        levels = levels_of(self._bundle.labels)
        if not levels:
            return found
        of_level = [(level.names, level.summed(rows)) for level in levels]
        best = [
            [(names[at], float(row[at])) for row, at in zip(sums, sums.argmax(1), strict=True)]
            for names, sums in of_level
        ]
        return [replace(each, levels=own) for each, own in zip(found, zip(*best, strict=True), strict=True)]

    def predict_proba(self, texts: Sequence[str], *, progress: Progress = silent) -> Probabilities:
        """Return [texts, C] probabilities, columns in the order of ``labels``; of one label per text, rows sum to 1."""
        return self._answers(texts, *self._bundle.tokenizer.read(texts), progress)[0]

    def strangeness(self, texts: Sequence[str], *, progress: Progress = silent) -> NDArray[np.float64]:
        """Return [texts] how unlike the training texts each is, as ``Scope`` measures it; higher is stranger.

        Raises:
            BundleError: If the bundle cannot tell.
        """
        scope = self._bundle.scope
        if scope is None:
            raise BundleError("this classifier cannot tell strange texts", hint="train it with --out-of-scope")
        pieces: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for piece in self._backbone.run(self._bundle.tokenizer.read(texts)[0], scope.wanted):
            progress("out of scope", len(pieces), 0, "batches")
            pieces.append((piece.batch.texts, scope.strangeness(piece.pooled[scope.depth])[:, None].astype(np.float32)))
        return in_order(pieces)[:, 0].astype(np.float64) if pieces else np.empty(0)

    def _answers(
        self, texts: Sequence[str], tokens: Tokens, windows: Windows, progress: Progress
    ) -> tuple[Probabilities, NDArray[np.float64] | None]:
        """[N, C] probabilities after the rules, and [N] how far out of scope where the bundle can tell."""
        if not len(tokens):
            return np.empty((0, len(self.labels))), None
        scores, strange = self._scores(texts, tokens, windows, progress)
        return self._bundle.rules.apply(probabilities(scores, several=self._bundle.labels.several)), strange

    def _scores(
        self, texts: Sequence[str], tokens: Tokens, windows: Windows, progress: Progress
    ) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64] | None]:
        """[N, C] class scores, of a blend those of all members, and [N] how far out of scope."""
        scores, strange = self._own(tokens, windows, progress)
        blend = self._bundle.blend
        return scores if blend is None else blend.scores(scores, texts, progress), strange

    def _own(
        self, tokens: Tokens, windows: Windows, progress: Progress
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """[N, C] class scores of the bundle's own scorer, and [N] how far out of scope where the bundle can tell."""
        bundle, scope = self._bundle, self._bundle.scope
        scorer = bundle.scorer if bundle.blend is None or bundle.blend.own else NoScorer(len(self.labels))
        if scope is None:
            return score_tokens(scorer, self._backbone, tokens, windows, progress=progress), None
        strange: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []

        def see(piece: Piece) -> None:
            found = scope.strangeness(piece.pooled[scope.depth])[:, None]
            strange.append((piece.batch.texts, found.astype(np.float32)))

        scores = score_tokens(scorer, self._backbone, tokens, windows, besides=scope.wanted, see=see, progress=progress)
        return scores, scope.unlike(in_order(strange)[:, 0].astype(np.float64))

    def save(
        self, path: str | Path, *, extra: Mapping[str, str] | None = None, about: Mapping[str, Any] | None = None
    ) -> None:
        """Write the bundle to ``path``, load it again and compare its answers before it gets its name.

        Args:
            path: Absent, or an empty folder.
            extra: Further text files, name -> content.
            about: What its record says besides where it came from.

        Raises:
            SetupError: If it cannot be written.
            BundleError: If the reloaded classifier answers differently.
        """
        texts = _golden_texts(self._bundle.tokenizer)
        rows = self.predict_proba(texts)
        golden = tuple((text, tuple(row.tolist())) for text, row in zip(texts, rows, strict=True))
        with writing_folder(Path(path)) as folder:
            told = {**self._bundle.about, **(about or {})}
            write_bundle(replace(self._bundle, golden=golden, about=told), folder, extra=extra or {})
            Predictor.load(folder, device=self.device).check_golden()

    def check_golden(self, *, elsewhere: bool = False) -> None:
        """Compare the answers to the golden texts with those saved.

        Args:
            elsewhere: Whether they may have been saved on another machine: they may differ by ELSEWHERE then, and by
                what the bundle's rules make of that. Rules are functions of the probabilities, so no label can change
                but next to a border.

        Raises:
            BundleError: If they differ by more than SAME.
        """
        golden, rules, several = self._bundle.golden, self._bundle.rules, self._bundle.labels.several
        saved, texts = np.array([row for _, row in golden]), [text for text, _ in golden]
        plain = probabilities(self._answers_of(texts), several=several)
        got, most = rules.apply(plain), np.full(len(golden), SAME)
        if elsewhere:
            most = _reach(rules, plain, ELSEWHERE[self._least_precise()], several=several)
        off = np.abs(saved - got).max(axis=1, initial=0.0)
        if not (off <= most).all():  # NaN too
            raise BundleError(f"the saved classifier answers differently: probabilities are off by {off.max():.2g}")

    def _answers_of(self, texts: Sequence[str]) -> NDArray[np.floating[Any]]:
        return self._scores(texts, *self._bundle.tokenizer.read(texts), silent)[0]

    def _least_precise(self) -> Precision:
        members = self._bundle.blend.members if self._bundle.blend else ()
        all_of_them = {self._bundle.precision} | {
            each.precision for each in members if isinstance(each, BackboneMember)
        }
        return "int8" if "int8" in all_of_them else "fp32"


def _golden_texts(tokenizer: Tokenizer) -> tuple[str, ...]:
    """What a bundle is tried on: one text more where long ones are read in windows, of several."""
    if tokenizer.long.kind != "windows":
        return GOLDEN_TEXTS
    long = GOLDEN_TEXTS[1]
    while tokenizer.read([long])[1].counts[0] < 2:
        long = f"{long} {long}"
    return (*GOLDEN_TEXTS, long)


def _reach(rules: AnyRules, plain: Probabilities, most: float, *, several: bool) -> Probabilities:
    """[N] how far the probabilities after the rules may be off where those before may be by ``most``.

    Steep calibration makes more of it: what comes out where each category in turn has that much more, or less.
    """
    corners = np.eye(plain.shape[1])
    corners = np.concatenate([corners, 1 - corners]) if several else corners
    got = rules.apply(plain)
    moved = [np.abs(rules.apply(plain + most * (corner - plain)) - got).max(axis=1) for corner in corners]
    return np.asarray(most + np.max(moved, axis=0))


def _with_label(rules: Rules, names: Sequence[str], row: Probabilities, decided: int, *read: int) -> Prediction:
    confidence = float(row[decided])
    return Prediction(
        label=names[decided],
        probabilities=dict(zip(names, row.tolist(), strict=True)),
        confidence=confidence,
        **_read(*read),
        rule=None if rules.decision is None else rules.decision.say(names),
        abstained=None if rules.abstain is None else confidence <= rules.abstain.above,
        labels=tuple(names[number] for number in rules.label_set(row)),
    )


def _with_labels(
    rules: LabelRules, names: Sequence[str], row: Probabilities, given: Sequence[bool], *read: int
) -> LabelsPrediction:
    order = np.argsort(-row, kind="stable").tolist()
    return LabelsPrediction(
        label=names[order[0]],
        probabilities=dict(zip(names, row.tolist(), strict=True)),
        confidence=float(row[order[0]]),
        **_read(*read),
        labels=tuple(names[number] for number in order if given[number]),
        thresholds=dict(zip(names, rules.thresholds, strict=True)),
    )


def _read(tokens: int, total: int, windows: int) -> dict[str, Any]:
    return {"tokens": tokens, "tokens_total": total, "truncated": tokens < total, "windows": windows}
