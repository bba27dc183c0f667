"""SAM 2 as a stream: one frame in, the masks of all objects out, in memory that does not grow.

Image features are computed once a frame. Objects then go through memory attention, mask decoder and memory
encoder together; objects of different age have memories of different length, so there is one pass for each
length, and a single one as soon as all are older than the memory reaches. Every object gets the masks it
would get alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.assistants import NO_ASSISTANTS, Assistants
from tubelet.model.tracking.sam2.frame_view import FrameView
from tubelet.model.tracking.sam2.maps import (
    MASK_PROMPT_LOGIT,
    OUT_OF_SIGHT,
    encode_age,
    resize,
)
from tubelet.model.tracking.sam2.masks import FrameMasks, concatenate
from tubelet.model.tracking.sam2.memory import Memory, MemoryBank, Recall
from tubelet.model.tracking.sam2.network import DecodedMasks, Sam2Network
from tubelet.model.tracking.sam2.prompts import (
    LABEL_NONE,
    LabelledPoint,
    MaskPrompt,
    Prompt,
    check_prompt,
    list_points,
)

MAX_PROMPTED_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Settled:
    """One mask for each object, on the mask grid and on the picture's, and the pointer that goes with it.

    `logits_B1SS` is None where it is nothing but the other enlarged.
    """

    logits_B1hw: Tensor
    logits_B1SS: Tensor | None
    iou_B: Tensor
    presence_B: Tensor  # logit
    pointer_BC: Tensor


class Sam2Session:
    """The objects of one run of frames.

    Call `advance` with each frame, then, on the same frame, `add` for new objects and `retire` for lost
    ones. At most `max_batch` objects share a pass, which bounds the memory of a frame. Of the frames on which
    an object was prompted the latest `max_prompted_frames` are remembered, or fewer where the network says
    so.
    """

    def __init__(
        self,
        network: Sam2Network,
        *,
        max_batch: int = 32,
        max_prompted_frames: int = MAX_PROMPTED_FRAMES,
        assistants: Assistants = NO_ASSISTANTS,
    ) -> None:
        self._network = network
        self._assistants = assistants
        self._max_batch = max_batch
        limit = network.shape.max_conditioning
        self._max_conditioning = min(limit, max_prompted_frames) if limit > 0 else max_prompted_frames
        self._banks: dict[int, MemoryBank] = {}
        self._mask_px = network.shape.image_px // 4
        self._frame = -1
        self._size = (0, 0)
        self._view: FrameView | None = None
        self._memory_position_NM = network.locate_memory()

    @property
    def numbers(self) -> tuple[int, ...]:
        """The objects being followed."""
        return tuple(self._banks)

    @property
    def hidden(self) -> frozenset[int]:
        """The objects that are known to be out of sight; none where nothing tells."""
        return frozenset()

    @property
    def view(self) -> FrameView:
        """What is seen in the current frame."""
        if self._view is None:
            raise InputError("No frame was given yet", expected="a call of `advance` first")
        return self._view

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        return self._size

    def make_blank(self) -> Tensor:
        """An empty mask on the session's grid, (h, w)."""
        return torch.zeros(self._mask_px, self._mask_px, dtype=torch.bool, device=self._network.device)

    def fit_masks(self, logits_Bhw: Tensor) -> Tensor:
        """Mask logits of the network on the session's grid."""
        return resize(logits_Bhw[:, None], self._mask_px)[:, 0]

    @property
    def frame(self) -> int:
        """The number of the current frame, from 0; -1 before the first."""
        return self._frame

    @property
    def num_memories(self) -> int:
        """Tensors held in all memory banks; bounded by the number of objects."""
        return sum(map(len, self._banks.values()))

    @torch.inference_mode()
    def advance(self, image: Image, view: FrameView | None = None) -> FrameMasks:
        """Go to the next frame, (height, width, 3) RGB, and find every object in it.

        `view` is what another session of the same network has seen in it, so that it is not looked at twice.
        Raises InputError when the size differs from the first frame's, ModelError when the image features
        are not finite.
        """
        size = image.shape[0], image.shape[1]
        if self._frame >= 0 and size != self._size:
            raise InputError(
                f"A frame of {size[1]} x {size[0]} follows frames of {self._size[1]} x {self._size[0]}",
                expected="one size in a run of frames",
                do="begin a new session where the size changes",
            )
        self._size = size
        self._frame += 1
        self._view = view or FrameView(self._network, image, number=self._frame, assistants=self._assistants)
        return self._in_order(self._follow_all(image))

    @torch.inference_mode()
    def add(self, prompts: Mapping[int, Prompt]) -> FrameMasks:
        """Begin to follow objects on the current frame, or set right objects that are followed already.

        The numbers are the caller's. Raises InputError for a prompt outside the frame.
        """
        for prompt in prompts.values():
            check_prompt(prompt, *self._size)
        for number in prompts:  # before the batches, which have another order
            self._banks.setdefault(number, self._make_bank())
        found = []
        for numbers in _batch_prompts(prompts, self._size, self._max_batch):
            chosen = [prompts[number] for number in numbers]
            settled = self._answer(chosen)
            self._keep(numbers, settled, prompted=True)
            found.append(self._publish(numbers, settled))
        return self._in_order(found, tuple(prompts))

    @torch.inference_mode()
    def look(self, prompts: Sequence[Prompt]) -> FrameMasks:
        """What `add` would answer, numbered by place, without following anything."""
        numbered = dict(enumerate(prompts))
        for prompt in prompts:
            check_prompt(prompt, *self._size)
        found = [
            self._publish(places, self._answer([numbered[place] for place in places]))
            for places in _batch_prompts(numbered, self._size, self._max_batch)
        ]
        return self._in_order(found, tuple(numbered))

    @torch.inference_mode()
    def look_at_points(self, points_B2: Tensor) -> DecodedMasks:
        """The three masks for each single point, in pixels of the frame; K = 3."""
        labels_B1 = torch.ones(len(points_B2), 1, dtype=torch.int32, device=self._network.device)
        return self._decode(
            self._first_sight(len(points_B2)), self._scale(points_B2[:, None]), labels_B1, True
        )

    def retire(self, numbers: Iterable[int]) -> None:
        """Stop following objects and free their memory."""
        for number in numbers:
            del self._banks[number]

    # -- one pass over a batch ------------------------------------------------------------------------

    def _follow_all(self, image: Image) -> list[FrameMasks]:
        """All objects in this frame, in parts."""
        self.view.features  # noqa: B018 - at once: what is not finite is told here
        recalls = {number: bank.recall(self._frame) for number, bank in self._banks.items()}
        by_layout = sorted(recalls, key=lambda number: recalls[number].layout)
        return [
            self._follow(part, [recalls[number] for number in part])
            for _, group in groupby(by_layout, key=lambda number: recalls[number].layout)
            for part in split(list(group), self._max_batch)
        ]

    def _follow(self, numbers: list[int], recalls: list[Recall]) -> FrameMasks:
        """Find objects whose memories have one layout."""
        memory_BTM, position_BTM, num_pointer_tokens = self._lay_out(recalls)
        coarse_BCHW = self._network.attend_memory(
            self.view.features, memory_BTM, position_BTM, num_pointer_tokens
        )
        points_B12, labels_B1 = self._no_points(len(numbers))
        multimask = self._network.shape.multimask_when_following
        settled = self._settle(self._decode(coarse_BCHW, points_B12, labels_B1, multimask))
        self._keep(numbers, settled, prompted=False)
        return self._publish(numbers, settled)

    def _lay_out(self, recalls: list[Recall]) -> tuple[Tensor, Tensor, int]:
        """Memory tokens, their position codes, and how many of the last ones are pointers."""
        network = self._network
        num_objects, first = len(recalls), recalls[0]
        spatial_BTM = torch.stack([torch.cat(recall.spatial) for recall in recalls]).to(network.dtype)
        # A conditioning memory has age 0 and takes the last of the learned codes.
        spatial_position_TM = torch.cat(
            [self._memory_position_NM + network.learned.memory_age_LM[age - 1] for age in first.spatial_ages]
        )

        num_memory_channels = spatial_BTM.shape[2]
        pointers_BLC = torch.stack([torch.stack(recall.pointers) for recall in recalls])
        num_splits = pointers_BLC.shape[2] // num_memory_channels
        pointers_BTM = pointers_BLC.reshape(num_objects, -1, num_memory_channels)
        ages_BL = torch.tensor([recall.pointer_ages for recall in recalls], device=network.device)
        code = encode_age(ages_BL.flatten() / network.shape.num_pointers, pointers_BLC.shape[2])
        age_BLM = network.project_age(code.to(network.dtype)).view(*ages_BL.shape, num_memory_channels)
        return (
            torch.cat([spatial_BTM, pointers_BTM], dim=1),
            torch.cat(
                [
                    spatial_position_TM.expand(num_objects, -1, -1),
                    age_BLM.repeat_interleave(num_splits, dim=1),
                ],
                dim=1,
            ),
            pointers_BTM.shape[1],
        )

    def _answer(self, prompts: list[Prompt]) -> Settled:
        """Masks for prompts of one kind, from this frame alone."""
        if isinstance(prompts[0], MaskPrompt):
            return self._take_masks([prompt for prompt in prompts if isinstance(prompt, MaskPrompt)])
        listed = [
            list_points(prompt, *self._size) for prompt in prompts if not isinstance(prompt, MaskPrompt)
        ]
        points_BP2, labels_BP = self._as_tensors(listed)
        multimask = labels_BP.shape[1] in self._network.shape.multimask_points
        return self._settle(self._decode(self._first_sight(len(prompts)), points_BP2, labels_BP, multimask))

    def _take_masks(self, prompts: list[MaskPrompt]) -> Settled:
        """Mask prompts are the answer; the decoder is asked for object pointers only, where these count."""
        network = self._network
        side = network.shape.image_px
        masks_B1SS = self._fill_squares(prompts)
        points_B12, labels_B1 = self._no_points(len(prompts))
        coarse_BCHW = self.view.features.coarse_1CHW.expand(len(prompts), -1, -1, -1)
        as_meta = network.shape.mask_prompts == "meta"
        decoded = network.decode_masks(
            self.view.features,
            coarse_BCHW,
            points_B12,
            labels_B1,
            network.shrink_mask(masks_B1SS),
            multimask=not as_meta,
        )
        logits_B1SS = (2 * masks_B1SS - 1) * MASK_PROMPT_LOGIT
        logits_B1hw = resize(logits_B1SS, side // 4).to(network.dtype)
        if as_meta:
            logits_B1SS = resize(logits_B1hw, side, antialias=False).to(network.dtype)
        presence_B = torch.full_like(decoded.presence_B, MASK_PROMPT_LOGIT)
        return Settled(
            logits_B1hw=logits_B1hw,
            logits_B1SS=logits_B1SS,
            iou_B=torch.ones_like(presence_B),
            presence_B=presence_B,
            pointer_BC=self._settle(decoded).pointer_BC,
        )

    def _fill_squares(self, prompts: list[MaskPrompt]) -> Tensor:
        """Mask prompts on the picture's grid, (B, 1, S, S), 0 or 1."""
        masks_B1HW = torch.from_numpy(np.stack([prompt.mask for prompt in prompts]))[:, None]
        masks_B1SS = resize(masks_B1HW.to(self._network.device).float(), self._network.shape.image_px)
        # A thing of a pixel or two would vanish on a coarser grid: keep the cells that it touches most.
        is_most_B1SS = masks_B1SS >= masks_B1SS.amax((2, 3), keepdim=True)
        return ((masks_B1SS >= 0.5) | is_most_B1SS).to(self._network.dtype)

    def _decode(
        self, coarse_BCHW: Tensor, points_BP2: Tensor, labels_BP: Tensor, multimask: bool
    ) -> DecodedMasks:
        return self._network.decode_masks(
            self.view.features, coarse_BCHW, points_BP2, labels_BP, None, multimask=multimask
        )

    def _settle(self, decoded: DecodedMasks) -> Settled:
        """The best mask by predicted IoU; an object out of sight has none."""
        best_B = decoded.iou_BK.argmax(1)
        rows_B = torch.arange(len(best_B), device=best_B.device)
        seen_B1 = (decoded.presence_B > 0)[:, None]
        logits_Bhw = torch.where(seen_B1[:, :, None], decoded.logits_BKhw[rows_B, best_B], OUT_OF_SIGHT)
        pointer_BC = self._network.project_pointer(decoded.tokens_BKC[rows_B, best_B])
        return Settled(
            logits_B1hw=logits_Bhw[:, None],
            logits_B1SS=None,
            iou_B=decoded.iou_BK[rows_B, best_B],
            presence_B=decoded.presence_B,
            pointer_BC=torch.where(seen_B1, pointer_BC, self._network.learned.no_pointer_C),
        )

    def _keep(self, numbers: list[int], settled: Settled, *, prompted: bool) -> None:
        """Encode the masks into memories of this frame, and file them."""
        network = self._network
        shape = network.shape
        large_B1SS = settled.logits_B1SS
        if large_B1SS is None:
            large_B1SS = resize(settled.logits_B1hw, shape.image_px, antialias=False).to(network.dtype)
        soft_B1SS = (large_B1SS > 0).to(network.dtype) if prompted else large_B1SS.sigmoid()
        memory_BNM = network.encode_memory(
            self.view.features, soft_B1SS * shape.memory_mask_scale + shape.memory_mask_bias
        )
        if network.learned.occlusion_M is not None:
            hidden_B11 = (settled.presence_B <= 0).to(network.dtype)[:, None, None]
            memory_BNM = memory_BNM + hidden_B11 * network.learned.occlusion_M
        for place, number in enumerate(numbers):
            # bfloat16 whatever the network's format: as both libraries do, and half the memory. Copies, so
            # that an object does not keep its whole batch alive.
            spatial_NM = memory_BNM[place].to(torch.bfloat16, copy=True)
            memory = Memory(self._frame, spatial_NM, settled.pointer_BC[place].clone())
            if prompted:
                self._banks[number].condition(memory)
            else:
                self._banks[number].remember(memory)

    # -- small parts ----------------------------------------------------------------------------------

    def _make_bank(self) -> MemoryBank:
        shape = self._network.shape
        return MemoryBank(
            num_spatial=shape.num_spatial_memories,
            num_pointers=shape.num_pointers,
            max_conditioning=self._max_conditioning,
        )

    def _first_sight(self, num_objects: int) -> Tensor:
        """Coarse features of this frame as an object without memory sees them, (B, C, H, W)."""
        plain = self.view.features.coarse_1CHW + self._network.learned.no_memory_C[:, None, None]
        return plain.expand(num_objects, -1, -1, -1)

    def _as_tensors(self, listed: list[list[LabelledPoint]]) -> tuple[Tensor, Tensor]:
        device = self._network.device
        points = torch.tensor([[(p.x, p.y) for p in points] for points in listed], device=device)
        labels = torch.tensor([[p.label for p in points] for points in listed], device=device)
        return self._scale(points), labels.int()

    def _no_points(self, num_objects: int) -> tuple[Tensor, Tensor]:
        device, dtype = self._network.device, self._network.dtype
        points_B12 = torch.zeros(num_objects, 1, 2, device=device, dtype=dtype)
        return points_B12, torch.full((num_objects, 1), LABEL_NONE, dtype=torch.int32, device=device)

    def _scale(self, points_BP2: Tensor) -> Tensor:
        """Pixels of the frame to pixels of the square picture."""
        height, width = self._size
        ratio = self._network.shape.image_px / torch.tensor([width, height], dtype=torch.float32)
        return points_BP2.to(self._network.device) * ratio.to(self._network.device)

    def _publish(self, numbers: list[int], settled: Settled) -> FrameMasks:
        return FrameMasks(
            tuple(numbers),
            self.fit_masks(settled.logits_B1hw[:, 0]),
            settled.presence_B.float().sigmoid(),
            settled.iou_B,
        )

    def _in_order(self, found: list[FrameMasks], numbers: tuple[int, ...] | None = None) -> FrameMasks:
        """The parts in one, in the order of `numbers`, or in which the objects were added."""
        if not found:
            nothing = torch.zeros(0, device=self._network.device)
            return FrameMasks((), nothing.new_zeros(0, self._mask_px, self._mask_px), nothing, nothing)
        together = concatenate(found)
        places = {number: place for place, number in enumerate(together.numbers)}
        return together.select([places[number] for number in (numbers or self.numbers)])


def split(numbers: list[int], size: int) -> list[list[int]]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _batch_prompts(prompts: Mapping[int, Prompt], size: tuple[int, int], max_batch: int) -> list[list[int]]:
    """Numbers of prompts that fit into one pass: masks with masks, as many points with as many."""

    def kind(number: int) -> int:
        prompt = prompts[number]
        return 0 if isinstance(prompt, MaskPrompt) else len(list_points(prompt, *size))

    ordered = sorted(prompts, key=kind)
    return [part for _, group in groupby(ordered, key=kind) for part in split(list(group), max_batch)]
