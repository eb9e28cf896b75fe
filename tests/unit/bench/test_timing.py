"""A sample is spread evenly, and what is timed still answers."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st

from tailtune.bench.timing import spread, timed


@given(total=st.integers(0, 2000), count=st.integers(1, 300))
def test_places_are_spread_evenly(total: int, count: int) -> None:
    """As many as wanted or as there are, ascending, each once; gaps differ by one, and both ends lie in half a gap."""
    places = spread(total, count)
    assert len(places) == min(total, count)
    assert all(0 <= place < total for place in places)
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert all(gap >= 1 for gap in gaps)
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
    if places:
        half = total / len(places) / 2
        assert places[0] <= half
        assert total - places[-1] <= half + 1


def test_a_timed_call_answers() -> None:
    """Seconds by a clock that does not go back, and the result."""
    started = time.perf_counter()
    seconds, result = timed(lambda: sum(range(100_000)))
    assert 0 < seconds <= time.perf_counter() - started
    assert result == 4_999_950_000
