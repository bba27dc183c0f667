"""From positions in a video to pictures, by PyAV or, where it is asked for and right, by decord2.

PyAV gives every picture its own timestamp, is told which demuxer to use, and leaves out pictures that nobody
needs. decord2 finds a frame by counting, and stops for good at data that it cannot parse. That is right for
an undamaged MP4, Matroska or FLV file with closed groups of pictures; in MPEG-TS, MPEG-PS, AVI, ASF and
open-group HEVC files it was measured to give other frames than asked for. It also reads ahead, and loses that
at each key frame: it takes half as much processor time again, and twice the memory on long files. So it reads
only what it reads rightly, and PyAV the rest, above all each group of pictures in which an error is reported.
Both scale and convert with the same filters: a picture is the same, bit for bit, whoever made it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.logging
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tubelet.errors import VideoFormatError
from tubelet.workers.packet_index import PacketIndex, demux_packets, stamp_of

Picture = tuple[int, NDArray[np.uint8]]
"""A frame's position in the video and its (height, width, 3) RGB pixels."""

_TURNS = {0: (), 90: ("1",), 180: ("1", "1"), 270: ("2",)}
_MIN_DECORD_WIDTH = 256  # Under 128 px decord2 may take a padded row for a whole one.
_HARMLESS = (
    b"mmco: unref short failure",  # Said after every start at an open group of pictures.
    b"deprecated pixel format used",  # Said of every full-range JPEG-style video.
    b"Changing video frame properties",  # Said where a stream tells its colours late, with the next line.
    b"filter context - w:",
)
_PROBED_BYTES = 1 << 20
_TEXT_FORMATS = (b"<mpd", b"c=in ip", b"#extm3u", b"ffconcat")


class MessageCounter:
    """Counts the lines that libraries write to standard error, which must be a file opened to append.

    They are listened to from level `INFO` on: at `ERROR` alone, a picture whose lost parts were concealed may
    pass without a word.
    """

    def listen(self) -> None:
        """Let PyAV's copy of libav write to standard error."""
        av.logging.restore_default_callback()
        av.logging.set_libav_level(av.logging.INFO)

    @contextmanager
    def only_errors(self) -> Iterator[None]:
        """Leave out what is no error while PyAV decodes."""
        av.logging.set_libav_level(av.logging.ERROR)
        self.take()
        yield
        av.logging.set_libav_level(av.logging.INFO)

    def take(self) -> int:
        """The number of lines since the last call; the file is emptied."""
        size = os.fstat(2).st_size
        if not size:
            return 0
        lines = os.pread(2, size, 0).splitlines()
        os.ftruncate(2, 0)
        return sum(not any(text in line for text in _HARMLESS) for line in lines)


def open_stream(path: Path, container_name: str, num_threads: int) -> tuple[InputContainer, VideoStream]:
    """Open a local file with the demuxer named, and only with the file protocol; choose its main video."""
    try:
        container = av.open(
            str(path),
            format=container_name,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError) as error:
        raise VideoFormatError(
            f"{path} cannot be opened: {error}",
            expected="a playable video file",
            do="check the file in a player",
        ) from error
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or Disposition.attached_pic in stream.disposition:
        container.close()
        raise VideoFormatError(f"{path} has no video stream", expected="a video, not sound alone")
    if stream.codec_context is None:
        container.close()
        raise VideoFormatError(f"{path} uses a codec that no decoder here knows", do="convert it to H.264")
    stream.codec_context.thread_count = num_threads
    stream.codec_context.thread_type = "AUTO"
    return container, stream


