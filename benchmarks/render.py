"""The rendered world, measured: processor time of clips and images, and how well colours bear their names.

python benchmarks/render.py [--clips 20] [--images 100]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import cv2
import numpy as np
from machine import print_table

from tubelet.model.describing.colour import name_colours
from tubelet.model.training.world import ClipSpec, RenderedClip, render_clip, render_image

CASES = {
    "traffic, 2 objects": ClipSpec(theme="traffic", max_objects=2),
    "traffic, 6 objects": ClipSpec(theme="traffic"),
    "park, 6 objects": ClipSpec(theme="park"),
    "mixed, 12 objects": ClipSpec(max_objects=12),
    "mixed, 6 objects, H.264": ClipSpec(encode=1.0),
    "mixed, 6 objects, 640 x 360": ClipSpec(width=640, height=360),
}
MIN_PIXELS, MIN_VISIBLE, MARGIN_PX = 250, 0.7, 12


def time_clips(num_clips: int) -> None:
    """Frames a processor second, set-up of the scenes included, on one thread."""
    rows = []
    for name, spec in CASES.items():
        started, frames, objects = time.process_time(), 0, 0
        for seed in range(num_clips):
            clip = render_clip(seed, spec)
            frames, objects = frames + len(clip.frames_THWC), objects + len(clip.objects)
        seconds = time.process_time() - started
        started = time.process_time()
        for seed in range(num_clips):
            render_image(seed, spec)
        image_ms = 1000 * (time.process_time() - started) / num_clips
        rows.append([name, f"{frames / seconds:.0f}", f"{image_ms:.0f}", f"{objects / num_clips:.1f}"])
    print_table(
        "Clips of 24 frames, 320 x 180, and single images",
        ["scenes", "frames a processor second", "ms an image", "objects a clip"],
        rows,
    )


def count_colours(num_images: int) -> None:
    """How often the main colour is among the names measured on the object's mask, neutral light, no noise."""
    agree, total = Counter[str](), Counter[str]()
    for seed in range(num_images):
        clip = render_image(seed, ClipSpec(degrade=False, max_objects=5))
        for item in clip.objects:
            names = _measure(clip, item.number)
            if names:
                total[item.colours[0]] += 1
                agree[item.colours[0]] += item.colours[0] in names
    rows = [[name, str(total[name]), f"{agree[name] / total[name]:.2f}"] for name in sorted(total)]
    if total:
        rows.append(["all", str(total.total()), f"{agree.total() / total.total():.2f}"])
    print_table("Measured colours on true masks", ["main colour", "objects", "named"], rows)


def _measure(clip: RenderedClip, number: int) -> tuple[str, ...]:
    mask = clip.labels_THW[0] == number
    box = clip.find_box(0, number)
    if box is None or mask.sum() < MIN_PIXELS or clip.visible_TO[0, number - 1] < MIN_VISIBLE:
        return ()
    x0, y0, x1, y1 = (int(value) for value in box)
    crop = np.s_[max(0, y0 - MARGIN_PX) : y1 + MARGIN_PX, max(0, x0 - MARGIN_PX) : x1 + MARGIN_PX]
    return name_colours(clip.frames_THWC[0][crop], mask[crop])[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    render_clip(0, ClipSpec(num_frames=1))
    time_clips(options.clips)
    count_colours(options.images)


if __name__ == "__main__":
    main()
