"""How often a key may call, and an address may guess keys: moving windows, in this process's memory."""

from __future__ import annotations

import math
import time

import limits

from tubelet.api.server.problems import Problem
from tubelet.errors import SettingsError

GUESSES = "20/minute"


class Rates:
    """Counts calls. Raises SettingsError for a rate that cannot be read."""

    def __init__(self, rate: str) -> None:
        try:
            self._rate = limits.parse(rate)
        except ValueError:
            raise SettingsError(
                f"api_rate is {rate!r}", expected="a rate such as 600/minute or 10/second", do="correct it"
            ) from None
        self._guesses = limits.parse(GUESSES)
        self._window = limits.strategies.MovingWindowRateLimiter(limits.storage.MemoryStorage())

    def take(self, key_id: str) -> None:
        """Count a call. Raises a Problem when the key has called too often."""
        if not self._window.hit(self._rate, "key", key_id):
            self._refuse(self._rate, "key", key_id, f"The key may call {self._rate}")

    def take_guess(self, address: str) -> None:
        """Count a wrong key. Raises a Problem when an address has shown too many of them."""
        if not self._window.hit(self._guesses, "guess", address):
            self._refuse(self._guesses, "guess", address, "Too many wrong keys came from this address")

    def _refuse(self, rate: limits.RateLimitItem, kind: str, name: str, found: str) -> None:
        reset_s = self._window.get_window_stats(rate, kind, name).reset_time
        wait_s = max(1, math.ceil(reset_s - time.time()))
        raise Problem(
            "too-many-requests",
            found,
            do=f"try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )
