"""The packets of one video stream, scanned but not decoded: true times, and where decoding can start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubelet.errors import VideoFormatError

_PLAIN_CONTAINERS = ("mov", "matroska", "flv")
_UNORDERED_IN_AVI = ("h264", "hevc")
_MAX_STEP_BACK_S = 1.0


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """Frames in presentation order. A frame's *stamp* is its timestamp in ticks of the stream's time base.

    `key_stamps` are the frames that decoding can start from; a frame's *group* is the number of the last key
    frame at or before it, -1 before the first. `counted` says that decoded frames carry no stamp of their
    own and are told apart by counting from their key frame (H.264 in AVI). `plain` says that position,
    order and stamps all agree, so a reader that only counts frames finds the right one.
    """

    stamps: NDArray[np.int64]
    times_s: NDArray[np.float64]
    duration_s: float
    key_stamps: NDArray[np.int64]
    counted: bool
    plain: bool

    def find_group(self, position: int) -> int:
        """The group of the frame at `position`."""
        return int(np.searchsorted(self.key_stamps, self.stamps[position], side="right")) - 1

    def find_members(self, group: int) -> tuple[int, int]:
        """The first position of a group, and the one after its last."""
        first = self.key_stamps[group] if group >= 0 else self.stamps[0]
        more = group + 1 < len(self.key_stamps)
        end = self.key_stamps[group + 1] if more else self.stamps[-1] + 1
        start, stop = np.searchsorted(self.stamps, [first, end])
        return int(start), int(stop)

    @property
    def key_positions(self) -> NDArray[np.int64]:
        """Positions of the key frames among the shown frames."""
        return np.flatnonzero(np.isin(self.stamps, self.key_stamps))

    @property
    def variable_frame_rate(self) -> bool:
        """Whether gaps between true times differ by more than rounding to milliseconds explains."""
        gaps_s = np.diff(self.times_s)
        return len(gaps_s) > 1 and bool(np.abs(gaps_s - np.median(gaps_s)).max() > 0.0021)


def stamp_of(packet: Packet[VideoStream], *, counted: bool) -> int | None:
    """The stamp of a packet under the index's way of telling frames apart."""
    return packet.dts if counted or packet.pts is None else packet.pts


def demux_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The packets from where the container stands; one that cannot be read is reported and is the last."""
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError as error:
        os.write(2, f"the file cannot be read further: {error}\n".encode())


def index_packets(
    container: InputContainer, stream: VideoStream, container_name: str, path: str
) -> PacketIndex:
    """Scan all packets of `stream`; the container is left at its end.

    Raises `VideoFormatError` when there is no frame, or when timestamps run backwards.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    is_key: list[bool] = []
    is_hidden: list[bool] = []
    last_duration = 0
    for packet in demux_packets(container, stream):
        if packet.size:
            pts.append(packet.pts)
            dts.append(packet.dts)
            is_key.append(packet.is_keyframe)
            is_hidden.append(packet.is_discard)
            last_duration = packet.duration or last_duration
    counted = None in pts or (container_name == "avi" and stream.codec_context.name in _UNORDERED_IN_AVI)
    raw = [d if counted or p is None else p for p, d in zip(pts, dts, strict=True)]
    known = np.array([stamp is not None for stamp in raw], dtype=bool)
    ordered = np.array([0 if stamp is None else stamp for stamp in raw], dtype=np.int64)
    key = np.array(is_key, dtype=bool) & known
    shown = known & ~np.array(is_hidden, dtype=bool)
    stamps = np.unique(ordered[shown])
    if not len(stamps):
        raise VideoFormatError(
            f"{path} has a video stream without any frame",
            expected="at least one frame",
            do="check how the file was recorded",
        )
    assert stream.time_base is not None
    tick_s = float(stream.time_base)
    _check_order(dts, tick_s, path)
    times_s = (stamps - stamps[0]) * tick_s
    gap_s = last_duration * tick_s
    if gap_s <= 0:
        rate = stream.average_rate or stream.base_rate
        gap_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1 / float(rate or 25)
    newest_key = np.maximum.accumulate(np.where(key, ordered, np.iinfo(np.int64).min))
    plain = (
        container_name in _PLAIN_CONTAINERS
        and not counted
        and len(stamps) == len(raw)
        and bool(key[0])
        and not bool((ordered < newest_key).any())
    )
    return PacketIndex(stamps, times_s, float(times_s[-1]) + gap_s, np.unique(ordered[key]), counted, plain)


def _check_order(dts: list[int | None], tick_s: float, path: str) -> None:
    """Refuse streams whose clock was set back, as in MPEG-TS files that were joined end to end."""
    known = np.array([stamp for stamp in dts if stamp is not None], dtype=np.int64)
    steps_s = np.diff(known) * tick_s
    if len(steps_s) and steps_s.min() < -_MAX_STEP_BACK_S:
        raise VideoFormatError(
            f"{path} has timestamps that jump back by {-steps_s.min():.1f} s",
            expected="timestamps that rise through the file",
            do="write it anew, for example with: ffmpeg -i IN -c copy OUT.mp4",
        )
