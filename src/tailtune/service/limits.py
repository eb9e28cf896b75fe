"""How much one request may ask, and how much the service holds at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tailtune.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """All of them hold from the start; a request beyond one is refused, never cut.

    Attributes:
        body_bytes: Of a request's body, counted as it arrives.
        texts: Of one request.
        characters: Of one text.
        tokens: That the classifier reads for one request, highlights included.
        requests: Inside at once, waiting or being answered; further ones are told to come back.
        waiting_tokens: Inside at once. At the speed of this machine they are the longest wait.
        batch_tokens: Computed together, by one worker. On a core 1,024 reach nearly the rate of any number, in half a
            second.
        seconds: From a request's headers to its answer; as long, but at most ten, for the headers.

    Raises:
        ConfigError: If one allows nothing, or more is computed together than may wait.
    """

    body_bytes: int = 2_000_000
    texts: int = 256
    characters: int = 100_000
    tokens: int = 65_536
    requests: int = 512
    waiting_tokens: int = 16_384
    batch_tokens: int = 1_024
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')} {value}: expected above 0")
        if self.batch_tokens > self.waiting_tokens:
            message = f"--batch-tokens {self.batch_tokens}: more than the {self.waiting_tokens} that may wait"
            raise ConfigError(message, hint="raise --waiting-tokens, or lower --batch-tokens")

    @classmethod
    def of(cls, device: str, **given: float | None) -> Limits:
        """Return the limits for a device: others than the processor are fast only with many tokens at once.

        Args:
            device: "cpu", "cuda" or "mps".
            given: Limits by name; None for the default.
        """
        defaults = {} if device == "cpu" else {"batch_tokens": 16_384, "waiting_tokens": 262_144}
        known: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return cls(**{**defaults, **known})
