"""Quotas of keys: their names, and reading them as `NAME=NUMBER`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tubelet.errors import SettingsError

QUOTAS: Mapping[str, str] = {
    "upload_gb": "GB uploaded a day",
    "videos": "videos submitted a day",
    "exports": "exports kept at once",
}
"""What a key may be held to. Days are those of UTC."""


def parse_quotas(words: Sequence[str]) -> dict[str, float]:
    """Quotas by name. Raises SettingsError for what is none.

    >>> parse_quotas(["upload_gb=0.5", "videos=1000"])
    {'upload_gb': 0.5, 'videos': 1000.0}
    """
    found: dict[str, float] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if name.strip() not in QUOTAS or not math.isfinite(number) or number < 0:
            raise SettingsError(
                f"{word[:80]!r} is no quota",
                expected="; ".join(f"{each}=NUMBER ({about})" for each, about in QUOTAS.items()),
                do="correct it",
            )
        found[name.strip()] = number
    return found
