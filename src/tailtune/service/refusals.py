"""Why a request gets no answer, whatever protocol it speaks: each view gives these its own shape."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "invalid",
    "empty",
    "malformed",
    "too_large",
    "slow",
    "media_type",
    "unauthorized",
    "forbidden",
    "misdirected",
    "not_found",
    "method",
    "overloaded",
    "timeout",
    "unready",
    "internal",
]

STATUS: dict[Kind, int] = {
    "invalid": 422,
    "empty": 400,
    "malformed": 400,
    "too_large": 413,
    "slow": 408,
    "media_type": 415,
    "unauthorized": 401,
    "forbidden": 403,
    "misdirected": 421,
    "not_found": 404,
    "method": 405,
    "overloaded": 429,
    "timeout": 503,
    "unready": 503,
    "internal": 500,
}


class Refused(Exception):
    """A request that is not answered.

    Args:
        kind: Why; it decides the status.
        message: One line for the client: what, where, got and expected. Never a part of a text.
        retry_after: Seconds until another try is worth it.
        error_id: Under which the log has the details, of internal errors.
        param: Name of the field that is wrong.
        challenge: How to bring a key, where one is missing.

    Attributes:
        status: The HTTP status.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry_after: float | None = None,
        error_id: str | None = None,
        param: str | None = None,
        challenge: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        self.error_id = error_id
        self.param = param
        self.challenge = challenge
        self.status = STATUS[kind]

    @property
    def told(self) -> str:
        """The message with the number of the error, for protocols that have no field of their own for it."""
        return self.message if self.error_id is None else f"{self.message} under {self.error_id}"
