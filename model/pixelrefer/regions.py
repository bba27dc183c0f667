"""What the model looks at: from a frame and a mask to a crop, a scene, a local picture and a patch grid.

Everything here is NumPy, OpenCV and PIL on the CPU, and exact to the byte against the reference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from tubelet.errors import InputError
from tubelet.model.frame import Image
from tubelet.model.masks import Mask
from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig
from tubelet.records import Box

PADDING_PX = 2 * PATCH_PX
SCENE_PX = 336
LOCAL_PX = 224
PATCH_AREA_PX = PATCH_PX**2
MAX_ASPECT_RATIO = 200
MAX_CROP_PX = 2**26
"""Where crops stop growing: a few pixels spread over a huge frame would make one that fits in no memory."""


class FrameBox(NamedTuple):
    """First and last row and column of a padded box, inclusive, in rows and columns of the whole frame."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True, slots=True)
class RegionView:
    """One object in one frame.

    `image` is (h, w, 3) RGB, `mask` (h, w) and non-zero on the object. Usually they cover the whole frame.
    They may cover a part of it: then `window` is that part in source pixels, `frame_size` the (width,
    height) of the source frame, and `scene` the whole frame at any size.
    """

    image: Image
    mask: Mask
    time_s: float = 0.0
    window: Box | None = None
    frame_size: tuple[int, int] | None = None
    scene: Image | None = None

    def __post_init__(self) -> None:
        for name, picture in (("image", self.image), ("scene", self.scene)):
            if picture is not None and (picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0):
                raise InputError(
                    f"The {name} has shape {picture.shape}",
                    expected="(height, width, 3), not empty, RGB",
                    do="pass a decoded colour picture",
                )
            if picture is not None and picture.dtype != np.uint8:
                raise InputError(
                    f"The {name} holds {picture.dtype}", expected="uint8, 0 to 255", do="convert the picture"
                )
        if self.mask.shape != self.image.shape[:2]:
            raise InputError(
                f"The mask has shape {self.mask.shape} and its frame {self.image.shape[:2]}",
                expected="a mask of the frame's own height and width",
                do="resize the mask to the frame, nearest neighbour",
            )
        if not math.isfinite(self.time_s):
            raise InputError(f"A frame is at {self.time_s} s", expected="a finite time", do="correct it")
        if (self.window is None) != (self.frame_size is None):
            raise InputError(
                "Only one of window and frame_size is given",
                expected="both, for a view of a part of the frame, or neither",
                do="add the other",
            )

    @property
    def whole_frame(self) -> Image:
        """The frame around the object, at whatever size it was kept; else the image itself."""
        return self.image if self.scene is None else self.scene


@dataclass(frozen=True, slots=True)
class Region:
    """One object: its views in time order. `is_video` puts the time before each frame's tokens."""

    views: tuple[RegionView, ...]
    is_video: bool = True

    def __post_init__(self) -> None:
        if not self.views:
            raise InputError(
                "A region has no frames", expected="at least one", do="pass the frames that carry a mask"
            )
        if not self.is_video and len(self.views) > 1:
            raise InputError(
                f"A region of an image has {len(self.views)} frames",
                expected="one frame, or times for a video",
                do="pass times_s, one for each frame",
            )
        times = [view.time_s for view in self.views]
        if times != sorted(times):
            raise InputError(
                f"The frames of a region are at {times} s", expected="times that do not fall", do="sort them"
            )

    @classmethod
    def of(
        cls, frames: Sequence[Image], masks: Sequence[Mask], times_s: Sequence[float] | None = None
    ) -> Region:
        """From whole frames and their masks; without times it is a region of an image."""
        if len(frames) != len(masks) or (times_s is not None and len(times_s) != len(frames)):
            num_times = "no" if times_s is None else len(times_s)
            raise InputError(
                f"There are {len(frames)} frames, {len(masks)} masks and {num_times} times",
                expected="one mask and one time for each frame",
                do="pass lists of one length",
            )
        times = [0.0] * len(frames) if times_s is None else times_s
        views = tuple(
            RegionView(frame, mask, float(time_s))
            for frame, mask, time_s in zip(frames, masks, times, strict=True)
        )
        return cls(views, is_video=times_s is not None)


