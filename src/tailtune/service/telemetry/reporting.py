"""What one process reports of its requests beside the metrics: the log, and traces where they are wanted."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import BinaryIO

from tailtune.service.telemetry.log import RequestLog, Style, event, logging_to
from tailtune.service.telemetry.traces import Traces, traces_wanted
from tailtune.service.telemetry.watch import Exchange


@contextlib.contextmanager
def reporting(stream: BinaryIO, style: Style, *, texts: bool = False) -> Iterator[list[Callable[[Exchange], None]]]:
    """Report what happens until the end of the block.

    Args:
        stream: Where log lines go, unbuffered.
        style: Of the lines.
        texts: Whether the log holds texts.

    Yields:
        What is to be told of each request that is over; the log comes last, since it names the trace.
    """
    with logging_to(stream, style):
        traces = _traces()
        try:
            yield [*([] if traces is None else [traces.ended]), RequestLog(texts=texts).ended]
        finally:
            if traces is not None:
                traces.stop()


def _traces() -> Traces | None:
    """Spans where the environment wants them. It may be that of many programs: without the libraries a line says so."""
    if not traces_wanted():
        return None
    try:
        return Traces()
    except ModuleNotFoundError as error:
        message = f"no traces: they need {error.name}; pip install 'tailtune[otel]'"
        event("no_traces", message, level=logging.WARNING)
        return None
