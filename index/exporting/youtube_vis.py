"""`youtube-vis`: one annotation an object, with a list of masks that goes along with the video's frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tubelet.index.exporting.coco_masks import make_segmentation
from tubelet.index.exporting.coco_vid import find_frames, make_video, name_frame
from tubelet.index.exporting.json_values import box_to_xywh, dump, stream_array
from tubelet.index.exporting.timelines import Timelines


def write_youtube_vis(timelines: Timelines) -> Iterator[str]:
    """`videos` with the frames in which an object is seen, `annotations` and `categories`.

    The lists `segmentations`, `bboxes` and `areas` have an entry for each of the video's `file_names`, null
    where the object is not seen. `mask_sources` says of each mask whether it is a mask or made from a box.
    """
    categories: dict[str, int] = {}
    yield f'{{"info": {dump({"description": "Object timelines"})}, "videos": '
    yield from stream_array(_make_videos(timelines))
    yield ', "annotations": '
    yield from stream_array(_make_annotations(timelines, categories))
    yield ', "categories": '
    yield from stream_array({"id": number, "name": name} for name, number in categories.items())
    yield "}\n"


def _make_videos(timelines: Timelines) -> Iterator[dict[str, Any]]:
    for number, video in enumerate(timelines.videos, 1):
        frames = find_frames(timelines, video)
        yield make_video(timelines, number, video) | {
            "length": len(frames),
            "frame_ids": frames,
            "file_names": [name_frame(video, frame) for frame in frames],
        }


def _make_annotations(timelines: Timelines, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
    annotation_id = 0
    for number, video in enumerate(timelines.videos, 1):
        places = {frame: place for place, frame in enumerate(find_frames(timelines, video))}
        for timeline, masks in timelines.read_with_masks(video):
            annotation_id += 1
            lists: dict[str, list[Any]] = {
                name: [None] * len(places) for name in ("segmentations", "bboxes", "areas", "mask_sources")
            }
            for step in timelines.number_boxes(video, timeline.item, every_frame=False):
                place = places[step.frame]
                made = make_segmentation(timelines, video, step.box, step.time_s, masks)
                lists["segmentations"][place] = made["segmentation"]
                lists["areas"][place] = made["area"]
                lists["mask_sources"][place] = made["mask_source"]
                lists["bboxes"][place] = box_to_xywh(step.box)
            yield {
                "id": annotation_id,
                "video_id": number,
                "category_id": categories.setdefault(timeline.name, len(categories) + 1),
                "object_id": timeline.item.object_id,
                "width": video.width,
                "height": video.height,
                "length": len(places),
                "iscrowd": 0,
                "score": round(timeline.item.score, 4),
                **lists,
            }
