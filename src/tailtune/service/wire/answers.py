"""What several protocols say of the same answers: raw scores, and that a text was not read whole."""

from __future__ import annotations

import math
import sys

from tailtune.predict import Prediction
from tailtune.service.classify import Answers, Service
from tailtune.service.refusals import Refused

# Stands for a probability of zero, so that its logarithm is a number: -708.
_TINY = sys.float_info.min
# What a text that is too long loses, by the bundle's rule for long texts.
_CUT = {"truncate-tail": "right", "truncate-head": "left"}


def scores(found: Prediction, *, raw: bool, several: bool) -> list[float]:
    """Return one score per category, in the order of the classifier's labels.

    Args:
        found: The answer.
        raw: Not the probabilities p but what gives them back: ln p under a softmax, of labels that a text can have
            several of ln(p / (1 - p)) under a sigmoid. Calibrated like the probabilities.
        several: Whether a text can have any number of labels.
    """
    shares = list(found.probabilities.values())
    if not raw:
        return shares
    return [_log(share) - _log(1.0 - share) if several else _log(share) for share in shares]


def _log(share: float) -> float:
    return math.log(max(share, _TINY))


def require_whole(answers: Answers, *, hint: str, param: str | None = None) -> None:
    """Refuse answers to texts that were not read whole.

    Args:
        answers: To all texts of a request.
        hint: How to have them cut, in the protocol's words.
        param: Field that asks for it.

    Raises:
        Refused: Of the first such text.
    """
    for place, found in enumerate(answers.predictions, start=1):
        if found.truncated:
            message = f"text {place} has {found.tokens_total} tokens, of which {found.tokens} are read; {hint}"
            raise Refused("invalid", message, param=param)


def require_side(answers: Answers, side: str | None, *, param: str) -> None:
    """Refuse answers to texts that lost another side than the one asked for.

    Args:
        answers: To all texts of a request.
        side: "left" or "right"; None for whichever the classifier was trained with.
        param: Field that asks for it.

    Raises:
        Refused: If a text was cut on the other side.
    """
    cut = _CUT.get(answers.served.predictor.bundle.tokenizer.long.kind)
    if side not in (None, cut) and any(found.truncated for found in answers.predictions):
        raise Refused("invalid", f"{param}: this classifier was trained on texts cut on the {cut}", param=param)


def require_ready(service: Service) -> None:
    """Refuse where new requests are not welcome.

    Raises:
        Refused: While the service starts or stops, or after it has failed.
    """
    require_alive(service)
    if not service.ready:
        raise Refused("unready", "the service is starting or stopping")


def require_alive(service: Service) -> None:
    """Refuse where nothing is computed any more.

    Raises:
        Refused: After the service has failed.
    """
    if not service.alive:
        raise Refused("unready", "the service has failed and must be started again")
