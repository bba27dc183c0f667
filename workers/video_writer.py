"""Writing H.264 files, through PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from tubelet.model.frame import Image
from tubelet.model.h264 import REPRODUCIBLE


class VideoWriter:
    """Writes RGB pictures of one size as H.264 in MP4. Sides are rounded down to even, as 4:2:0 needs.

    The same pictures give the same file on one machine.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        frame_rate: float,
        quality: int = 23,
        preset: str = "medium",
    ) -> None:
        self._width, self._height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(frame_rate).limit_denominator(1001)
        options = {"crf": str(quality), "preset": preset, **REPRODUCIBLE}
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = self._width, self._height
        self._stream.pix_fmt = "yuv420p"

    def write(self, image: Image) -> None:
        """Append one (height, width, 3) RGB picture."""
        frame = av.VideoFrame.from_ndarray(
            image[: self._height, : self._width].copy(order="C"), format="rgb24"
        )
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
