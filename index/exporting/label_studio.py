"""`label-studio`: tasks with predictions of the video object tracking template, a box in every frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tubelet.index.exporting.frames import TrackBox
from tubelet.index.exporting.json_values import dump, stream_array
from tubelet.index.exporting.timelines import Timeline, Timelines
from tubelet.records import Video

FROM_NAME, TO_NAME = "box", "video"
"""The names of the controls in Label Studio's own template for video object tracking."""


def write_label_studio(timelines: Timelines) -> Iterator[str]:
    """A list of tasks, one a video, to import as it is.

    Boxes are percentages of the frame and frames count from 1. There is a box for every frame in which the
    object is seen; `enabled` is false on the last one before a gap and at the end.
    """
    separator = "["
    for video in timelines.videos:
        data = {"video": video.uri, "video_id": video.video_id}
        yield f'{separator}\n{{"data": {dump(data)}, "predictions": [{{"model_version": "tubelet", "result": '
        yield from stream_array(
            _make_region(timelines, video, timeline) for timeline in timelines.read(video)
        )
        yield "}]}"
        separator = ","
    yield "[]\n" if separator == "[" else "\n]\n"


def _make_region(timelines: Timelines, video: Video, timeline: Timeline) -> dict[str, Any]:
    frames = timelines.number_frames(video)
    steps = timelines.number_boxes(video, timeline.item, every_frame=True)
    return {
        "id": timeline.item.object_id,
        "type": "videorectangle",
        "from_name": FROM_NAME,
        "to_name": TO_NAME,
        "origin": "prediction",
        "score": round(timeline.item.score, 4),
        "meta": {"text": [moment.caption for moment in timeline.moments]},
        "value": {
            "framesCount": frames.length,
            "duration": round(video.duration_s, 3),
            "labels": [timeline.name],
            "sequence": [_make_step(video, step) for step in steps],
        },
    }


def _make_step(video: Video, step: TrackBox) -> dict[str, Any]:
    return {
        "frame": step.frame + 1,
        "enabled": not step.ends,
        "rotation": 0,
        "x": _percent(step.box.x0, video.width),
        "y": _percent(step.box.y0, video.height),
        "width": _percent(step.box.width, video.width),
        "height": _percent(step.box.height, video.height),
        "time": round(step.time_s, 3),
    }


def _percent(length_px: float, whole_px: int) -> float:
    return round(100 * length_px / whole_px, 4)
