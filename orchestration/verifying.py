"""Checks hits on the video itself: the describing model is shown the object and asked a question."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tubelet.errors import InputError, TubeletError
from tubelet.index.searching.verifying import Verdict
from tubelet.index.store import IndexStore
from tubelet.model.describing.base import Captioner, DescribeRequest, Description, Looks, ObjectView
from tubelet.model.describing.choosing import refuse_strange
from tubelet.orchestration.masks_store import read_masks
from tubelet.orchestration.resources import make_captioner, make_s3_options
from tubelet.records import Box, Hit, Moment, Observation, PathPoint, Rle, Video
from tubelet.settings import Settings
from tubelet.workers.evidence import cut_view, decode_view, encode_picture
from tubelet.workers.frames import Frames
from tubelet.workers.reopen import reopen_source
from tubelet.workers.source import localise

MAX_VIEWS = 6
_SAME_TIME_S = 0.06
CHOICES = ("Yes", "No")


@runtime_checkable
class Chooser(Protocol):
    """A captioner that can tell how likely each of some answers is."""

    def choose(self, request: DescribeRequest, choices: Sequence[str]) -> Sequence[Any]:
        """A score with `probability` for each of the choices, in order."""


class VideoVerifier:
    """Decodes a few frames of a hit's moment and asks the captioner about the object in them.

    The object is marked by its stored masks, and by its boxes where none were kept. No object tokens are
    kept by the index, so the source of the video must be there unchanged.
    """

    def __init__(
        self,
        settings: Settings,
        store: IndexStore,
        *,
        captioner: Captioner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._captioner = make_captioner(settings) if captioner is None else captioner
        self._clock = clock

    @property
    def name(self) -> str:
        return self._captioner.name

    def verify(self, question: str, hits: Sequence[Hit], *, seconds: float) -> list[Verdict]:
        """One verdict for each hit. What cannot be checked is told by its reason, and stops nothing."""
        if not self._captioner.answers_questions:
            return [Verdict(None, f"the captioner {self.name} answers no questions")] * len(hits)
        end = self._clock() + seconds
        verdicts = []
        with tempfile.TemporaryDirectory(prefix="tubelet-verify-") as folder:
            for hit in hits:
                if self._clock() >= end:
                    verdicts.append(Verdict(None, f"the {seconds:g} s for it had passed"))
                    continue
                try:
                    verdicts.append(Verdict(self._check(question, hit, Path(folder))))
                except TubeletError as error:
                    verdicts.append(Verdict(None, error.found))
        return verdicts

    def answer(self, question: str, video: Video, moment: Moment) -> Description:
        """What the captioner says to a question about the object of a moment.

        Raises InputError where it answers none, and SourceError where the video cannot be read.
        """
        if not self._captioner.answers_questions:
            raise InputError(
                f"The captioner {self.name} answers no questions",
                expected="one that does, such as pixelrefer-lite",
                do="choose another captioner",
            )
        with tempfile.TemporaryDirectory(prefix="tubelet-ask-") as folder:
            views = self._show(video, moment.object_id, moment.path, Path(folder))
        request = DescribeRequest(tuple(views), moment.attributes, moment.motion, question)
        (description,) = self._captioner.describe([request])
        return description

    def _check(self, question: str, hit: Hit, folder: Path) -> float:
        video = self._store.get_video(hit.video_id)
        taken = {step.moment_id for step in hit.steps} or {hit.moment_id}
        moments = [each for each in self._store.get_moments(hit.object_id) if each.moment_id in taken]
        if video is None or not moments:
            raise InputError(
                "The hit is in the index no more", expected="an indexed object", do="search again"
            )
        path = sorted({point for moment in moments for point in moment.path})
        views = self._show(video, hit.object_id, path, folder)
        first = moments[0]
        request = DescribeRequest(tuple(views), first.attributes, first.motion, question)
        models = self._store.get_models(hit.video_id)
        if models is not None and models.recogniser:
            request = replace(request, looks=Looks(models.recogniser, first.object_vector))
        return ask(self._captioner, request)

    def _show(
        self, video: Video, object_id: str, path: Sequence[PathPoint], folder: Path
    ) -> list[ObjectView]:
        """Views of the object at a few times of its path, in time order."""
        places = np.unique(np.linspace(0, len(path) - 1, min(MAX_VIEWS, len(path))).round().astype(int))
        masks = _find_masks(self._settings, video, object_id, [path[place].t for place in places])
        s3 = make_s3_options(self._settings)
        timeout_s = self._settings.decode_timeout_s
        size = self._settings.frame_size_px
        views = []
        with (
            localise(reopen_source(video, s3=s3), folder, s3=s3) as file,
            Frames(file, video, sample_fps=1000, frame_size_px=size, timeout_s=timeout_s) as frames,
        ):
            for place in places:
                point = path[place]
                frame = next(iter(frames.read(point.t, min(point.t + 1.0, video.duration_s))), None)
                if frame is None:
                    continue
                seen = Observation(frame.time_s, Box(*point[1:]), 1.0, masks.get(point.t))
                view = cut_view(frame, seen, scene=encode_picture(frame.image))
                if view is not None:
                    views.append(decode_view(view, (video.width, video.height)))
        if not views:
            raise InputError("No frame shows the object", expected="frames that decode", do="index it again")
        return views


def ask(captioner: Captioner, request: DescribeRequest) -> float:
    """The probability of "yes"; where a captioner can only speak, what it says and how sure it is."""
    if isinstance(captioner, Chooser):
        yes, _ = captioner.choose(request, CHOICES)
        return float(yes.probability)
    (answer,) = captioner.describe([request])
    refuse_strange(answer.familiarity, "the captioner")
    said = answer.text.strip().lower()
    if said.startswith("yes"):
        return answer.confidence
    if said.startswith("no"):
        return 1 - answer.confidence
    raise InputError(
        f"The captioner said {answer.text[:60]!r}", expected="yes or no", do="choose another captioner"
    )


def _find_masks(
    settings: Settings, video: Video, object_id: str, times_s: Sequence[float]
) -> dict[float, Rle]:
    """The stored masks of an object at some times."""
    found: dict[float, Rle] = {}
    for _, time_s, rle in read_masks(settings, video.video_id, {object_id}):
        for wanted in times_s:
            if abs(time_s - wanted) < _SAME_TIME_S and wanted not in found:
                found[wanted] = rle
    return found
