"""What the checker of the document must be told: lines of JSON are sent as they stand."""

from __future__ import annotations

import schemathesis


@schemathesis.serializer("application/jsonlines")
def lines(context: object, value: object) -> bytes:
    """Return the body."""
    return value if isinstance(value, bytes) else str(value).encode()
