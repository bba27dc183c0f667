"""What settings are checked for."""

from __future__ import annotations

from collections.abc import Iterable

from tubelet.errors import SettingsError


def check_shares(settings: object, names: Iterable[str]) -> None:
    """Raise SettingsError where one of these fields is no share, 0 to 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise SettingsError(f"{name} is {value}", expected="0 to 1")
