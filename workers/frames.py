"""Sampled, upright, small pictures of a video, decoded in a child process that cannot hang or crash us."""

from __future__ import annotations

import itertools
import math
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tubelet.errors import UnknownNameError
from tubelet.model.frame import Frame
from tubelet.records import Video
from tubelet.workers.container import sniff_container
from tubelet.workers.decoder_client import NUM_SLOTS, DecoderProcess, Json
from tubelet.workers.sampling import fit_size

DECODERS = ("pyav", "decord2")
"""Who decodes. Both give the same pictures; the reasons for the default are in `decoders`."""


class Frames:
    """Reads a local video file on one grid of times for the whole video.

    Sample k is the frame that is shown at k / `sample_fps`: the last one whose true time is not later. A
    frame is a sample once at most, and every frame is one at or above the video's own rate. So reads of
    neighbouring windows give exactly the frames of one long read. Pictures are RGB, upright, and at most
    `frame_size_px` on their longer side.

    `timeout_s` limits the wait for one batch of at most `batch_size` frames. Open one `Frames` a video and
    read all its chunks with it: opening scans the file's packets.
    """

    def __init__(
        self,
        path: Path,
        video: Video,
        *,
        sample_fps: float,
        frame_size_px: int,
        timeout_s: float,
        batch_size: int = 16,
        num_threads: int = 2,
        decoder: str = "pyav",
    ) -> None:
        if decoder not in DECODERS:
            raise UnknownNameError("decoder", decoder, DECODERS)
        self._video = video
        self._requests = itertools.count()
        self._warnings: tuple[str, ...] = ()
        self._memory: mmap.mmap | None = None
        width, height = fit_size(video.width, video.height, frame_size_px)
        self._batch_shape = (batch_size, height, width, 3)
        path = path.resolve(strict=True)
        self._decoder = DecoderProcess(
            path, sniff_container(path), timeout_s=timeout_s, num_threads=num_threads
        )
        try:
            os.ftruncate(self._decoder.memory_fd, NUM_SLOTS * math.prod(self._batch_shape))
            self._memory = mmap.mmap(self._decoder.memory_fd, 0, prot=mmap.PROT_READ)
            self._decoder.send(
                {
                    "do": "configure",
                    "width": width,
                    "height": height,
                    "rotation_deg": video.rotation_deg,
                    "sample_fps": sample_fps,
                    "nominal_frame_rate": video.nominal_frame_rate,
                    "batch_size": batch_size,
                    "decoder": decoder,
                    "memory_fd": self._decoder.memory_fd,
                }
            )
            self._decoder.receive(extra_s=path.stat().st_size / 20e6)
        except BaseException:
            self.close()
            raise

    @property
    def warnings(self) -> tuple[str, ...]:
        """What decoders reported and swallowed in all that was read so far, a sentence a damaged stretch.

        A stretch runs from a key frame to the next and is always judged as a whole, so chunks that share
        one give the same sentence.
        """
        return self._warnings

    def read(self, start_s: float, end_s: float) -> Iterator[Frame]:
        """Yield the samples with start_s <= time < end_s in order, decoding the next batch meanwhile.

        A frame that does not decode is left out. Only the newest read is valid: starting another ends it.
        """
        yield from self._request({"do": "read", "start_s": start_s, "end_s": end_s, "num": 0})

    def glance(self, start_s: float, end_s: float, num: int) -> list[Frame]:
        """At most `num` frames spread over a window, the nearest key frames where these are dense enough."""
        return list(self._request({"do": "read", "start_s": start_s, "end_s": end_s, "num": num}))

    def _request(self, command: Json) -> Iterator[Frame]:
        request = self._number = next(self._requests)
        self._decoder.send({**command, "request": request})
        while True:
            if request != self._number:
                raise RuntimeError("this read was ended by a newer one")
            reply = self._decoder.receive()
            if reply["request"] != request:
                continue  # The rest of a read that was not finished.
            if "done" in reply:
                self._warnings = tuple(reply["warnings"])
                return
            times_s = reply["times_s"]
            images = self._copy_slot(reply["slot"], len(times_s))
            self._decoder.send({"do": "free", "request": request, "slot": reply["slot"]})
            for time_s, image in zip(times_s, images, strict=True):
                yield Frame(time_s, image, self._video.width, self._video.height)

    def _copy_slot(self, slot: int, num_pictures: int) -> NDArray[np.uint8]:
        """Pictures out of shared memory, (num_pictures, height, width, 3); the slot is free again then."""
        assert self._memory is not None
        size = math.prod(self._batch_shape)
        pixels = np.frombuffer(self._memory, np.uint8, size, slot * size).reshape(self._batch_shape)
        return pixels[:num_pictures].copy()

    def close(self) -> None:
        """End the decoder; safe to call again."""
        self._decoder.close()
        if self._memory is not None:
            self._memory.close()

    def __enter__(self) -> Frames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
