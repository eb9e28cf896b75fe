"""What the log says of an error: where it happened, never the values that were at hand, which may be people's texts."""

from __future__ import annotations

import logging
import secrets
import traceback

from tailtune.service.refusals import Refused

log = logging.getLogger("tailtune.service")

# Loggers of others that write down exceptions.
_OTHERS = ("asyncio", "uvicorn.error")
# Exceptions told of those that led to one another.
_CHAIN = 5


def report(error: BaseException, *, with_values: bool) -> str:
    """Return the number under which the log now has ``error``.

    Args:
        error: Not expected.
        with_values: Whether messages may be told, which may repeat a text.
    """
    error_id = secrets.token_hex(8)
    if with_values:
        log.error("error %s", error_id, exc_info=error)
    else:
        log.error("error %s\n%s", error_id, described(error))
    return error_id


def internal(error_id: str) -> Refused:
    """Return the refusal for an error of ours: the log has the details, the client the number to ask for them."""
    return Refused("internal", "an error of the service; its log has the details", error_id=error_id)


def described(error: BaseException) -> str:
    """Return the traceback of ``error``, and of what led to it, with types in the place of messages."""
    parts: list[str] = []
    told: BaseException | None = error
    while told is not None and len(parts) < _CHAIN:
        parts.append("".join(traceback.format_tb(told.__traceback__)) + type(told).__qualname__)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
    return "\nled to\n".join(reversed(parts))


class WithoutValues(logging.Filter):
    """Takes the values out of what other libraries log: of exceptions only the place stays, of messages the first line.

    asyncio puts the repr of a failed task, and with it the message of its exception, below the first line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True, with ``record`` changed."""
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        if record.exc_info and record.exc_info[1] is not None:
            record.msg = f"{record.msg}\n{described(record.exc_info[1])}"
        record.exc_info = record.exc_text = None
        return True


def quiet_others() -> None:
    """Take the values out of what uvicorn and asyncio log."""
    for name in _OTHERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, WithoutValues) for each in logger.filters):
            logger.addFilter(WithoutValues())
