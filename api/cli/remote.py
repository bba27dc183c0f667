"""Commands that ask a service in place of the home: `--server URL`, or the setting `server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tubelet.records import Attributes, Box, Hit, Motion, SearchResult
from tubelet.settings import Settings

if TYPE_CHECKING:
    from tubelet.api.client import Client


def open_client(settings: Settings) -> Client:
    """A client of the service that the settings name, with its key."""
    from tubelet.api.client import Client

    return Client(settings.server, key=settings.server_key)


def json_to_result(page: dict[str, Any]) -> SearchResult:
    """A page of hits, to be shown as if it had been found here; it has no pictures."""
    return SearchResult(
        query=page["query"],
        parsed=page["parsed"],
        hits=tuple(map(_read_hit, page["hits"])),
        next_cursor=page.get("next_cursor", ""),
        notes=tuple(page.get("notes", ())),
    )


def _read_hit(told: dict[str, Any]) -> Hit:
    attributes: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told["attributes"].items()
    }
    plain = ("object_id", "moment_id", "video_id", "uri", "start_s", "end_s", "score", "caption")
    return Hit(
        **{name: told[name] for name in plain},
        attributes=Attributes(**attributes),
        motion=Motion(**told["motion"]),
        box=Box(*told["box"]),
        why=tuple(told["why"]),
        verified=told.get("verified"),
    )
