"""What is seen in one frame: image features, and what judge and proposer say by them, when first asked."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tubelet.errors import ModelError
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.assistants import NO_ASSISTANTS, Assistants
from tubelet.model.tracking.sam2.judge import flatten_features, measure_masks
from tubelet.model.tracking.sam2.maps import IMAGE_MEAN, IMAGE_STD
from tubelet.model.tracking.sam2.network import ImageFeatures, Sam2Network
from tubelet.model.tracking.sam2.outlining import outline, see_picture
from tubelet.model.tracking.sam2.proposing import (
    VOUCHED_WEIGHT,
    Proposals,
    SeenFrames,
    propose,
    see_frame,
)


class FrameView:
    """A frame, (height, width, 3) RGB, as a network sees it; `number` tells it from others in errors."""

    def __init__(
        self,
        network: Sam2Network,
        image: Image,
        *,
        number: int = 0,
        assistants: Assistants = NO_ASSISTANTS,
    ) -> None:
        self._network = network
        self._image = image
        self._number = number
        self._assistants = assistants

    @property
    def has_judge(self) -> bool:
        """Whether `judge` can be asked."""
        return self._assistants.judge is not None

    @property
    def has_proposer(self) -> bool:
        """Whether there are `proposals`."""
        return self._assistants.proposer is not None

    @property
    def has_outliner(self) -> bool:
        """Whether `outline` can be asked."""
        return self._assistants.outliner is not None

    @cached_property
    @torch.inference_mode()
    def features(self) -> ImageFeatures:
        """Image features. Raises ModelError when they are not finite."""
        network = self._network
        pixels_HW3 = torch.tensor(np.ascontiguousarray(self._image), device=network.device)
        side = network.shape.image_px
        pixels_13SS = F.interpolate(
            pixels_HW3.permute(2, 0, 1)[None] / 255,
            size=(side, side),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )
        mean, std = (pixels_13SS.new_tensor(c)[:, None, None] for c in (IMAGE_MEAN, IMAGE_STD))
        features = network.encode_image(((pixels_13SS - mean) / std).to(network.dtype))
        if not torch.isfinite(features.coarse_1CHW).all():
            raise ModelError(
                f"The image features of frame {self._number} are not finite",
                expected="numbers; the weights may be damaged, or too large for the number format",
                do="check the checkpoint, or use bfloat16 or float32 in place of float16",
            )
        return features

    @cached_property
    def measured_maps_CN(self) -> Tensor:
        """What masks are measured by, (C, GRID * GRID)."""
        return flatten_features(self.features, self._image)

    @cached_property
    def seen(self) -> SeenFrames:
        """The frame as a proposer takes it."""
        return see_frame(self.features, self._image)

    @cached_property
    def proposals(self) -> Proposals:
        """Where objects lie."""
        assert self._assistants.proposer is not None, "the session was given a proposer"
        return propose(self._assistants.proposer, self.seen)

    @cached_property
    def _picture_14HW(self) -> Tensor:
        """The frame as an outliner takes it."""
        return see_picture(self._image)

    def outline(self, masks_Bhw: Tensor) -> Tensor:
        """Masks, boolean, drawn anew by a closer look: logits on the same grid."""
        assert self._assistants.outliner is not None, "the session was given an outliner"
        return outline(self._assistants.outliner, self.features, self._picture_14HW, masks_Bhw)

    def measure(self, masks_Bhw: Tensor) -> Tensor:
        """What `measure_masks` says of masks, (B, X)."""
        return measure_masks(self.measured_maps_CN, masks_Bhw)

    def judge(self, masks_Bhw: Tensor) -> Tensor:
        """How well each mask outlines one object of this frame, 0..1, (B,): a guess of its IoU."""
        return self.judge_measured(self.measure(masks_Bhw), masks_Bhw).to(masks_Bhw.device)

    def judge_measured(self, measured_BX: Tensor, masks_Bhw: Tensor) -> Tensor:
        """`judge` by what was measured of masks, (B, X), and what the proposer, if there is one, says."""
        judged_B = self.judge_alone(measured_BX)
        if not self.has_proposer:
            return judged_B
        return torch.lerp(judged_B, self.proposals.vouch_for(masks_Bhw), VOUCHED_WEIGHT)

    def judge_alone(self, measured_BX: Tensor) -> Tensor:
        """What the judge says of masks by itself, (B,)."""
        assert self._assistants.judge is not None, "the session was given a judge"
        return self._assistants.judge.judge(measured_BX)
