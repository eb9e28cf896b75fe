"""What answers together: the language model's part, those beside it and their weights, while a choice is being made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tailtune.errors import ConfigError
from tailtune.features.store import Features, Indices
from tailtune.methods.auto import Fitted
from tailtune.methods.blend import Blend, Doubles
from tailtune.methods.entrants import Entrant, Price
from tailtune.methods.finder import Found
from tailtune.methods.ladder import HeldOutRows, Judged, weighed
from tailtune.methods.probe import Rows
from tailtune.methods.scan import Limits
from tailtune.methods.scorers import NoScorer, Scorer, score_features
from tailtune.methods.trained import Trained

# The language model's own part of a mix.
OWN = "language-model"
# Held-out rows for weights to be looked for at all; the rest is left to the standard error.
FEWEST_MIXED = 100


class Mix(NamedTuple):
    """Weights by name, OWN among them where the language model has a part."""

    weights: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        """What has a part."""
        return tuple(name for name, weight in self.weights.items() if weight > 0)


ALONE = Mix({OWN: 1.0})


@dataclass(kw_only=True, slots=True)
class Own:
    """The language model's part: its scorer, the features that it reads, and how it was trained if it was.

    Attributes:
        scorer: Fitted on the training rows.
        features: Of all texts.
        title: For people.
        trained: None for a probe.
        curves: Of what was trained, won or lost.
        rate: How its learning rate was found; None where it was given.
        rates: Settings of the training that are not those of the run.
    """

    scorer: Scorer
    features: Features
    title: str
    trained: Trained | None = None
    curves: dict[str, Any] = field(default_factory=dict)
    rate: Found | None = None
    rates: dict[str, Any] = field(default_factory=dict)

    def scores(self, texts: Indices) -> Doubles:
        """Return [texts, C] scores."""
        return score_features(self.scorer, self.features, texts).astype(np.float64)


@dataclass(kw_only=True, slots=True)
class Party:
    """All that may answer, and what stands.

    Attributes:
        own: The language model's part.
        others: Those beside it, by the names that they go by when they are first judged.
        rows: What may be seen.
        limits: What a bundle may cost.
        price: What the language model costs of that.
        mix: What stands.
        choices: For metrics.json.
        reasons: Why it stands, in words.
    """

    own: Own
    others: Sequence[Entrant]
    rows: Rows
    limits: Limits
    price: Price
    mix: Mix = ALONE
    choices: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def entrant(self, name: str) -> Entrant:
        """Return one of the others."""
        return next(entrant for entrant in self.others if entrant.name == name)

    def title(self, name: str) -> str:
        """Return what people call a part."""
        return self.own.title if name == OWN else self.entrant(name).title

    def forbidden(self, names: Sequence[str]) -> str:
        """Return why a bundle of these would break a limit, in words; empty where it keeps within them."""
        if self.limits.milliseconds is None and self.limits.bytes is None:
            return ""
        prices = [self.price if name == OWN else self.entrant(name).price() for name in names]
        milliseconds, size = sum(price.milliseconds for price in prices), sum(price.bytes for price in prices)
        if self.limits.allow(milliseconds, size):
            return ""
        return f"beyond the limits: {milliseconds:.1f} ms for one text and {size / 1e6:.0f} MB"

    def judged(self, mix: Mix, own: Own, rows: HeldOutRows) -> Judged:
        """Return what the validation rows say of a mix with ``own`` in it; alone it is calibrated, as it would be."""
        texts = self.rows.validation
        scores = [own.scores(texts) if name == OWN else self.entrant(name).scores(texts) for name in mix.names]
        if len(scores) == 1:
            return judged_alone(rows, scores[0])
        several = self.rows.labels.ndim == 2
        return rows.judge(weighed([mix.weights[name] for name in mix.names], scores, several=several))

    def fitted(self) -> Fitted:
        """Return what stands, as a classifier."""
        made = Fitted(
            scorer=self.own.scorer,
            choices=self.choices,
            curves=self.own.curves,
            reason="; ".join(self.reasons),
            trained=self.own.trained,
            rate=self.own.rate,
            rates=self.own.rates,
        )
        others = {entrant.name: entrant for entrant in self.others}
        return made if self.mix.names == (OWN,) else blended(made, self.mix.weights, others, self.rows)


def judged_alone(rows: HeldOutRows, scores: Doubles) -> Judged:
    """Return what rows say of one classifier: calibrated by other rows where there are enough, else as it is."""
    return rows.judge_mixed([scores]) if len(rows) >= FEWEST_MIXED else rows.judge(scores)


def held_out_rows(rows: Rows, texts: Indices, *, folded: bool) -> HeldOutRows:
    """Return some texts as rows that judge.

    Args:
        rows: Have their labels and groups.
        texts: Which.
        folded: Whether they were held out fold by fold.
    """
    return HeldOutRows(
        labels=rows.labels[texts],
        groups=rows.groups[texts],
        task=rows.task,
        kind="folds" if folded else "validation",
    )


def blended(fitted: Fitted, weights: Mapping[str, float], others: Mapping[str, Entrant], rows: Rows) -> Fitted:
    """Return the classifier that answers with a weighted sum.

    Args:
        fitted: The language model's part.
        weights: By name, OWN for that part; those at 0 are left out.
        others: The others, by name.
        rows: Of them all.
    """
    members = [others[name] for name, weight in weights.items() if weight > 0 and name != OWN]
    own, everything = weights.get(OWN, 0.0), np.arange(len(rows.labels))
    made = dataclasses.replace(
        fitted,
        blend=Blend(
            weights=(own, *(weights[member.name] for member in members)),
            members=tuple(member.member() for member in members),
            several=rows.labels.ndim == 2,
        ),
        parts=tuple(member.name for member in members),
        member_scores=tuple(member.scores(everything) for member in members),
    )
    if own > 0:
        return made
    choices = [{**choice, "chosen": False} for choice in fitted.choices]
    choices.append({"candidate": " + ".join(made.parts), "chosen": True})
    return dataclasses.replace(made, scorer=NoScorer(rows.classes), reader=fitted.scorer, choices=choices)


def joined(
    fitted: Fitted,
    asked: Mapping[str, float | None],
    others: Mapping[str, Entrant],
    rows: Rows,
    features: Features,
) -> Fitted:
    """Return the classifier with the parts that were asked for.

    Args:
        fitted: The language model's part.
        asked: Name -> weight, None where the validation rows are to find all of them.
        others: The others, by name.
        rows: What may be seen.
        features: That ``fitted`` reads.

    Raises:
        ConfigError: If weights are to be found and there are too few rows for that.
    """
    weights = {name: weight or 0.0 for name, weight in asked.items()}
    if None in asked.values():
        texts = rows.validation
        weights = dict.fromkeys(asked, 1.0)
        if len(texts) >= FEWEST_MIXED:
            scores = [fitted.scores(features, texts) if name == OWN else others[name].scores(texts) for name in asked]
            weights = dict(zip(asked, held_out_rows(rows, texts, folded=False).weights(scores), strict=True))
        elif len(asked) > 1:
            said = f"--ship: {len(texts)} validation rows find no weights, {FEWEST_MIXED} wanted"
            raise ConfigError(said, hint="give them, such as language-model=0.6,char=0.4, or --ship best")
    told = " + ".join(f"{weight:.2f} {name}" for name, weight in weights.items() if weight > 0)
    made = fitted if tuple(weights) == (OWN,) else blended(fitted, weights, others, rows)
    return dataclasses.replace(made, reason=f"{fitted.reason}; shipped as asked for: {told}")
