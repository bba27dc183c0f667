"""Carry masks from one frame into the next along the optical flow.

What a small network lacks most is a memory of what it follows. Between two frames the pictures themselves say
where each pixel went: the flow is dense inverse search (Kroeger et al., "Fast Optical Flow using Dense
Inverse Search", 2016), from OpenCV. Masks carried so drift with time and cannot come back from behind
something; prompting them anew, from motion or discovery, sets them right.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.model.frame import Image

Grey = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

FLOW_PX = 384
"""Side of the square pictures that flow is measured on: finer ones drift less and cost more."""

MASK_PX = 256
"""Side of the grid on which masks are carried: what is sampled anew in every frame blurs on a coarser one."""

_SMOOTHNESS = 2.5
"""Weight of smoothness in the flow's variational refinement, an eighth of OpenCV's own: objects that move by
themselves have sharp edges."""


class MaskCarrier:
    """The flow between the last two frames, on square pictures of `side` pixels."""

    def __init__(self, side: int = FLOW_PX) -> None:
        self._side = side
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._flow.setVariationalRefinementAlpha(_SMOOTHNESS)
        self._before: Grey | None = None
        self._now: Grey | None = None
        self._backward_2SS: Tensor | None = None

    def look(self, image: Image) -> None:
        """Go to the next frame, (height, width, 3) RGB."""
        small = cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_AREA)
        self._before, self._now = self._now, np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        self._backward_2SS = None

    def _measure(self) -> Tensor:
        """Where each pixel of this frame was in the last one, in pixels from where it is, (2, S, S)."""
        flow = np.zeros((self._side, self._side, 2), np.float32)
        if self._before is not None and self._now is not None:
            flow = np.asarray(self._flow.calc(self._now, self._before, flow), np.float32)
        return torch.from_numpy(flow).permute(2, 0, 1)

    def carry(self, shares_Bhw: Tensor) -> Tensor:
        """Masks of the last frame, as shares of cells (0..1), where they are in this frame."""
        height, width = shares_Bhw.shape[1:]
        if self._backward_2SS is None:
            self._backward_2SS = self._measure()
        flow_2hw = F.interpolate(self._backward_2SS[None], size=(height, width), mode="area")[0]
        y_h1, x_1w = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
        scale = self._side / torch.tensor([width, height])
        where_hw2 = torch.stack(
            [
                (x_1w + flow_2hw[0] / scale[0]) * 2 / width - 1,
                (y_h1 + flow_2hw[1] / scale[1]) * 2 / height - 1,
            ],
            dim=-1,
        ).to(shares_Bhw.device, shares_Bhw.dtype)
        return F.grid_sample(
            shares_Bhw[None], where_hw2[None], mode="bilinear", padding_mode="zeros", align_corners=False
        )[0]
