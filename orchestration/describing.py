"""Describing one region of one video, on demand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tubelet.errors import InputError
from tubelet.model.describing.attributes import measure_attributes
from tubelet.model.describing.base import DescribeRequest
from tubelet.model.describing.choosing import ChosenSentence, choose_sentence
from tubelet.model.frame import Frame
from tubelet.model.marking import read_mask
from tubelet.model.masks import encode_mask
from tubelet.model.trajectory import measure_motion
from tubelet.orchestration.resources import make_captioner, make_recogniser, make_s3_options
from tubelet.records import Attributes, Box, CaptionSource, Observation
from tubelet.settings import Settings
from tubelet.workers.evidence import cut_view, decode_view, make_crop
from tubelet.workers.frames import Frames
from tubelet.workers.probe import probe_video
from tubelet.workers.recognise import add_recognition, tell_looks
from tubelet.workers.reopen import find_source
from tubelet.workers.source import localise


@dataclass(frozen=True, slots=True)
class RegionAnswer:
    """What was said of a region, and what was measured on it.

    `text` is the sentence to show and `source` who said it; `model_text` is what a network said, with its
    `confidence`, and empty where none was asked. `attributes` hold what the region was recognised as.
    """

    uri: str
    time_s: float
    box: Box
    text: str
    source: CaptionSource
    model_text: str
    confidence: float
    attributes: Attributes
    captioner: str
    recogniser: str


def describe_region(
    address: str, region: Box | Path, at_s: float, *, question: str | None, settings: Settings, folder: Path
) -> RegionAnswer:
    """Describe what is inside a box, or under a mask picture, of the frame at `at_s` seconds.

    Boxes and masks are in pixels of the upright source frame. Copies of remote files go to `folder`.

    Raises SourceError for a video that cannot be used, InputError for a time or box outside it, or for a
    question that the captioner does not take.
    """
    s3 = make_s3_options(settings)
    source = find_source(address, s3=s3)
    with localise(source, folder, s3=s3) as path:
        video = probe_video(path, source, timeout_s=settings.decode_timeout_s)
        if at_s >= video.duration_s:
            raise InputError(
                f"--at is {at_s} s and the video ends at {video.duration_s:.2f} s",
                expected="a time inside the video",
                do="choose an earlier time",
            )
        with Frames(
            path,
            video,
            sample_fps=1000,
            frame_size_px=settings.frame_size_px,
            timeout_s=settings.decode_timeout_s,
        ) as frames:
            frame = next(iter(frames.read(at_s, video.duration_s)), None)
    observation = None if frame is None else _observe(frame, region)
    view = None if frame is None or observation is None else cut_view(frame, observation)
    if frame is None or observation is None or view is None:
        raise InputError(
            f"The region shows nothing of the {video.width} x {video.height} frame at {at_s} s",
            expected="a box that overlaps the frame",
            do="correct the box or the time",
        )
    decoded = decode_view(view, (video.width, video.height))
    attributes = measure_attributes(
        [decoded], mean_area_share=observation.box.area / (video.width * video.height)
    )
    motion = measure_motion([observation], [], frame_width=video.width, frame_height=video.height)
    recogniser = make_recogniser(settings)
    recognition = None
    if recogniser is not None:
        [recognition] = recogniser.recognise([[make_crop(view)]])
        attributes = add_recognition(attributes, recognition)
    captioner = make_captioner(settings)
    looks = tell_looks(recogniser, recognition)
    [description] = captioner.describe([DescribeRequest((decoded,), attributes, motion, question, looks)])
    if question is None:  # one picture shows no motion that a sentence could be held against
        chosen = choose_sentence(description, attributes, None)
    else:
        chosen = ChosenSentence(description.text, description.source, attributes, None)
    return RegionAnswer(
        uri=source.uri,
        time_s=frame.time_s,
        box=observation.box,
        text=chosen.text,
        source=chosen.source,
        model_text=description.text if description.source == "model" else "",
        confidence=description.confidence,
        attributes=chosen.attributes,
        captioner=captioner.name,
        recogniser=recogniser.name if recogniser else "",
    )


def _observe(frame: Frame, region: Box | Path) -> Observation:
    if isinstance(region, Box):
        return Observation(frame.time_s, region, 1.0)
    mask = read_mask(region, frame.source_height, frame.source_width)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return Observation(frame.time_s, box, 1.0, encode_mask(mask))