@dataclass(frozen=True, slots=True)
class CropRule:
    """Where the two published models cut differently.

    `max_cells`: an object that would fill more cells is shrunk to about so many. `keeps_last_line`:
    PixelRefer takes its box's last row and column as exclusive and so loses them; Lite does not.
    `always_bilinear`: PixelRefer resizes crops bilinearly even when they shrink. `keeps_thin_objects`: the
    mask is sampled at the cells' centres, where a thin object may not show; Lite then has empty tokens, as
    its reference does, while PixelRefer, whose reference fails, takes every cell that the object touches.

    `padding_px` and `local_px` are the same in both, and smaller in small models; the local picture shows
    PADDING_PX around the object whatever the crop does.
    """

    max_cells: int
    keeps_last_line: bool
    always_bilinear: bool
    keeps_thin_objects: bool
    padding_px: int = PADDING_PX
    local_px: int = LOCAL_PX


LITE_CROPS = CropRule(50, keeps_last_line=True, always_bilinear=False, keeps_thin_objects=False)
VISION_OBJECT_CROPS = CropRule(100, keeps_last_line=False, always_bilinear=True, keeps_thin_objects=True)


def choose_rule(config: PixelReferConfig) -> CropRule:
    """The paradigm's rule with the sizes of this model."""
    rule = LITE_CROPS if config.is_lite else VISION_OBJECT_CROPS
    return replace(
        rule,
        max_cells=config.max_region_cells or rule.max_cells,
        padding_px=config.crop_padding_px,
        local_px=config.local_px,
    )


@dataclass(frozen=True, slots=True)
class CutRegion:
    """A view, cut and scaled. `grid` is (h/14, w/14) float32 of the crop (h, w, 3); above 0 is the object."""

    crop: Image
    grid: NDArray[np.float32]
    box: FrameBox
    frame_height: int
    frame_width: int
    local: Image


def cut_scene(view: RegionView, side_px: int = SCENE_PX) -> Image:
    """The whole frame, squeezed into a square."""
    return _resize(view.whole_frame, side_px, side_px, cv2.INTER_AREA)


def cut_region(view: RegionView, num_tokens: int, rule: CropRule = LITE_CROPS) -> CutRegion:
    """Cut one view. An empty mask gives a black crop of one patch, outside the object, and zero boxes."""
    height, width = view.image.shape[:2]
    frame_width, frame_height = view.frame_size or (width, height)
    painted = (view.mask != 0).astype(np.uint8)
    area = int(painted.sum())
    if area == 0:
        return CutRegion(
            crop=np.zeros((PATCH_PX, PATCH_PX, 3), np.uint8),
            grid=np.zeros((1, 1), np.float32),
            box=FrameBox(0, 0, 0, 0),
            frame_height=frame_height,
            frame_width=frame_width,
            local=_resize(view.image, rule.local_px, rule.local_px, cv2.INTER_AREA),
        )
    bounds = cv2.boundingRect(painted)
    top, left, bottom, right = _pad(bounds, rule.padding_px, height, width)
    box = FrameBox(top, left, bottom - 1, right - 1)
    if not rule.keeps_last_line and painted[top : bottom - 1, left : right - 1].any():
        bottom, right = bottom - 1, right - 1
    crop, mask = view.image[top:bottom, left:right], painted[top:bottom, left:right]
    around = crop
    if rule.padding_px != PADDING_PX:
        upper, nearer, lower, farther = _pad(bounds, PADDING_PX, height, width)
        around = view.image[upper:lower, nearer:farther]

    scale: float = math.ceil(math.sqrt(PATCH_AREA_PX * num_tokens / area))
    if scale == 1 and area / PATCH_AREA_PX > rule.max_cells:
        scale = 1 / math.sqrt(area / PATCH_AREA_PX / rule.max_cells)
    scale = min(scale, math.sqrt(MAX_CROP_PX / (crop.shape[0] * crop.shape[1])))
    rows = math.ceil(crop.shape[0] * scale / PATCH_PX)
    columns = math.ceil(crop.shape[1] * scale / PATCH_PX)
    new_height, new_width = rows * PATCH_PX, columns * PATCH_PX
    drawn = mask.astype(np.float32)
    grid = cv2.resize(drawn, (columns, rows), interpolation=cv2.INTER_LINEAR)
    if rule.keeps_thin_objects and not grid.any():
        grid = cv2.resize(drawn, (columns, rows), interpolation=cv2.INTER_AREA)
    grows = new_height >= crop.shape[0] or new_width >= crop.shape[1]
    return CutRegion(
        crop=_resize(
            crop, new_height, new_width, cv2.INTER_LINEAR if grows or rule.always_bilinear else cv2.INTER_AREA
        ),
        grid=grid.astype(np.float32, copy=False),
        box=_place_in_frame(box, view),
        frame_height=frame_height,
        frame_width=frame_width,
        local=_resize(around, rule.local_px, rule.local_px, cv2.INTER_AREA),
    )


