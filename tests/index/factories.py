"""Records for tests of the index, each field with a sensible value that a test may override."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tubelet.records import Attributes, Hit, IndexedObject, ModelNames, Moment, Motion, PathPoint, Video

Find = Callable[..., list[Hit]]
"""A search by a sentence, with the options of `search_moments`."""

TEXT_DIMENSIONS = 8
MODELS = ModelNames(tracker="motion@1", captioner="attributes@1", embedder="test@1")


def make_video(video_id: str = "v1", **fields: Any) -> Video:
    """A 60 s video of 1280 x 720."""
    values: dict[str, Any] = {
        "uri": f"/videos/{video_id}.mp4",
        "identity": f"blake2b:{video_id}",
        "duration_s": 60.0,
        "frame_rate": 29.97,
        "nominal_frame_rate": 30.0,
        "num_frames": 1798,
        "width": 1280,
        "height": 720,
        "rotation_deg": 0,
        "codec": "h264",
        "variable_frame_rate": False,
    }
    return Video(video_id=video_id, **values | fields)


def make_motion(**fields: Any) -> Motion:
    """Moving to the right, straight on; a turn has the angle that it usually has."""
    values: dict[str, Any] = {
        "heading": "right",
        "heading_deg": 0.0,
        "speed": 1.0,
        "turn": "none",
        "turn_deg": {"left": 90.0, "right": -90.0, "u": 180.0, "none": 0.0}[fields.get("turn", "none")],
        "stopped": False,
        "approaching": False,
        "leaving": False,
    }
    return Motion(**values | fields)


def make_attributes(*colours: str, **fields: Any) -> Attributes:
    """An object of these colours (grey when none is given), the first with most of it."""
    names = colours or ("grey",)
    shares = (0.75, 0.25)[: len(names)]
    return Attributes(**{"colours": names, "colour_shares": shares, "size": "medium"} | fields)


def make_path(
    start_s: float = 1.0, end_s: float = 4.0, *, x: float = 100, y: float = 200
) -> tuple[PathPoint, ...]:
    """A 50 x 30 box at (x, y) that moves 10 px to the right at each of five steps."""
    return tuple(
        PathPoint(float(t), x + 10 * step, y, x + 50 + 10 * step, y + 30)
        for step, t in enumerate(np.linspace(start_s, end_s, 5))
    )


def make_vector(seed: int, dimensions: int = TEXT_DIMENSIONS) -> tuple[float, ...]:
    """A unit vector; one seed always gives the same."""
    vector = np.random.default_rng(seed).normal(size=dimensions)
    return tuple(np.float32(vector / np.linalg.norm(vector)).tolist())


def make_moment(number: int = 0, video: Video | None = None, **fields: Any) -> Moment:
    """A moment of object `o<number>`, of which it is the only one unless ids are given."""
    video = video or make_video()
    start_s, end_s = fields.pop("start_s", 1.0), fields.pop("end_s", 4.0)
    values: dict[str, Any] = {
        "moment_id": f"{video.video_id}-m{number}",
        "object_id": f"{video.video_id}-o{number}",
        "video_id": video.video_id,
        "uri": video.uri,
        "start_s": start_s,
        "end_s": end_s,
        "caption": "A grey object moves to the right.",
        "attributes": make_attributes(),
        "motion": make_motion(),
        "path": make_path(start_s, end_s),
        "mean_area": 1500.0,
        "score": 0.9,
        "thumbnail": b"\xff\xd8jpeg",
        "text_vector": make_vector(number),
    }
    return Moment(**values | fields)


def make_object(moments: Sequence[Moment]) -> IndexedObject:
    """The object that these moments belong to."""
    first = moments[0]
    return IndexedObject(
        object_id=first.object_id,
        video_id=first.video_id,
        uri=first.uri,
        start_s=min(moment.start_s for moment in moments),
        end_s=max(moment.end_s for moment in moments),
        attributes=first.attributes,
        motion=first.motion,
        path=tuple(point for moment in moments for point in moment.path),
        score=first.score,
        thumbnail=first.thumbnail,
    )


def group_objects(moments: Sequence[Moment]) -> list[IndexedObject]:
    """One object for each object id among the moments."""
    ids = dict.fromkeys(moment.object_id for moment in moments)
    return [make_object([moment for moment in moments if moment.object_id == each]) for each in ids]
