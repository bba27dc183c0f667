"""Masks of annotations: the stored mask where there is one, else the box, and a remark which it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pycocotools import mask as coco

from tubelet.index.exporting.timelines import Timelines
from tubelet.records import Box, Rle, Video


def make_segmentation(
    timelines: Timelines, video: Video, box: Box, time_s: float, masks: Mapping[float, Rle]
) -> dict[str, Any]:
    """`segmentation` as COCO RLE over the whole frame, its `area`, and `mask_source`: "mask" or "box"."""
    stored = masks.get(round(time_s, 3))
    rle = rasterise_box(box, video) if stored is None else timelines.fit_mask(stored, video)
    packed = {"size": [rle.height, rle.width], "counts": rle.counts}
    return {
        "segmentation": {"size": packed["size"], "counts": rle.counts.decode("ascii")},
        "area": int(coco.area(packed)),
        "mask_source": "box" if stored is None else "mask",
    }


def rasterise_box(box: Box, video: Video) -> Rle:
    """The pixels of the frame that a box covers by more than half in each direction."""
    x0, x1 = (min(max(0, round(side)), video.width) for side in (box.x0, box.x1))
    y0, y1 = (min(max(0, round(side)), video.height) for side in (box.y0, box.y1))
    height, width = max(0, y1 - y0), max(0, x1 - x0)
    if height == video.height:  # columns without a gap between them are one run
        height, width = height * width, min(width, 1)
    counts = [video.height * video.width]
    if height and width:  # runs go down the columns, of zeros first
        counts = [x0 * video.height + y0]
        for _ in range(width - 1):
            counts += [height, video.height - height]
        counts.append(height)
        if rest := video.height * video.width - sum(counts):
            counts.append(rest)
    size = [video.height, video.width]
    packed = coco.frPyObjects({"size": size, "counts": counts}, *size)
    return Rle(video.height, video.width, packed["counts"])
