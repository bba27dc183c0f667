"""What a small network sees of an object in one view, and such a network.

Shapes: N views, S the side of a picture in pixels, K what is told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tubelet.model.describing.base import ObjectView

SIGHT_PX = 48
MARGIN = 1.15
"""Side of what is seen of a view, in longer sides of the object's box."""

NUM_PLACE = 6
PLACE_MIRROR = np.array([-1, 1, 1, 1, -1, 1], np.float32)

_MIN_SIDE = 1e-3

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """What a network sees of a view: `picture` (SIGHT_PX, SIGHT_PX, 4) is RGB and mask, uint8, upright and
    around the object; `place_6` says where it lies in the frame."""

    picture: NDArray[np.uint8]
    place_6: Array


def cut_sight(view: ObjectView) -> Sight:
    """The object of a view whose frame's size is known, in the middle of a square."""
    assert view.frame_size is not None, "only views of frames have a place"
    rows, columns = np.flatnonzero(view.mask.any(axis=1)), np.flatnonzero(view.mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = SIGHT_PX / (MARGIN * max(bottom - top, right - left))
    layers = np.dstack([view.image, view.mask.astype(np.uint8) * 255])
    height, width = view.mask.shape
    if scale < 0.5:  # warping samples four pixels, so what is much larger is averaged first
        size = (max(1, round(2 * scale * width)), max(1, round(2 * scale * height)))
        layers = cv2.resize(layers, size, interpolation=cv2.INTER_AREA)
    middle_2 = np.array([left + right, top + bottom]) / 2
    scales_2 = scale * np.array([width / layers.shape[1], height / layers.shape[0]])
    shift_2 = (SIGHT_PX - 1) / 2 - scale * middle_2 + scales_2 / 2  # pixels lie at their middles
    matrix_23 = np.column_stack([np.diag(scales_2), shift_2])
    picture = cv2.warpAffine(layers, matrix_23, (SIGHT_PX, SIGHT_PX), flags=cv2.INTER_LINEAR)
    corners_4 = np.array([left / width, top / height, right / width, bottom / height])
    return Sight(picture.astype(np.uint8), _tell_place(view, corners_4))


def _tell_place(view: ObjectView, corners_4: NDArray[np.float64]) -> Array:
    """Where in the frame the middle is, the logarithms of its sides, and at which borders it is cut."""
    assert view.frame_size is not None
    frame_width, frame_height = view.frame_size
    crop = view.crop
    x0, x1 = ((crop.x0 + share * crop.width) / frame_width for share in corners_4[[0, 2]])
    y0, y1 = ((crop.y0 + share * crop.height) / frame_height for share in corners_4[[1, 3]])
    wide = max(x1 - x0, _MIN_SIDE) * frame_width / frame_height
    return np.array(
        [
            x0 + x1 - 1,
            y0 + y1 - 1,
            0.3 * np.log(wide) + 0.5,
            0.3 * np.log(max(y1 - y0, _MIN_SIDE)) + 0.5,
            float(x0 < 0.005) - float(x1 > 0.995),
            float(y0 < 0.005) + float(y1 > 0.995),
        ],
        np.float32,
    )


class SightNetwork(nn.Module):
    """Sights to K logits: convolutions, `layers` of channels in and out and stride, then a layer of `hidden`.

    Batches are normalised in training; `fold` takes the norms away.
    """

    def __init__(
        self, layers: Sequence[tuple[int, int, int]], hidden: int, num_told: int, *, normed: bool = False
    ) -> None:
        super().__init__()
        self._shape = (tuple(layers), hidden, num_told)
        self.layers = nn.ModuleList(nn.Conv2d(inner, outer, 3, stride, 1) for inner, outer, stride in layers)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels) if normed else nn.Identity() for _, channels, _ in layers
        )
        cells = (SIGHT_PX // int(np.prod([stride for *_, stride in layers]))) ** 2
        self.hidden = nn.Linear(layers[-1][1] * cells + NUM_PLACE, hidden)
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(hidden, num_told)

    def forward(self, pictures_N4SS: Tensor, places_N6: Tensor) -> Tensor:
        """Logits (N, K) of pictures of 0..1."""
        maps = pictures_N4SS
        for layer, norm in zip(self.layers, self.norms, strict=True):
            maps = F.relu(norm(layer(maps)))
        hidden = F.relu(self.hidden(torch.cat([maps.flatten(1), places_N6], dim=1)))
        logits_NK: Tensor = self.last(self.drop(hidden))
        return logits_NK

    def fold(self) -> SightNetwork:
        """The same network, in evaluation, with its norms inside the convolutions."""
        folded = SightNetwork(*self._shape).eval()
        folded.hidden.load_state_dict(self.hidden.state_dict())
        folded.last.load_state_dict(self.last.state_dict())
        self.eval()
        for place, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            assert isinstance(layer, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            folded.layers[place] = fuse_conv_bn_eval(layer, norm)
        return folded.requires_grad_(False)


@torch.inference_mode()
def look(
    network: SightNetwork, pictures_NSS4: NDArray[np.uint8], places_N6: Array, mirrored: Sequence[int]
) -> Tensor:
    """Logits (N, K) of each sight, the mean of what it and its mirror image tell; what is k in a mirror is
    `mirrored[k]`."""
    seen = torch.from_numpy(pictures_NSS4).permute(0, 3, 1, 2).float() / 255
    places = torch.from_numpy(places_N6)
    in_mirror: Tensor = network(seen.flip(3), places * torch.from_numpy(PLACE_MIRROR))[:, list(mirrored)]
    logits_NK: Tensor = (network(seen, places) + in_mirror) / 2
    return logits_NK
