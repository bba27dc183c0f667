"""Frames by their number, from local video files and pictures: what training on one's own data reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tubelet.errors import InputError
from tubelet.model.frame import Frame
from tubelet.workers.frames import Frames
from tubelet.workers.probe import probe_video
from tubelet.workers.reopen import find_source
from tubelet.workers.s3 import S3Options

EVERY_FRAME_FPS = 1000.0
DECODE_TIMEOUT_S = 60.0


def read_frames(path: Path, numbers: Sequence[int], longest_px: int = 1024) -> list[Frame]:
    """The frames of these numbers (0 is the first), in rising order, at most `longest_px` a side.

    Raises SourceError for a file that cannot be read, InputError for numbers past its end.
    """
    wanted = sorted(set(numbers))
    source = find_source(str(path), s3=S3Options())
    video = probe_video(path, source, timeout_s=DECODE_TIMEOUT_S)
    found: list[Frame] = []
    with Frames(
        path,
        video,
        sample_fps=EVERY_FRAME_FPS,
        frame_size_px=longest_px,
        timeout_s=DECODE_TIMEOUT_S,
        num_threads=1,
    ) as frames:
        for number, frame in enumerate(frames.read(0.0, video.duration_s + 1.0)):
            if number == wanted[len(found)]:
                found.append(frame)
                if len(found) == len(wanted):
                    return found
    raise InputError(
        f"{path} has no frame {wanted[len(found)]}",
        expected=f"frame numbers below {video.num_frames}",
        do="correct the masks' frame numbers",
    )


def read_picture(path: Path, longest_px: int = 1024) -> Frame:
    """A picture file as a frame at 0 s. Raises InputError where it cannot be read."""
    try:
        encoded = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a picture") from error
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    if picture is None:
        raise InputError(f"{path} is no picture", expected="JPEG, PNG or the like", do="correct the path")
    height, width = picture.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return Frame(0.0, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.uint8), width, height)