def place_patches(
    box: FrameBox, frame_height: int, frame_width: int, rows: int, columns: int
) -> NDArray[np.float32]:
    """Relative place of each patch of a crop in its frame, row-major: (rows * columns, 2) float32.

    The box is (top, left, bottom, right), yet columns are spread from its first entry to its third and rows
    from its second to its fourth. The reference mixes them so, and its weights were trained so.
    """
    first, second, third, fourth = box
    across = np.arange(columns, dtype=np.float32) / np.float32(columns)
    down = np.arange(rows, dtype=np.float32) / np.float32(rows)
    across = (across * np.float32(third - first) + np.float32(first)) / np.float32(max(frame_width - 1, 1))
    down = (down * np.float32(fourth - second) + np.float32(second)) / np.float32(max(frame_height - 1, 1))
    places: NDArray[np.float32] = np.stack(np.meshgrid(across, down), axis=-1).reshape(-1, 2)
    return places


def spread_cells(
    grid: NDArray[np.float32], rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The patches of a rows x columns crop that make each cell of the object, and their weights: (cells, 4).

    The grid and the crop usually agree, and a cell is one patch. Where the crop had to be shrunk, features
    are spread bilinearly over the grid (half-pixel centres, edges repeated), but only where the object is.
    """
    inside_y, inside_x = np.nonzero(grid > 0)
    upper, lower, y_share = _find_neighbours(inside_y, grid.shape[0], rows)
    near, far, x_share = _find_neighbours(inside_x, grid.shape[1], columns)
    patches = np.stack(
        [upper * columns + near, upper * columns + far, lower * columns + near, lower * columns + far], axis=1
    )
    weights = np.stack(
        [(1 - y_share) * (1 - x_share), (1 - y_share) * x_share, y_share * (1 - x_share), y_share * x_share],
        axis=1,
    )
    return patches.astype(np.int64), weights.astype(np.float32)


def choose_starts(cut: CutRegion, num_cells: int, num_tokens: int) -> NDArray[np.int64]:
    """The cells that k-means starts from: a random choice seeded by the region's own pixels.

    The same object in the same frame so gets the same tokens in any batch, process and run.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in (cut.crop, cut.grid, np.asarray(cut.box, np.int64)):
        digest.update(np.ascontiguousarray(part).tobytes())
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest.digest(), "big")))
    starts: NDArray[np.int64] = generator.permutation(num_cells)[:num_tokens].astype(np.int64)
    return starts


