"""Finds what a request names in the index of its tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tubelet.api.server.problems import Problem, not_found
from tubelet.api.server.tenants import Tenant

if TYPE_CHECKING:
    from tubelet.index.store import IndexStore
    from tubelet.records import IndexedObject, Video

T = TypeVar("T")


def find_video(tenant: Tenant, video_id: str) -> Video:
    """A video. Raises a Problem where there is none."""
    missing = not_found("video", video_id, "/v1/videos")
    return _find(tenant, lambda store: store.get_video(video_id), missing)


def find_object(tenant: Tenant, object_id: str) -> IndexedObject:
    """An object. Raises a Problem where there is none."""
    missing = not_found("object", object_id, "a search")
    return _find(tenant, lambda store: store.get_object(object_id), missing)


def _find(tenant: Tenant, look: Callable[[IndexStore], T | None], missing: Problem) -> T:
    if tenant.find_index() is not None:
        with tenant.open_index() as store:
            found = look(store)
        if found is not None:
            return found
    raise missing
