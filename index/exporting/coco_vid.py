"""`coco-vid`: COCO with videos, frames and one annotation for each object and frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tubelet.index.exporting.coco_masks import make_segmentation
from tubelet.index.exporting.format import name_video
from tubelet.index.exporting.json_values import box_to_xywh, dump, stream_array
from tubelet.index.exporting.timelines import Timelines
from tubelet.records import Video


def write_coco_vid(timelines: Timelines) -> Iterator[str]:
    """`videos`, `images` (frames in which an object is seen), `annotations` and `categories`.

    `frame_id` counts the video's own frames from 0; `instance_id` is one number for an object throughout.
    """
    first_image_ids, next_id = {}, 1
    for video in timelines.videos:
        first_image_ids[video.video_id] = next_id
        next_id += timelines.number_frames(video).length
    categories: dict[str, int] = {}
    yield f'{{"info": {dump({"description": "Object timelines"})}, "videos": '
    yield from stream_array(make_video(timelines, number, video) for number, video in _number(timelines))
    yield ', "images": '
    yield from stream_array(_make_images(timelines, first_image_ids))
    yield ', "annotations": '
    yield from stream_array(_make_annotations(timelines, first_image_ids, categories))
    yield ', "categories": '
    yield from stream_array({"id": number, "name": name} for name, number in categories.items())
    yield "}\n"


def make_video(timelines: Timelines, number: int, video: Video) -> dict[str, Any]:
    """The entry of a video; `frame_numbers` says what its frame numbers rest on (docs/exports.md)."""
    frames = timelines.number_frames(video)
    return {
        "id": number,
        "name": name_video(video),
        "video_id": video.video_id,
        "uri": video.uri,
        "width": video.width,
        "height": video.height,
        "num_frames": frames.length,
        "fps": frames.rate,
        "frame_numbers": frames.how,
    }


def find_frames(timelines: Timelines, video: Video) -> list[int]:
    """The frames of a video in which an object of the export has a box, rising."""
    found: set[int] = set()
    for timeline in timelines.read(video):
        steps = timelines.number_boxes(video, timeline.item, every_frame=False)
        found.update(step.frame for step in steps)
    return sorted(found)


def name_frame(video: Video, frame: int) -> str:
    """The picture of a frame, as an extractor that counts from 0 would name it."""
    return f"{name_video(video)}/{frame:06d}.jpg"


def _number(timelines: Timelines) -> Iterator[tuple[int, Video]]:
    return enumerate(timelines.videos, 1)


def _make_images(timelines: Timelines, first_image_ids: dict[str, int]) -> Iterator[dict[str, Any]]:
    for number, video in _number(timelines):
        for frame in find_frames(timelines, video):
            yield {
                "id": first_image_ids[video.video_id] + frame,
                "video_id": number,
                "frame_id": frame,
                "file_name": name_frame(video, frame),
                "width": video.width,
                "height": video.height,
            }


def _make_annotations(
    timelines: Timelines, first_image_ids: dict[str, int], categories: dict[str, int]
) -> Iterator[dict[str, Any]]:
    annotation_id = instance_id = 0
    for number, video in _number(timelines):
        for timeline, masks in timelines.read_with_masks(video):
            instance_id += 1
            category_id = categories.setdefault(timeline.name, len(categories) + 1)
            for step in timelines.number_boxes(video, timeline.item, every_frame=False):
                annotation_id += 1
                yield {
                    "id": annotation_id,
                    "image_id": first_image_ids[video.video_id] + step.frame,
                    "video_id": number,
                    "category_id": category_id,
                    "instance_id": instance_id,
                    "object_id": timeline.item.object_id,
                    "bbox": box_to_xywh(step.box),
                    "iscrowd": 0,
                    "score": round(timeline.item.score, 4),
                    "measured": step.measured,
                    **make_segmentation(timelines, video, step.box, step.time_s, masks),
                }