class PyAvReader:
    """Reads frames of one group of pictures by their timestamps.

    Frames that are neither wanted nor referred to are not decoded, where the codec can leave them out.
    """

    def __init__(self, path: Path, container_name: str, index: PacketIndex, *, num_threads: int) -> None:
        self._path, self._container_name, self._num_threads = path, container_name, num_threads
        self._index = index
        self._container, self._stream = open_stream(path, container_name, num_threads)

    def read(
        self, group: int, positions: Sequence[int], others: Sequence[int] = ()
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yield the frames at rising `positions`, all of one group; those that do not decode are left out.

        Frames at `others` are decoded on the way and not given.
        """
        wanted = {int(self._index.stamps[position]): position for position in positions}
        decoded = wanted.keys() | {int(self._index.stamps[position]) for position in others}
        last_stamp = max(wanted)
        position, _ = self._index.find_members(group)
        for packet in self._packets_from(group):
            for frame in self._decode(packet, decoded):
                stamp = frame.pts
                if self._index.counted:
                    stamp = int(self._index.stamps[min(position, len(self._index.stamps) - 1)])
                    position += 1
                if stamp in wanted:
                    yield wanted[stamp], frame
                if stamp is not None and stamp >= last_stamp:
                    return

    def settle(self) -> None:
        """Wait for the decoder's threads, so that their last messages are in."""
        self._stream.codec_context.flush_buffers()

    def count_errors(self, group: int, positions: Sequence[int], messages: MessageCounter) -> int:
        """Decode a group to the last of `positions`, as `read` does; count its errors and concealed pictures.

        Decoding starts a group earlier: pictures that refer to it are no errors of this one.
        """
        start, stop = self._index.find_members(group)
        own = {int(stamp) for stamp in self._index.stamps[start:stop]}
        wanted = {int(self._index.stamps[position]) for position in positions}
        last_stamp = max(wanted)
        num_errors = 0
        for packet in self._packets_from(max(group - 1, min(group, 0))):
            frames = self._decode(packet, wanted)
            num_errors += sum(frame.is_corrupt and frame.pts in own for frame in frames)
            num_messages = messages.take()
            stamp = stamp_of(packet, counted=self._index.counted)
            if stamp in own:
                num_errors += num_messages
            if stamp == last_stamp:
                break
        return num_errors

    def _decode(self, packet: Packet[VideoStream], wanted: Container[int]) -> list[VideoFrame]:
        stamp = stamp_of(packet, counted=self._index.counted)
        is_wanted = self._index.counted or stamp is None or stamp in wanted
        self._stream.codec_context.skip_frame = "DEFAULT" if is_wanted else "NONREF"
        try:
            return packet.decode()
        except av.error.FFmpegError:
            os.write(2, b"a packet could not be decoded\n")  # Some decoders fail without a word.
            return []

    def _packets_from(self, group: int) -> Iterator[Packet[VideoStream]]:
        """Packets in decode order from a group's key frame to the end of the file."""
        if group < 0:
            self._reopen()
            yield from demux_packets(self._container, self._stream)
            return
        key_stamp = int(self._index.key_stamps[group])
        assert self._stream.time_base is not None
        step = max(1, round(1 / self._stream.time_base))
        target = key_stamp
        while True:
            if target < self._index.stamps[0] - step:
                self._reopen()
            else:
                try:
                    self._container.seek(target, stream=self._stream, backward=True)
                except av.error.FFmpegError:
                    self._reopen()
                    target = int(self._index.stamps[0]) - step
            packets = demux_packets(self._container, self._stream)
            for packet in packets:
                stamp = stamp_of(packet, counted=self._index.counted)
                if stamp == key_stamp and packet.is_keyframe:
                    yield packet
                    yield from packets
                    return
                if stamp is not None and stamp > key_stamp:
                    break
            assert target >= self._index.stamps[0] - step, f"key frame {key_stamp} vanished from {self._path}"
            target, step = target - step, step * 4

    def _reopen(self) -> None:
        self._container.close()
        self._container, self._stream = open_stream(self._path, self._container_name, self._num_threads)

    def __enter__(self) -> PyAvReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()


class PictureReader:
    """Gives upright RGB pictures at positions of a video, and remembers which groups are damaged."""

    def __init__(
        self,
        path: Path,
        container_name: str,
        index: PacketIndex,
        *,
        width: int,
        height: int,
        rotation_deg: int,
        samples: NDArray[np.int64],
        num_threads: int,
        batch_size: int,
        use_decord: bool,
    ) -> None:
        self.index = index
        self.damage: dict[int, int] = {}
        self._path, self._container_name = path, container_name
        self._width, self._height, self._rotation_deg = width, height, rotation_deg
        self._samples, self._batch_size = samples, batch_size
        self._messages = MessageCounter()
        self._exact = PyAvReader(path, container_name, index, num_threads=num_threads)
        self._graphs: dict[tuple[int, int, str], Graph] = {}
        self._fast: Any = None
        if use_decord and index.plain and width >= _MIN_DECORD_WIDTH and not _holds_text_format(path):
            self._fast = self._open_decord(num_threads)

    @property
    def uses_decord(self) -> bool:
        """Whether undamaged groups are read with decord2."""
        return self._fast is not None

    def _open_decord(self, num_threads: int) -> Any:
        import decord

        decord.logging.set_level(decord.logging.INFO)
        try:
            reader = decord.VideoReader(
                str(self._path), width=self._width, height=self._height, num_threads=num_threads
            )
        except (decord.DECORDError, RuntimeError, AssertionError):
            return None
        return reader if len(reader) == len(self.index.stamps) else None

    def read(self, positions: Sequence[int]) -> Iterator[Picture]:
        """Yield the pictures at rising `positions`, in order; those that do not decode are left out."""
        self._messages.take()
        for group, members in groupby(positions, key=self.index.find_group):
            left = list(members)
            if group not in self.damage:
                yield from self._read_fast(group, left)
            yield from self._read_exact(group, left)

    def _read_fast(self, group: int, left: list[int]) -> Iterator[Picture]:
        """Read with decord2 while it reports nothing; what is still to be read stays in `left`."""
        if self._fast is None:
            return
        import decord

        num_messages = 0
        while left and not num_messages:
            part = left[: self._batch_size]
            try:
                images = self._fast.get_batch(part).asnumpy()
            except decord.DECORDError:
                self._fast = None  # Its decoding thread is gone.
                self._judge(group)
                return
            num_messages = self._messages.take()
            if not num_messages:
                del left[: len(part)]
                yield from zip(part, images, strict=True)
        self._fast.seek(0)  # Ends its reading ahead and waits for its threads' last messages.
        if self._messages.take() or num_messages:
            self._judge(group)

    def _read_exact(self, group: int, left: list[int]) -> Iterator[Picture]:
        """Read with PyAV; what is left from the first report in a damaged group on, as it was judged."""
        while left and not self.damage.get(group):
            is_alarmed = False
            for position, frame in self._exact.read(group, left):
                is_alarmed = bool(self._messages.take()) and group not in self.damage
                if is_alarmed:
                    break
                yield position, self._convert(frame)
                del left[: bisect_right(left, position)]
            self._exact.settle()
            if self._messages.take() or is_alarmed:
                self._judge(group)
            if not is_alarmed:
                return
        if left:
            with self._open_serial() as reader:
                for position, frame in reader.read(group, left, self._find_samples(group)):
                    yield position, self._convert(frame)
            self._messages.take()

    def _open_serial(self) -> PyAvReader:
        """A reader whose pictures depend on nothing but the file: one thread, and no buffers used before.

        What a damaged picture lacks is filled from whatever the decoder's buffers hold.
        """
        return PyAvReader(self._path, self._container_name, self.index, num_threads=1)

    def _judge(self, group: int) -> None:
        """Count the errors of a group in which something was reported.

        It is decoded from its start to its last sample, in one thread, so the answer is the same whatever
        was read of it, and however far a decoder had read ahead.
        """
        if group not in self.damage:
            with self._open_serial() as reader, self._messages.only_errors():
                self.damage[group] = reader.count_errors(group, self._find_samples(group), self._messages)
            self._messages.take()

    def _find_samples(self, group: int) -> Sequence[int]:
        """The positions of a group's samples; all of its positions when it has none."""
        start, stop = self.index.find_members(group)
        first, end = np.searchsorted(self._samples, [start, stop])
        return [int(position) for position in self._samples[first:end]] or range(start, stop)

    def _convert(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Turn, scale and convert as decord2 does, with libavfilter's defaults."""
        shape = frame.width, frame.height, frame.format.name
        graph = self._graphs.get(shape)
        if graph is None:
            graph = self._graphs[shape] = Graph()
            steps = [
                graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
                )
            ]
            steps += [graph.add("transpose", turn) for turn in _TURNS[self._rotation_deg]]
            steps += [graph.add("scale", f"{self._width}:{self._height}"), graph.add("format", "rgb24")]
            graph.link_nodes(*steps, graph.add("buffersink")).configure()
        graph.push(frame)
        picture = graph.pull()
        assert isinstance(picture, VideoFrame)
        return picture.to_ndarray()  # type: ignore[return-value]

    def describe_damage(self) -> tuple[str, ...]:
        """One sentence for each damaged group, in order."""
        return tuple(
            f"{num_errors} decoding errors reported between {start_s:.3f} s and {end_s:.3f} s; "
            "pictures there may be wrong or missing"
            for group, num_errors in sorted(self.damage.items())
            if num_errors
            for start_s, end_s in [self._locate(group)]
        )

    def _locate(self, group: int) -> tuple[float, float]:
        """When a group starts and ends, in seconds."""
        index = self.index
        start, stop = index.find_members(group)
        end_s = index.times_s[stop] if stop < len(index.times_s) else index.duration_s
        return float(index.times_s[start]), float(end_s)


def _holds_text_format(path: Path) -> bool:
    """Whether the bytes that a demuxer is guessed from look like a playlist, too.

    decord2 lets libavformat guess; PyAV is told which demuxer to use.
    """
    with path.open("rb") as file:
        head = file.read(_PROBED_BYTES).lower()
    return any(text in head for text in _TEXT_FORMATS)
