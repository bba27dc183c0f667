"""Writing small videos, writes that break off, and all rows as they lie in the tables."""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest import mock

import pytest

from tests.index.factories import MODELS, group_objects, make_moment
from tubelet.index.committing import Commit
from tubelet.index.store import IndexStore
from tubelet.records import Moment, Video


def put(store: IndexStore, video: Video, *numbers: int, fence: int = 0, **fields: Any) -> list[Moment]:
    """Write a video of these moments, an object each."""
    moments = [make_moment(number, video, **fields) for number in numbers]
    store.replace_video(video, group_objects(moments), moments, MODELS, fence=fence)
    return moments


def break_off(store: IndexStore, video: Video, *numbers: int, **fields: Any) -> None:
    """Write rows of a video as a process does that is killed before they come into force."""

    def die(commit: Commit, row: dict[str, Any]) -> None:
        commit.flipping = True  # a killed process cleans nothing up
        raise KeyboardInterrupt

    with mock.patch.object(Commit, "flip", die), pytest.raises(KeyboardInterrupt):
        put(store, video, *numbers, **fields)


def list_visible(store: IndexStore) -> list[str]:
    """Ids of all moments that a reader sees, in order."""
    return sorted(moment.moment_id for _, moments in store.iterate_objects() for moment in moments)


def count_stored(store: IndexStore) -> Counter[str]:
    """How many rows lie in the table of moments, by video, those out of sight included."""
    return Counter(store.moments.to_arrow()["video_id"].to_pylist())
