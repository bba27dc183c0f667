"""Truth of a rendered clip as files: JSON, masks as in DAVIS, boxes as in MOTChallenge."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from tubelet.model.frame import Image
from tubelet.model.training.world.render import (
    ClipTruth,
    conclude_truth,
    count_pixels,
    name_weather,
    render_frames,
)
from tubelet.model.training.world.scene import make_scene
from tubelet.model.training.world.spec import CATEGORIES, ClipSpec
from tubelet.records import Box

NUM_COLOURS = 256


class TruthRecorder:
    """Renders a clip frame by frame and keeps its labels packed, so that long clips fit in memory.

    Iterate over `render` to its end, then `write` the truth.
    """

    def __init__(self, seed: int, spec: ClipSpec) -> None:
        self._seed, self._spec = seed, spec
        self._scene = make_scene(seed, spec)
        self._labels: list[bytes] = []
        self._counts: list[NDArray[np.intp]] = []
        self._visible: list[NDArray[np.float32]] = []

    def render(self) -> Iterator[Image]:
        """The clip's frames, (height, width, 3) RGB."""
        for frame in render_frames(self._scene, self._seed, self._spec):
            self._labels.append(zlib.compress(frame.labels_HW.tobytes(), 1))
            self._counts.append(count_pixels(frame.labels_HW, len(self._scene.actors)))
            self._visible.append(frame.visible_A)
            yield frame.frame_HWC

    def write(self, *, document: Path, masks: Path, boxes: Path) -> int:
        """Write the JSON document, one PNG a frame into `masks`, and MOTChallenge text; the number of
        objects.

        PNGs of an earlier clip in that folder are removed.
        """
        truth = conclude_truth(self._scene, np.stack(self._counts), np.stack(self._visible), self._spec)
        masks.mkdir(parents=True, exist_ok=True)
        for old in masks.glob("*.png"):
            old.unlink()
        palette = np.random.default_rng(0).integers(40, 256, (NUM_COLOURS, 3), dtype=np.uint8)
        palette[0] = 0
        found: dict[int, list[tuple[int, Box, float]]] = {item.number: [] for item in truth.objects}
        lines: list[str] = []
        for place, packed in enumerate(self._labels):
            raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(
                self._spec.height, self._spec.width
            )
            labels = truth.table[raw]
            picture = Picture.frombytes("P", (self._spec.width, self._spec.height), labels.tobytes())
            picture.putpalette(palette.tobytes())
            picture.save(masks / f"{place:05d}.png")
            for item in truth.objects:
                box = find_box(labels == item.number)
                if box is not None:
                    visible = float(truth.visible_TO[place, item.number - 1])
                    found[item.number].append((place, box, visible))
                    category = CATEGORIES.index(item.category) + 1
                    lines.append(
                        f"{place + 1},{item.number},{box.x0:g},{box.y0:g},{box.width:g},{box.height:g},"
                        f"1,{category},{visible:.3f}\n"
                    )
        boxes.write_text("".join(lines), encoding="utf-8")
        text = json.dumps(self._describe(truth, found), ensure_ascii=False, indent=1)
        document.write_text(text + "\n", encoding="utf-8")
        return len(truth.objects)

    def _describe(self, truth: ClipTruth, found: dict[int, list[tuple[int, Box, float]]]) -> dict[str, Any]:
        scene = self._scene
        return {
            "seed": self._seed,
            "spec": asdict(self._spec),
            "place": scene.layout.place,
            "weather": name_weather(scene),
            "times_s": [round(float(value), 6) for value in scene.times],
            "camera": {
                "kind": scene.camera.kind,
                "view": scene.camera.view,
                "poses": [asdict(pose) for pose in scene.camera.poses],
            },
            "objects": [
                asdict(item)
                | {
                    "boxes": [
                        {"frame": frame, "box": list(box), "visible": round(visible, 3)}
                        for frame, box, visible in found[item.number]
                    ]
                }
                for item in truth.objects
            ],
            "relations": [asdict(item) for item in truth.relations],
        }


def find_box(mask_HW: NDArray[np.bool_]) -> Box | None:
    """The upright box around a mask; None when it is empty."""
    x, y, width, height = cv2.boundingRect(mask_HW.view(np.uint8))
    return Box(float(x), float(y), float(x + width), float(y + height)) if width else None
