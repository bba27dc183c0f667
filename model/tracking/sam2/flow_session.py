"""A session that follows by optical flow: for small networks whose memory attention was never learnt well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.carrying import MASK_PX, MaskCarrier
from tubelet.model.tracking.sam2.engine import MAX_PROMPTED_FRAMES, Sam2Session, Settled, split
from tubelet.model.tracking.sam2.judge import MaskJudge
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT, hint_at_masks, resize
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.network import DecodedMasks, Sam2Network
from tubelet.model.tracking.sam2.prompts import MaskPrompt

FollowBy = Literal["memory", "flow"]

LOOK_EVERY = 3
"""Frames from one look at carried masks to the next. Others are encoded only where something asks."""
MIN_SHARE = 1e-4
"""Shares of cells are kept this far from 0 and 1 where they are turned into logits."""


class FlowSession(Sam2Session):
    """Masks are carried along the optical flow, on a grid finer than the network's.

    The mask decoder is shown them, every third frame, to say whether the object is still there. One mask an
    object is all that is remembered.
    """

    def __init__(self, network: Sam2Network, *, max_batch: int = 32, judge: MaskJudge | None = None) -> None:
        super().__init__(network, max_batch=max_batch, judge=judge)
        self._mask_px = MASK_PX
        self._carrier = MaskCarrier()
        self._shares_hw: dict[int, Tensor] = {}
        self._presence: dict[int, float] = {}

    @property
    def num_memories(self) -> int:
        return len(self._shares_hw)

    def put(self, logits_hw: Mapping[int, Tensor]) -> FrameMasks:
        """Replace the carried masks of some objects, by logits on the session's grid."""
        self._shares_hw.update({number: mask_hw.sigmoid() for number, mask_hw in logits_hw.items()})
        sure_B = torch.ones(len(logits_hw), device=self._network.device)
        return FrameMasks(tuple(logits_hw), torch.stack(list(logits_hw.values())), sure_B, sure_B)

    def retire(self, numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        super().retire(numbers)
        for number in numbers:
            self._shares_hw.pop(number, None)
            self._presence.pop(number, None)

    def _follow_all(self, image: Image) -> list[FrameMasks]:
        self._carrier.look(image)
        if self._frame % LOOK_EVERY == 0:
            self._presence = {}
        return [self._carry(part) for part in split(list(self._banks), self._max_batch)]

    def _carry(self, numbers: list[int]) -> FrameMasks:
        """Masks where the flow takes them; the decoder tells whether what lies there is an object."""
        shares_Bhw = self._carrier.carry(torch.stack([self._shares_hw[number] for number in numbers]))
        self._shares_hw.update(zip(numbers, shares_Bhw.clone(), strict=True))
        if any(number not in self._presence for number in numbers):
            decoded = self._decode_hints(shares_Bhw)
            seen = decoded.presence_B.float().sigmoid().tolist()
            self._presence.update(zip(numbers, seen, strict=True))
        presence_B = shares_Bhw.new_tensor([self._presence[number] for number in numbers])
        return FrameMasks(
            tuple(numbers), torch.logit(shares_Bhw, MIN_SHARE), presence_B, torch.ones_like(presence_B)
        )

    def look_at_masks(self, logits_Bhw: Tensor) -> Tensor:
        """What the decoder makes of rough masks, logits on the session's grid."""
        return self.fit_masks(self._decode_hints(logits_Bhw.sigmoid()).logits_BKhw[:, 0])

    def _decode_hints(self, shares_Bhw: Tensor) -> DecodedMasks:
        hints_B1hw = hint_at_masks(resize(shares_Bhw[:, None], self._network.shape.image_px // 4))
        return self._network.decode_masks(
            self.features,
            self._first_sight(len(shares_Bhw)),
            *self._no_points(len(shares_Bhw)),
            hints_B1hw.to(self._network.dtype),
            multimask=False,
        )

    def _take_masks(self, prompts: list[MaskPrompt]) -> Settled:
        """Mask prompts are the answer, whole: no object pointer is wanted."""
        masks_B1hw = resize(self._fill_squares(prompts), self._mask_px)
        logits_B1hw = (2 * masks_B1hw - 1) * MASK_PROMPT_LOGIT
        present_B = torch.full((len(prompts),), MASK_PROMPT_LOGIT, device=self._network.device)
        return Settled(logits_B1hw, logits_B1hw, torch.ones_like(present_B), present_B, logits_B1hw)

    def _keep(self, numbers: list[int], settled: Settled, *, prompted: bool) -> None:
        for place, number in enumerate(numbers):
            self._shares_hw[number] = self.fit_masks(settled.logits_B1hw[place])[0].float().sigmoid()
            self._presence[number] = 1.0


def open_session(
    network: Sam2Network,
    by: FollowBy,
    *,
    max_batch: int = 32,
    max_prompted_frames: int = MAX_PROMPTED_FRAMES,
    judge: MaskJudge | None = None,
) -> Sam2Session:
    """A session that follows `by` SAM 2's own memory or by flow, which remembers no prompted frames."""
    if by == "flow":
        return FlowSession(network, max_batch=max_batch, judge=judge)
    return Sam2Session(network, max_batch=max_batch, max_prompted_frames=max_prompted_frames, judge=judge)
