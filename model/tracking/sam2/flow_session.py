"""A session that follows by optical flow: for small networks whose memory attention was never learnt well."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.assistants import NO_ASSISTANTS, Assistants
from tubelet.model.tracking.sam2.carrying import MASK_PX, MaskCarrier
from tubelet.model.tracking.sam2.engine import MAX_PROMPTED_FRAMES, Sam2Session, Settled, split
from tubelet.model.tracking.sam2.judge import GRID
from tubelet.model.tracking.sam2.maps import MASK_PROMPT_LOGIT, hint_at_masks, resize
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.matching import find_alike
from tubelet.model.tracking.sam2.network import DecodedMasks, Sam2Network
from tubelet.model.tracking.sam2.prompts import MaskPrompt

FollowBy = Literal["memory", "flow"]

LOOK_EVERY = 3
"""Frames from one look at carried masks to the next. Others are encoded only where something asks."""
MIN_SHARE = 1e-4
"""Shares of cells are kept this far from 0 and 1 where they are turned into logits."""


class FlowSession(Sam2Session):
    """Masks are carried along the optical flow, on a grid finer than the network's.

    One mask an object is all that is remembered, and with a `matcher` what was measured of it when it was
    last trusted. Whether an object is still there its user says then (`hide`, `put`); without a matcher the
    mask decoder, which is shown the carried masks every third frame.
    """

    def __init__(
        self,
        network: Sam2Network,
        *,
        max_batch: int = 32,
        assistants: Assistants = NO_ASSISTANTS,
    ) -> None:
        super().__init__(network, max_batch=max_batch, assistants=assistants)
        self._mask_px = MASK_PX
        self._carrier = MaskCarrier()
        self._shares_hw: dict[int, Tensor] = {}
        self._presence: dict[int, float] = {}
        self._known_X: dict[int, Tensor] = {}
        self._hidden: set[int] = set()
        self._familiar: set[int] = set()

    @property
    def has_matcher(self) -> bool:
        """Whether `match` and `find_alike` can be asked."""
        return self._assistants.matcher is not None

    @property
    def hidden(self) -> frozenset[int]:
        """The objects that are out of sight: their masks are carried on, for what they are worth."""
        return frozenset(self._hidden)

    def hide(self, number: int) -> None:
        """The object is out of sight, until `put` or `add` gives it a mask or `show` says otherwise."""
        self._hidden.add(number)

    def show(self, number: int) -> None:
        """The object is in sight, under its carried mask."""
        self._hidden.discard(number)

    def hide_hidden(self, followed: FrameMasks) -> FrameMasks:
        """The masks with those of hidden objects marked as out of sight."""
        if not self._hidden:
            return followed
        shown_B = followed.presence_B.new_tensor([float(n not in self._hidden) for n in followed.numbers])
        return replace(followed, presence_B=followed.presence_B * shown_B)

    @property
    def familiar(self) -> frozenset[int]:
        """The objects that the matcher has known again at least once."""
        return frozenset(self._familiar)

    def remember(self, number: int, measured_X: Tensor, *, was_matched: bool) -> None:
        """Know the object by what was measured of its mask, which the matcher or another vouches for."""
        self._known_X[number] = measured_X
        if was_matched:
            self._familiar.add(number)

    def match(self, number: int, measured_BX: Tensor) -> Tensor:
        """How well each mask outlines this very object, 0..1, (B,): a guess of its IoU."""
        assert self._assistants.matcher is not None, "the session was given a matcher"
        return self._assistants.matcher.match(self._known_X[number][None], measured_BX)

    def find_alike(self, number: int, count: int) -> Tensor:
        """Where the frame looks like the inside of the object: up to `count` points, (P, 2) in pixels."""
        height, width = self.size
        cells = find_alike(self.view.measured_maps_CN, self._known_X[number], GRID, count)
        return (cells + 0.5) / GRID * torch.tensor([width, height])

    @property
    def num_memories(self) -> int:
        return len(self._shares_hw)

    def put(self, logits_hw: Mapping[int, Tensor]) -> FrameMasks:
        """Replace the carried masks of some objects, by logits on the session's grid: they are in sight."""
        self._hidden.difference_update(logits_hw)
        self._shares_hw.update({number: mask_hw.sigmoid() for number, mask_hw in logits_hw.items()})
        sure_B = torch.ones(len(logits_hw), device=self._network.device)
        return FrameMasks(tuple(logits_hw), torch.stack(list(logits_hw.values())), sure_B, sure_B)

    def retire(self, numbers: Iterable[int]) -> None:
        numbers = list(numbers)
        super().retire(numbers)
        for number in numbers:
            self._shares_hw.pop(number, None)
            self._presence.pop(number, None)
            self._known_X.pop(number, None)
            self._hidden.discard(number)
            self._familiar.discard(number)

    def _follow_all(self, image: Image) -> list[FrameMasks]:
        self._carrier.look(image)
        if self._frame % LOOK_EVERY == 0:
            self._presence = {}
        return [self._carry(part) for part in split(list(self._banks), self._max_batch)]

    def _carry(self, numbers: list[int]) -> FrameMasks:
        """Masks where the flow takes them, and whether what lies there is the object, or any."""
        shares_Bhw = self._carrier.carry(torch.stack([self._shares_hw[number] for number in numbers]))
        self._shares_hw.update(zip(numbers, shares_Bhw.clone(), strict=True))
        if not self.has_matcher:
            self._see_presence(numbers, shares_Bhw)
            present = [self._presence[number] for number in numbers]
        else:
            present = [float(number not in self._hidden) for number in numbers]
        presence_B = shares_Bhw.new_tensor(present)
        return FrameMasks(
            tuple(numbers), torch.logit(shares_Bhw, MIN_SHARE), presence_B, torch.ones_like(presence_B)
        )

    def _see_presence(self, numbers: list[int], shares_Bhw: Tensor) -> None:
        """Ask the decoder whether what lies under carried masks is an object, where that is not known."""
        if any(number not in self._presence for number in numbers):
            seen = self._decode_hints(shares_Bhw).presence_B.float().sigmoid().tolist()
            self._presence.update(zip(numbers, seen, strict=True))

    def look_at_masks(self, logits_Bhw: Tensor) -> Tensor:
        """What the decoder makes of rough masks, logits on the session's grid."""
        return self.fit_masks(self._decode_hints(logits_Bhw.sigmoid()).logits_BKhw[:, 0])

    def _decode_hints(self, shares_Bhw: Tensor) -> DecodedMasks:
        hints_B1hw = hint_at_masks(resize(shares_Bhw[:, None], self._network.shape.image_px // 4))
        return self._network.decode_masks(
            self.view.features,
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
        return Settled(logits_B1hw, None, torch.ones_like(present_B), present_B, logits_B1hw)

    def _keep(self, numbers: list[int], settled: Settled, *, prompted: bool) -> None:
        for place, number in enumerate(numbers):
            self._shares_hw[number] = self.fit_masks(settled.logits_B1hw[place])[0].float().sigmoid()
            self._presence[number] = 1.0
        self._hidden.difference_update(numbers)
        new = [number for number in numbers if number not in self._known_X]
        if self.has_matcher and new:
            shares_Bhw = torch.stack([self._shares_hw[number] for number in new])
            self._known_X.update(zip(new, self.view.measure(shares_Bhw > 0.5), strict=True))


def open_session(
    network: Sam2Network,
    by: FollowBy,
    *,
    max_batch: int = 32,
    max_prompted_frames: int = MAX_PROMPTED_FRAMES,
    assistants: Assistants = NO_ASSISTANTS,
) -> Sam2Session:
    """A session that follows `by` SAM 2's own memory or by flow, which remembers no prompted frames."""
    if by == "flow":
        return FlowSession(network, max_batch=max_batch, assistants=assistants)
    return Sam2Session(
        network,
        max_batch=max_batch,
        max_prompted_frames=max_prompted_frames,
        assistants=assistants,
    )
