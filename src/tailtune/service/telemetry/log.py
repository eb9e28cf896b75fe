"""A line on stderr for each request and event, as JSON or for people.

Lines are written by a thread of their own, so that a slow terminal or a full pipe never holds up an answer; a bounded
number of them waits, and what does not fit is counted and told of. No client address is written: it says nothing of
the service, and is a person's. No text is written unless asked for.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Literal

from tailtune.service.telemetry.watch import Exchange

Style = Literal["json", "text", "off"]

# Lines that wait to be written; at the most requests there can be they are some seconds.
_WAITING = 10_000
# How long the last lines are waited for at the end.
_PATIENCE_SECONDS = 2.0
# Of a request, in order, for people; the rest is for programs.
_SHOWN = (
    "method",
    "route",
    "status",
    "seconds",
    "texts",
    "tokens",
    "model",
    "refused",
    "key",
    "request_id",
    "error_id",
)

log = logging.getLogger("tailtune.service")


def event(
    name: str, message: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object
) -> None:
    """Write down an event of the service.

    Args:
        name: One word, such as start, stop, reload.
        message: For people.
        level: Of ``logging``.
        error: What led to it, without values.
        fields: For programs.
    """
    log.log(level, "%s", message, exc_info=error, extra={"fields": {"event": name, **fields}})


class RequestLog:
    """Writes a line for each request.

    Args:
        texts: Whether their texts are written too.
    """

    def __init__(self, *, texts: bool = False) -> None:
        self._texts = texts

    def ended(self, exchange: Exchange) -> None:
        """Write down a request that is over; one that only looked after the service is not worth a line."""
        if exchange.probe or not log.isEnabledFor(logging.INFO):
            return
        fields = request_fields(exchange)
        if self._texts:
            fields["contents"] = [text for _, texts in exchange.answered for text in texts]
        level = logging.ERROR if exchange.status == 500 else logging.INFO
        # Made by hand: looking for the line that logs, in the stack, would take half the time of it all.
        more = {"fields": {"event": "request", **fields}}
        log.handle(log.makeRecord(log.name, level, __file__, 0, "request", (), None, extra=more))


def request_fields(exchange: Exchange) -> dict[str, Any]:
    """Return what is told of a request, without what there is nothing to tell of."""
    answers = [each for each, _ in exchange.answered]
    fields = {
        "request_id": exchange.request_id,
        "trace_id": exchange.trace_id or None,
        "key": exchange.key or None,
        "method": exchange.method,
        "route": exchange.route,
        "protocol": exchange.protocol,
        "status": exchange.status,
        "seconds": round(exchange.seconds, 6),
        "refused": exchange.refused,
        "error_id": exchange.error_id,
        "cancelled": True if exchange.status is None else None,
    }
    if answers:
        fields |= {
            "queue_seconds": round(sum(each.timing.queue for each in answers), 6),
            "inference_seconds": round(sum(each.timing.inference for each in answers), 6),
            "texts": sum(len(each.predictions) for each in answers),
            "tokens": sum(each.tokens for each in answers),
            "model": answers[0].served.name,
            "digest": answers[0].served.digest,
        }
    return {name: value for name, value in fields.items() if value is not None}


def _told(record: logging.LogRecord) -> str:
    """What is told of a record, for people."""
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    if fields.get("event") != "request":
        return record.getMessage()
    return " ".join(f"{name}={fields[name]}" for name in _SHOWN if name in fields)


class _AsJson(logging.Formatter):
    """One object per record. A space stands behind each comma and colon, so that an address ends where it ends."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = dict(getattr(record, "fields", {}))
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": fields.pop("event", "note"),
            "logger": record.name,
        }
        message, _, below = record.getMessage().partition("\n")
        if line["event"] != "request":
            line["message"] = message
        if below := "\n".join(filter(None, [below, record.exc_info and self.formatException(record.exc_info)])):
            line["traceback"] = below
        return json.dumps({**line, **fields}, default=str)


class _AsText(logging.Formatter):
    """Time, level where it is more than a note, and what is told; what has several lines goes on below."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        lines = f"{_time(record)} {level}{_told(record)}".split("\n")
        lines += self.formatException(record.exc_info).split("\n") if record.exc_info else []
        # Moved in: what is told can never look like a line of its own.
        return "\n  ".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, in milliseconds, UTC."""
    at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Writer(logging.Handler):
    """Hands lines to a thread that writes them.

    Args:
        stream: Where to; unbuffered, for the lock of a buffer that nobody reads would hold up the end of the process.
        waiting: Lines that wait, at most.

    Attributes:
        lost: Lines that did not fit since it was last told.
    """

    def __init__(self, stream: BinaryIO, *, waiting: int = _WAITING) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(waiting)
        self._counting = threading.Lock()
        self.lost = 0
        # Of a stream that nobody reads the process must be able to end.
        self._thread = threading.Thread(target=self._write, name="tailtune-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put the line of a record into the queue; where it is full, count what is lost."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            with self._counting:
                self.lost += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with self._counting:
                lost, self.lost = self.lost, 0
            more = [line, *([f"lines lost, since nobody read fast enough: {lost}"] if lost else [])]
            with contextlib.suppress(OSError, ValueError):  # nobody is there to be told
                rest = memoryview("".join(f"{each}\n" for each in more).encode("utf-8", "backslashreplace"))
                while rest:
                    rest = rest[self._stream.write(rest) :]

    def close(self) -> None:
        """Wait for the last lines to be written, for a moment."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_PATIENCE_SECONDS)
            self._thread.join(_PATIENCE_SECONDS)
        super().close()


@contextlib.contextmanager
def logging_to(stream: BinaryIO, style: Style) -> Iterator[Callable[[], int]]:
    """Let everything that is logged in this process go to ``stream`` in ``style``; as before at the end.

    Ours from notes on, that of libraries from warnings on; ``off`` is ``text`` from warnings on for all.

    Args:
        stream: Where to, unbuffered.
        style: Of the lines.

    Yields:
        A function that returns how many lines were lost since that was last told.
    """
    writer = _Writer(stream)
    writer.setFormatter(_AsJson() if style == "json" else _AsText())
    root, own = logging.getLogger(), logging.getLogger("tailtune")
    before = root.level, own.level
    root.addHandler(writer)
    root.setLevel(logging.WARNING)
    own.setLevel(logging.WARNING if style == "off" else logging.INFO)
    try:
        yield lambda: writer.lost
    finally:
        root.removeHandler(writer)
        root.setLevel(before[0])
        own.setLevel(before[1])
        writer.close()
