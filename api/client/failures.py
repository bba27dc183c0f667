"""What a client raises: the service's problems, and that it does not answer."""

from __future__ import annotations

from typing import Any

from tubelet.errors import InputError, TransientError, TubeletError


class ApiError(TubeletError):
    """The service refused a call. `code` stays the same from release to release."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        self.status = status
        self.code = str(body.get("code", ""))
        self.request_id = str(body.get("request_id", ""))
        super().__init__(str(body.get("detail") or body.get("title") or f"The service answered {status}"))

    def __str__(self) -> str:
        return self.found


class RefusedError(ApiError, InputError):
    """The call was at fault."""


class ServiceAwayError(TransientError):
    """The service does not answer."""


def make_error(status: int, body: dict[str, Any]) -> ApiError:
    """The error of an answer that is none."""
    return (RefusedError if 400 <= status < 500 else ApiError)(status, body)
