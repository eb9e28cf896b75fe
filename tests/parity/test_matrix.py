"""docs/models.md lists what the parity tests run over, no more and no less."""

from __future__ import annotations

from support.matrix import PAGE, rendered


def test_the_matrix_is_that_of_the_tests() -> None:
    """Made anew it is the same: ``PYTHONPATH=tests:src python tests/support/matrix.py`` writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert rendered(page) == page
