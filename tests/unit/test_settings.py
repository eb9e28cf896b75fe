"""Times as people write them."""

from __future__ import annotations

import pytest

from tailtune.errors import ConfigError
from tailtune.settings import parse_milliseconds, parse_seconds


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5 h", 5400), ("2MIN", 120)])
def test_times(text: str, seconds: float) -> None:
    """A number and a unit, a blank between them or not."""
    assert parse_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "10", "0m", "-5m", "soon", "1d"])
def test_no_times(text: str) -> None:
    """The hint speaks of the flag that was given and of no other."""
    with pytest.raises(ConfigError, match=r"--timeout .* is no time above 0") as refused:
        parse_seconds(text, "--timeout")
    assert refused.value.hint == "write it as 90s, 5m or 1h"


def test_short_times() -> None:
    """Milliseconds have units of their own."""
    assert [parse_milliseconds(text, "--budget") for text in ("5ms", "0.5 s", "800us")] == [5.0, 500.0, 0.8]
    with pytest.raises(ConfigError, match="--budget '5m' is no time above 0"):
        parse_milliseconds("5m", "--budget")
