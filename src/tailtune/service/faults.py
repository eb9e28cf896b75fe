"""What the log says of an error: where it happened, never the values that were at hand, which may be people's texts."""

from __future__ import annotations

import logging
import secrets

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
    log.error("error %s", error_id, exc_info=error if with_values else without_values(error))
    return error_id


def internal(error_id: str) -> Refused:
    """Return the refusal for an error of ours: the log has the details, the client the number to ask for them."""
    return Refused("internal", "an error of the service; its log has the details", error_id=error_id)


def without_values(error: BaseException, *, chain: int = _CHAIN) -> BaseException:
    """Return an exception of the same name, from the same place, with nothing to say; so are those that led to it.

    Args:
        error: Stays as it is.
        chain: How many are told of.
    """
    kind = type(error)
    bare: BaseException = type(kind.__qualname__, (Exception,), {"__module__": kind.__module__})()
    bare.__traceback__ = error.__traceback__
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and chain > 1:
        bare.__cause__ = without_values(before, chain=chain - 1)
    return bare


class _WithoutValues(logging.Filter):
    """Takes the values out of what other libraries log: of exceptions only the place stays, of messages the first line.

    asyncio puts the repr of a failed task, and with it the message of its exception, below the first line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True, with ``record`` changed."""
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        if record.exc_info and record.exc_info[1] is not None:
            bare = without_values(record.exc_info[1])
            record.exc_info = (type(bare), bare, bare.__traceback__)
            record.exc_text = None
        return True


def quiet_others() -> None:
    """Take the values out of what uvicorn and asyncio log."""
    for name in _OTHERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _WithoutValues) for each in logger.filters):
            logger.addFilter(_WithoutValues())
