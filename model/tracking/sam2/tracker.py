"""The tracker `sam2`: discovers objects by itself and follows their masks for as long as the video lasts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tubelet.errors import SettingsError, VideoFormatError
from tubelet.model.frame import Frame
from tubelet.model.masks import mask_box
from tubelet.model.tracking.base import TrackedFrame, TrackedObject, Tracker, make_cap_warning
from tubelet.model.tracking.motion import MotionTracker
from tubelet.model.tracking.sam2.candidates import (
    Candidate,
    MotionWatch,
    choose_corrections,
    choose_new,
    choose_replacements,
    from_boxes,
    from_masks,
    from_motion,
    list_covered,
    take_motion,
)
from tubelet.model.tracking.sam2.detector import Detector
from tubelet.model.tracking.sam2.discovery import discover
from tubelet.model.tracking.sam2.flow_session import open_session
from tubelet.model.tracking.sam2.judge import JUDGE_FILE, MaskJudge, read_judge
from tubelet.model.tracking.sam2.masks import FrameMasks, measure_iou
from tubelet.model.tracking.sam2.matching import ObjectMatcher, read_matcher
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.proposing import PROPOSER_FILE, BoxProposer, read_proposer
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine_in_turn
from tubelet.model.tracking.sam2.settings import TrackerSettings, read_settings
from tubelet.model.tracking.sam2.weights import find_folder, load_network, name_checkpoint
from tubelet.records import Observation

_SAME_TIME_S = 1e-6
_STILL_SHARE = 0.001
"""A camera that moves the picture by less than this share of its longer side stands still."""
_STILL_S = 2.0
_GONE_S = 0.3


class Sam2Tracker:
    """Follows whatever moves or stands out, through occlusion, and notices what is new.

    Candidates come from `motion`, a tracker that needs no network and sees what moves; from SAM 2 itself,
    asked on a grid of points in key frames; and from a `detector`, if one is given. Frames are held back as
    long as `motion` does.
    """

    def __init__(
        self,
        network: Sam2Network,
        *,
        name: str = "sam2@unnamed",
        settings: TrackerSettings | None = None,
        motion: Tracker | None = None,
        detector: Detector | None = None,
        judge: MaskJudge | None = None,
        matcher: ObjectMatcher | None = None,
        proposer: BoxProposer | None = None,
    ) -> None:
        self._network = network
        self._judge = judge
        self._matcher = matcher
        self._proposer = proposer
        self.settings = settings or TrackerSettings()
        if self.settings.refine_every and judge is None:
            raise SettingsError(
                "The tracker is to refine masks, and its checkpoint has no judge of masks",
                expected=f"{JUDGE_FILE} beside config.json, or refine_every 0",
                do="take the folder's files from one checkpoint, or correct tracker.json",
            )
        if self.settings.discovery is not None and self.settings.discovery.use_boxes and proposer is None:
            raise SettingsError(
                "The tracker is to search proposed boxes, and its checkpoint has no proposer",
                expected=f"{PROPOSER_FILE} beside config.json, or discovery with use_boxes false",
                do="take the folder's files from one checkpoint, or correct tracker.json",
            )
        self._motion = motion or MotionTracker()
        self._detector = detector
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_context_frames(self) -> int:
        return self._motion.num_context_frames

    def track(self, frames: Iterable[Frame], context: Sequence[Frame]) -> Iterator[TrackedFrame]:
        """Yield every frame with its objects.

        Raises VideoFormatError when the frames do not all have one size, ModelError when the network gives
        what is not a number.
        """
        run = _Run(self._network, self.settings, self._detector, self._judge, self._matcher, self._proposer)
        for tracked in self._motion.track(_check_sizes(frames), context):
            objects = run.step(tracked)
            yield TrackedFrame(tracked.frame, objects, tracked.camera, warnings=run.take_warnings())


def make_tracker(
    checkpoint: str | Path,
    *,
    device: str = "",
    backend: Literal["transformers", "meta"] = "transformers",
    settings: TrackerSettings | None = None,
    detector: Detector | None = None,
    shrink: int = 0,
) -> Sam2Tracker:
    """The tracker with the weights of a checkpoint, a folder or a name as in `load_network`.

    Without `settings`, those that the checkpoint's folder carries (`read_settings`), or the usual ones.
    `shrink` halves how many objects share a pass, so many times; what is tracked does not depend on it.
    Without `device`, the first GPU if there is one. Weights are bfloat16 on a GPU, float32 on a processor;
    Meta's own code, which must be installed, always runs in float32.
    """
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = find_folder(checkpoint)
    network: Sam2Network
    if backend == "meta":
        from tubelet.model.tracking.sam2.meta_backend import load_meta_network

        network = load_meta_network(folder, device=chosen)
    else:
        dtype = torch.bfloat16 if chosen.type == "cuda" else torch.float32
        network = load_network(folder, device=chosen, dtype=dtype)
    settings = settings or read_settings(folder)
    settings = replace(settings, max_batch=max(1, settings.max_batch >> shrink))
    return Sam2Tracker(
        network,
        name=name_checkpoint(folder),
        settings=settings,
        detector=detector,
        judge=read_judge(folder),
        matcher=read_matcher(folder),
        proposer=read_proposer(folder),
    )


@dataclass(slots=True)
class _Life:
    """Since when an object has been out of sight, or None, when motion last saw it, and whether motion's mask
    of it is taken."""

    absent_since_s: float | None = None
    moved_at_s: float | None = None
    takes_motion: bool = True


class _Run:
    """The objects of one call of `track`."""

    def __init__(
        self,
        network: Sam2Network,
        settings: TrackerSettings,
        detector: Detector | None,
        judge: MaskJudge | None,
        matcher: ObjectMatcher | None,
        proposer: BoxProposer | None,
    ) -> None:
        self._session = open_session(
            network,
            settings.follow_by,
            max_batch=settings.max_batch,
            max_prompted_frames=settings.max_prompted_frames,
            judge=judge,
            matcher=matcher,
            proposer=proposer,
        )
        self._settings = settings
        self._detector = detector
        self._numbers = count()
        self._lives: dict[int, _Life] = {}
        self._motion_watch = MotionWatch()
        self._stretch = -1
        self._is_first = True
        self._has_warned = False
        self._camera_moved_at_s = -math.inf
        self._warnings: list[str] = []

    def step(self, tracked: TrackedFrame) -> tuple[TrackedObject, ...]:
        """Follow all objects into this frame, which motion has seen, drop the lost, add the new."""
        frame, moving = tracked.frame, tracked.objects
        self._note_camera(tracked)
        followed = self._session.advance(frame.image)
        followed = self._retire(followed, frame.time_s)
        moved = self._match_motion(followed, moving, frame.time_s)
        followed = self._refine(followed, moved, frame.time_s)
        is_key = self._begins_stretch(frame.time_s)
        sure, unsure = self._motion_watch.choose(moving, is_key=is_key)
        candidates = from_motion(self._session, sure, is_sure=True, refining=self._refining)
        if self._settings.reprompt_from_motion:
            followed = self._set_right(candidates, followed)
        if self._settings.motion_masks:
            followed = self._take_motion_masks(followed, moved, frame.time_s)
        is_sure = self._settings.motion_masks
        candidates += from_motion(self._session, unsure, is_sure=is_sure, refining=self._refining)
        if is_key:
            followed, found = self._search(frame, followed, moved)
            candidates += found
        added = self._add_new(candidates, self._leave_out_hidden(followed).binary_Bhw.any(0))
        return (*_observe(followed, frame, self._settings), *_observe(added, frame, self._settings))

    def _retire(self, followed: FrameMasks, time_s: float) -> FrameMasks:
        """Drop what has been away for too long, and what has become a copy; return the rest."""
        in_sight = _in_sight(followed, self._settings)
        lost = set()
        for number, seen in zip(followed.numbers, in_sight, strict=True):
            life = self._lives[number]
            if seen and not self._has_left(number, time_s):
                life.absent_since_s = None
            elif life.absent_since_s is None:
                life.absent_since_s = time_s
            elif time_s - life.absent_since_s >= self._settings.max_absent_s:
                lost.add(number)
        shown = self._leave_out_hidden(followed)
        masks_Bhw = shown.binary_Bhw
        copies_BB = (measure_iou(masks_Bhw, masks_Bhw) > self._settings.max_duplicate_iou).triu(1)
        lost.update(shown.numbers[place] for place in copies_BB.any(0).nonzero().flatten().tolist())
        self._session.retire(lost)
        for number in lost:
            del self._lives[number]
        return followed.select([place for place, number in enumerate(followed.numbers) if number not in lost])

    def _leave_out_hidden(self, followed: FrameMasks) -> FrameMasks:
        """Without the masks of objects that are out of sight by the matcher's word."""
        hidden = self._session.hidden
        return followed.select(
            [place for place, number in enumerate(followed.numbers) if number not in hidden]
        )

    @property
    def _refining(self) -> RefiningSettings | None:
        """How the judge decides between masks, if it is to."""
        return self._settings.refining if self._settings.refine_every else None

    def _match_motion(
        self, followed: FrameMasks, moving: Sequence[TrackedObject], time_s: float
    ) -> Mapping[int, Candidate]:
        """The masks that motion has of objects, if they are to be taken; and notes which of those it once
        saw it sees still, if only as one with others."""
        if not self._settings.motion_masks:
            return {}
        seen = take_motion(self._session, [item.observation for item in moving])
        for number in list_covered([item.mask_hw for item in seen], followed):
            if self._lives[number].moved_at_s is not None:
                self._lives[number].moved_at_s = time_s
        return choose_corrections(seen, followed, 1.0)

    def _refine(self, followed: FrameMasks, moved: Mapping[int, Candidate], time_s: float) -> FrameMasks:
        """Set masks right every few frames, and note whose mask of motion is not to be taken.

        Before a camera that stands still motion knows whether what it saw is in sight.
        """
        refined = refine_in_turn(
            self._session,
            followed,
            every=self._settings.refine_every,
            settings=self._settings.refining,
            moved_hw={number: candidate.mask_hw for number, candidate in moved.items()},
            bonus=self._motion_bonus(time_s),
            never_lost=[
                number
                for number, life in self._lives.items()
                if life.moved_at_s is not None and self._is_still(time_s)
            ],
        )
        for number, suits in refined.suits_motion.items():
            self._lives[number].takes_motion = suits
        return refined.masks

    def _set_right(self, candidates: Sequence[Candidate], followed: FrameMasks) -> FrameMasks:
        """Prompt objects anew where motion sees them elsewhere; returns the masks as they are now."""
        return self._prompt(
            choose_corrections(candidates, followed, self._settings.max_drifted_iou), followed
        )

    def _prompt(self, corrections: Mapping[int, Candidate], followed: FrameMasks) -> FrameMasks:
        """Prompt objects that are followed already; returns the masks as they are now."""
        prompts = {number: candidate.prompt for number, candidate in corrections.items()}
        return followed.replace(self._session.add(prompts)) if prompts else followed

    def _take_motion_masks(
        self, followed: FrameMasks, moved: Mapping[int, Candidate], time_s: float
    ) -> FrameMasks:
        """Give what motion sees its masks, and hide what motion once saw and now does not."""
        for number in moved:
            self._lives[number].moved_at_s = time_s
        taken = {number: item for number, item in moved.items() if self._lives[number].takes_motion}
        followed = self._prompt(taken, followed)
        return followed.select(
            [place for place, number in enumerate(followed.numbers) if not self._has_left(number, time_s)]
        )

    def _note_camera(self, tracked: TrackedFrame) -> None:
        """Remember when the camera last moved."""
        a, b, c, d, e, f = tracked.camera.matrix
        size = max(tracked.frame.source_width, tracked.frame.source_height)
        turned = max(abs(a - 1), abs(b), abs(d), abs(e - 1)) * size / 2
        if max(abs(c), abs(f), turned) > _STILL_SHARE * size:
            self._camera_moved_at_s = tracked.frame.time_s

    def _has_left(self, number: int, time_s: float) -> bool:
        """Whether motion, before a camera that stands still, no longer sees what it saw before."""
        seen_at_s = self._lives[number].moved_at_s
        if seen_at_s is None or time_s - seen_at_s <= _GONE_S:
            return False
        return self._is_still(time_s)

    def _is_still(self, time_s: float) -> bool:
        """Whether the camera has stood still for a while."""
        return time_s - self._camera_moved_at_s > _STILL_S

    def _motion_bonus(self, time_s: float) -> float:
        """How much better than the judge says a mask of motion is taken to be."""
        refining = self._settings.refining
        return refining.still_bonus if self._is_still(time_s) else refining.motion_bonus

    def _search(
        self, frame: Frame, followed: FrameMasks, moved: Mapping[int, Candidate]
    ) -> tuple[FrameMasks, list[Candidate]]:
        """What a detector and SAM 2 itself find in a key frame; the first one of a run is searched wholly.

        Weak masks are searched too, and may give way to what is found there.
        """
        refining = self._settings.refining
        judged_B = self._judge_followed(followed, moved, frame.time_s)
        strong = [
            place
            for place, (number, judged) in enumerate(zip(followed.numbers, judged_B, strict=True))
            if judged >= refining.weak and number not in self._session.hidden
        ]
        candidates = []
        if self._detector is not None:
            candidates += from_boxes(self._session, self._detector.detect(frame))
        if self._settings.discovery is not None:
            turn = None if self._is_first else self._stretch
            covered_hw = followed.select(strong).binary_Bhw.any(0)
            found = discover(self._session, self._settings.discovery, followed_hw=covered_hw, turn=turn)
            candidates += from_masks(self._session, found)
        self._is_first = False
        replacements = choose_replacements(candidates, followed, judged_B, refining)
        self._session.retire(replacements)  # what was known of them was wrong
        for number in replacements:
            self._lives[number].takes_motion = False
        return self._prompt(replacements, followed), candidates

    def _judge_followed(
        self, followed: FrameMasks, moved: Mapping[int, Candidate], time_s: float
    ) -> list[float]:
        """What the judge gives each mask, with the bonus of motion; 1, the best, where it is not asked."""
        if self._refining is None:
            return [1.0] * len(followed)
        bonus = self._motion_bonus(time_s)
        return [
            judged + bonus if number in moved and self._lives[number].takes_motion else judged
            for number, judged in zip(
                followed.numbers, self._session.view.judge(followed.binary_Bhw).tolist(), strict=True
            )
        ]

    def _add_new(self, candidates: Sequence[Candidate], covered_hw: Tensor) -> FrameMasks:
        """Begin to follow the candidates that no live mask covers."""
        new = choose_new(candidates, covered_hw, self._settings.max_covered)
        num_free = self._settings.max_num_objects - len(self._lives)
        if len(new) > num_free:
            self._warn_of_cap()
        prompts = {next(self._numbers): candidate.prompt for candidate in new[:num_free]}
        self._lives.update((number, _Life()) for number in prompts)
        return self._session.add(prompts)

    def _begins_stretch(self, time_s: float) -> bool:
        """Whether this is a key frame: the first of the run, or of a stretch of `key_every_s` of the video.

        Stretches lie on one grid for the whole video: runs that begin elsewhere search the same frames.
        """
        every_s = self._settings.key_every_s
        stretch = int((time_s + _SAME_TIME_S) // every_s) if every_s > 0 else self._stretch + 1
        begins = stretch != self._stretch
        self._stretch = stretch
        return begins

    def take_warnings(self) -> tuple[str, ...]:
        """What there is to say since the last call."""
        warnings, self._warnings = tuple(self._warnings), []
        return warnings

    def _warn_of_cap(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warnings.append(make_cap_warning(self._settings.max_num_objects))


def _in_sight(seen: FrameMasks, settings: TrackerSettings) -> list[bool]:
    areas_B = seen.binary_Bhw.float().mean((1, 2))
    return [
        score >= settings.min_score and area >= settings.min_area_share
        for score, area in zip(seen.scores(), areas_B.tolist(), strict=True)
    ]


def _observe(seen: FrameMasks, frame: Frame, settings: TrackerSettings) -> list[TrackedObject]:
    """The objects in sight, with masks over the source frame."""
    in_sight = _in_sight(seen, settings)
    seen = seen.select([place for place, is_seen in enumerate(in_sight) if is_seen])
    masks = seen.encode(frame.source_height, frame.source_width)
    return [
        TrackedObject(number, Observation(frame.time_s, box, score, mask))
        for number, mask, score in zip(seen.numbers, masks, seen.scores(), strict=True)
        if (box := mask_box(mask)).area > 0
    ]


def _check_sizes(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Pass the frames on while they have one size."""
    first: Frame | None = None
    for frame in frames:
        first = first or frame
        sizes = [(item.image.shape, item.source_width, item.source_height) for item in (first, frame)]
        if sizes[0] != sizes[1]:
            height, width = frame.image.shape[:2]
            raise VideoFormatError(
                f"The frame at {frame.time_s:.3f} s is {width} x {height} pixels",
                expected=f"{first.image.shape[1]} x {first.image.shape[0]}, as in the first frame of the run",
                do="split the video where its size changes",
            )
        yield frame