def fit_size(height: int, width: int, *, factor: int, min_px: int, max_px: int) -> tuple[int, int]:
    """Sides rounded to `factor`, the picture between `min_px` and `max_px` pixels, its shape kept.

    Never less than one `factor` a side. Raises InputError for a picture 200 times longer than wide.
    """
    if min(height, width) < factor:
        scale = factor / min(height, width)
        height, width = round(height * scale), round(width * scale)
    elif max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        raise InputError(
            f"A picture is {width} x {height}",
            expected=f"sides of a ratio up to {MAX_ASPECT_RATIO}",
            do="leave this object out, or pass a wider crop",
        )
    new_height, new_width = round(height / factor) * factor, round(width / factor) * factor
    if new_height * new_width > max_px:
        shrink = math.sqrt(height * width / max_px)
        new_height = max(math.floor(height / shrink / factor), 1) * factor
        new_width = max(math.floor(width / shrink / factor), 1) * factor
    elif new_height * new_width < min_px:
        grow = math.sqrt(min_px / (height * width))
        new_height = math.ceil(height * grow / factor) * factor
        new_width = math.ceil(width * grow / factor) * factor
    return new_height, new_width


def fit_picture(picture: Image, *, factor: int, min_px: int, max_px: int) -> Image:
    """The picture at the size that `fit_size` allows, resized bicubically by PIL where that changes it."""
    height, width = fit_size(*picture.shape[:2], factor=factor, min_px=min_px, max_px=max_px)
    if (height, width) == picture.shape[:2]:
        return picture
    resized = PilImage.fromarray(picture).resize((width, height), PilImage.Resampling.BICUBIC)
    return np.asarray(resized)


def split_patches(picture: Image, merge_size: int = 1) -> NDArray[np.uint8]:
    """Patches of a picture, channel-major, (patches, 588); row-major blocks of merge x merge patches."""
    height, width = picture.shape[:2]
    blocks = picture.reshape(
        height // (PATCH_PX * merge_size),
        merge_size,
        PATCH_PX,
        width // (PATCH_PX * merge_size),
        merge_size,
        PATCH_PX,
        3,
    )
    return blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, 3 * PATCH_AREA_PX)


def _find_neighbours(
    index: NDArray[np.intp], num_cells: int, num_patches: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The two patches around each cell along one side, and the share of the second."""
    # As torch does it: the scale is rounded to float32, then product and sum in one step to float32 again.
    scale = np.float64(np.float32(num_patches / num_cells))
    centre = np.maximum(((index + 0.5) * scale - 0.5).astype(np.float32), np.float32(0))
    first = centre.astype(np.int64)
    second = np.minimum(first + 1, num_patches - 1)
    return first, second, centre - first.astype(np.float32)


def _place_in_frame(box: FrameBox, view: RegionView) -> FrameBox:
    """The box in rows and columns of the source frame, for a view that covers only a part of it."""
    if view.window is None or view.frame_size is None:
        return box
    height, width = view.image.shape[:2]
    scale_x, scale_y = view.window.width / width, view.window.height / height
    frame_width, frame_height = view.frame_size
    return FrameBox(
        top=round(view.window.y0 + box.top * scale_y),
        left=round(view.window.x0 + box.left * scale_x),
        bottom=min(frame_height, round(view.window.y0 + (box.bottom + 1) * scale_y)) - 1,
        right=min(frame_width, round(view.window.x0 + (box.right + 1) * scale_x)) - 1,
    )


def _pad(bounds: Sequence[int], padding_px: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, bottom and right (exclusive) of (x, y, width, height), padded and kept in the picture."""
    x, y, box_width, box_height = bounds
    top, left = max(0, y - padding_px), max(0, x - padding_px)
    return top, left, min(height, y + box_height + padding_px), min(width, x + box_width + padding_px)


def _resize(picture: Image, height: int, width: int, interpolation: int) -> Image:
    return cv2.resize(picture, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)
