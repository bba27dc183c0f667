"""One run of the tracker `sam2`: which objects are followed, under which masks, from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from torch import Tensor

from tubelet.model.frame import Frame
from tubelet.model.tracking.base import TrackedFrame, TrackedObject, make_cap_warning
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.candidates import (
    Candidate,
    MotionWatch,
    choose_corrections,
    choose_new,
    choose_replacements,
    find_newcomers,
    from_boxes,
    from_masks,
    from_motion,
    list_covered,
    take_motion,
)
from tubelet.model.tracking.sam2.detector import Detector
from tubelet.model.tracking.sam2.discovery import discover
from tubelet.model.tracking.sam2.flow_session import open_session
from tubelet.model.tracking.sam2.masks import FrameMasks, concatenate
from tubelet.model.tracking.sam2.network import Sam2Network
from tubelet.model.tracking.sam2.past import Past, list_in_sight
from tubelet.model.tracking.sam2.prompts import Prompt
from tubelet.model.tracking.sam2.refining import RefiningSettings, can_refine, refine_in_turn
from tubelet.model.tracking.sam2.settings import TrackerSettings

_SAME_TIME_S = 1e-6
_STILL_SHARE = 0.001
"""A camera that moves the picture by less than this share of its longer side stands still."""
_STILL_S = 2.0
_GONE_S = 0.3


@dataclass(slots=True)
class _Life:
    """Since when an object has been out of sight, or None, when motion last saw it, and whether motion's mask
    of it is taken."""

    absent_since_s: float | None = None
    moved_at_s: float | None = None
    takes_motion: bool = True


class TrackingRun:
    """The objects of one call of `track`: `step` with each frame, and take what is ready from `past`."""

    def __init__(
        self,
        network: Sam2Network,
        settings: TrackerSettings,
        detector: Detector | None,
        assistants: Assistants,
    ) -> None:
        open_new = partial(
            open_session,
            network,
            settings.follow_by,
            max_batch=settings.max_batch,
            max_prompted_frames=settings.max_prompted_frames,
            assistants=assistants,
        )
        self._session = open_new()
        self.past = Past(settings, open_new)
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

    def step(self, tracked: TrackedFrame) -> None:
        """Follow all objects into this frame, which motion has seen, drop the lost, add the new."""
        frame, moving = tracked.frame, tracked.objects
        self._note_camera(tracked)
        followed = self._session.advance(frame.image)
        followed = self._retire(followed, frame.time_s)
        moved = self._match_motion(followed, moving, frame.time_s)
        followed = self._refine(followed, moved, frame.time_s)
        moved = {number: candidate for number, candidate in moved.items() if number in self._lives}
        is_key = self._begins_stretch(frame.time_s)
        sure, unsure = self._motion_watch.choose(moving, is_key=is_key)
        candidates = from_motion(self._session, sure, is_sure=True, refining=self._refining)
        if self._settings.reprompt_from_motion:
            followed = self._set_right(candidates, followed)
        if self._settings.motion_masks:
            followed = self._take_motion_masks(followed, moved, frame.time_s)
        is_sure = self._settings.motion_masks
        candidates += from_motion(self._session, unsure, is_sure=is_sure, refining=self._refining)
        from_others: list[Candidate] = []
        if is_key:
            followed, from_others = self._search(frame, followed, moved)
        covered_hw = self._leave_out_hidden(followed).binary_Bhw.any(0)
        new = self._choose_new(candidates, from_others, covered_hw)
        masks = concatenate([followed, self._session.add(new)])
        self.past.add(
            replace(tracked, warnings=self._take_warnings()),
            masks,
            self._session.view,
            hidden=self._session.hidden,
            is_check=can_refine(self._session, self._settings.refine_every),
        )
        if new and self._settings.tracing.back_s:
            self._end(number for number in self.past.trace(new) if number in self._lives)

    def _end(self, numbers: Iterable[int]) -> None:
        """Follow some objects no longer."""
        numbers = list(numbers)
        self._session.retire(numbers)
        for number in numbers:
            del self._lives[number]

    def _retire(self, followed: FrameMasks, time_s: float) -> FrameMasks:
        """Drop what has been away for too long, and what has become a copy; return the rest."""
        in_sight = list_in_sight(followed, self._settings)
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
        lost |= find_newcomers(shown, shown, self._settings.max_duplicate_iou)
        self._end(lost)
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

        Before a camera that stands still motion knows whether what it saw is in sight. What comes upon the
        mask of another is not followed on.
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
        masks = refined.masks
        if masks is followed:
            return followed
        newcomers = find_newcomers(followed, self._leave_out_hidden(masks), self._settings.max_duplicate_iou)
        self._end(newcomers)
        return masks.select([place for place, number in enumerate(masks.numbers) if number not in newcomers])

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

    def _choose_new(
        self, from_motion: Sequence[Candidate], from_others: Sequence[Candidate], covered_hw: Tensor
    ) -> dict[int, Prompt]:
        """The candidates that no live mask covers, as prompts of new objects.

        What others found is under motion's mask only once the judge has preferred that: motion may see no
        more of it than what moves.
        """
        new = choose_new([*from_motion, *from_others], covered_hw, self._settings.max_covered)
        num_free = self._settings.max_num_objects - len(self._lives)
        if len(new) > num_free:
            self._warn_of_cap()
        prompts = {}
        for candidate in new[:num_free]:
            number = next(self._numbers)
            is_motions = any(candidate is item for item in from_motion)
            self._lives[number] = _Life(takes_motion=is_motions or self._refining is None)
            prompts[number] = candidate.prompt
        return prompts

    def _begins_stretch(self, time_s: float) -> bool:
        """Whether this is a key frame: the first of the run, or of a stretch of `key_every_s` of the video.

        Stretches lie on one grid for the whole video: runs that begin elsewhere search the same frames.
        """
        every_s = self._settings.key_every_s
        stretch = int((time_s + _SAME_TIME_S) // every_s) if every_s > 0 else self._stretch + 1
        begins = stretch != self._stretch
        self._stretch = stretch
        return begins

    def _take_warnings(self) -> tuple[str, ...]:
        """What there is to say since the last call."""
        warnings, self._warnings = tuple(self._warnings), []
        return warnings

    def _warn_of_cap(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._warnings.append(make_cap_warning(self._settings.max_num_objects))
