"""The child process that opens and decodes one video file: the only place where libav sees foreign bytes.

Run as `python -m tubelet.workers.decoder_process PATH CONTAINER NUM_THREADS PARENT_ID`. Commands come in and
replies go out as one JSON object a line, over standard input and output; pictures go through shared memory
whose file descriptor comes with a command; messages of libraries go to standard error, a file whose lines
are counted as damage. `DecoderProcess` in `decoder_client` is the other end.

The process ends as soon as its standard input closes, so it never outlives its parent.
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame

from tubelet.errors import SourceError, VideoTruncatedError
from tubelet.workers.decoder_client import NUM_SLOTS
from tubelet.workers.decoders import MessageCounter, PictureReader, PyAvReader, open_stream
from tubelet.workers.packet_index import index_packets
from tubelet.workers.sampling import glance_positions, sample_positions

Json = dict[str, Any]

_PARENT_CHECK_S = 2.0
_MAX_FIRST_GROUPS = 3


class DecoderService:
    """Answers commands about one video file."""

    def __init__(
        self, path: Path, container_name: str, num_threads: int, commands: queue.Queue[Json], replies: int
    ) -> None:
        self._path, self._container_name, self._num_threads = path, container_name, num_threads
        self._commands, self._replies = commands, replies
        self._messages = MessageCounter()
        self._messages.listen()
        container, stream = open_stream(path, container_name, num_threads)
        self._codec = stream.codec_context.codec.canonical_name
        rates = stream.average_rate, stream.base_rate
        self._average_rate, self._base_rate = (float(rate) if rate else 0.0 for rate in rates)
        try:
            with self._messages.only_errors():
                self._index = index_packets(container, stream, container_name, str(path))
        finally:
            container.close()
        self._num_index_errors = self._messages.take()
        self._pictures: PictureReader | None = None
        self._memory: mmap.mmap | None = None

    def run(self) -> None:
        """Serve until the parent goes away; a command that arrives during a read ends that read."""
        command = self._commands.get()
        while True:
            next_command: Json | None = None
            try:
                match command["do"]:
                    case "describe":
                        self._reply(self._describe())
                    case "list times":
                        self._reply({"times_s": self._index.times_s.tolist()})
                    case "configure":
                        self._configure(command)
                        self._reply({"configured": True})
                    case "read":
                        next_command = self._read(command)
                    case "stop" | "free":
                        pass
            except SourceError as error:
                self._reply(
                    {
                        "error": type(error).__name__,
                        "found": error.found,
                        "expected": error.expected,
                        "do": error.do,
                    }
                )
            command = next_command or self._commands.get()

    def _describe(self) -> Json:
        frame = self._decode_first()
        rotation_deg = -frame.rotation % 360
        warnings = []
        if rotation_deg % 90:
            warnings.append(f"marked as turned by {rotation_deg} degrees; only quarter turns are undone")
            rotation_deg = 0
        if self._num_index_errors:
            warnings.append(f"{self._num_index_errors} errors reported while the file's packets were listed")
        width, height = (frame.height, frame.width) if rotation_deg % 180 else (frame.width, frame.height)
        num_frames = len(self._index.stamps)
        return {
            "duration_s": self._index.duration_s,
            "frame_rate": num_frames / self._index.duration_s,
            "nominal_frame_rate": self._base_rate
            or self._average_rate
            or num_frames / self._index.duration_s,
            "num_frames": num_frames,
            "width": width,
            "height": height,
            "rotation_deg": rotation_deg,
            "codec": self._codec,
            "variable_frame_rate": self._index.variable_frame_rate,
            "warnings": warnings,
        }

    def _decode_first(self) -> VideoFrame:
        """The first picture that decodes, near the start."""
        first = self._index.find_group(0)
        with PyAvReader(self._path, self._container_name, self._index, num_threads=1) as reader:
            for group in range(first, min(first + _MAX_FIRST_GROUPS, len(self._index.key_stamps))):
                for _, frame in reader.read(group, range(*self._index.find_members(group))):
                    self._messages.take()
                    return frame
        raise VideoTruncatedError(
            f"no picture at the start of {self._path} can be decoded ({self._codec})",
            expected="a stream that starts with a whole picture",
            do="copy the file again, or check it in a player",
        )

    def _configure(self, command: Json) -> None:
        width, height, batch_size = command["width"], command["height"], command["batch_size"]
        self._samples = sample_positions(
            self._index.times_s, command["sample_fps"], command["nominal_frame_rate"], self._index.duration_s
        )
        self._pictures = PictureReader(
            self._path,
            self._container_name,
            self._index,
            width=width,
            height=height,
            rotation_deg=command["rotation_deg"],
            samples=self._samples,
            num_threads=self._num_threads,
            batch_size=batch_size,
            use_decord=command["decoder"] == "decord2",
        )
        self._memory = mmap.mmap(command["memory_fd"], 0)
        self._slots = np.frombuffer(self._memory, dtype=np.uint8).reshape(
            NUM_SLOTS, batch_size, height, width, 3
        )

    def _choose(self, command: Json) -> list[int]:
        """The positions that a read asks for: samples, or `num` of all frames."""
        start_s, end_s, times_s = command["start_s"], command["end_s"], self._index.times_s
        if command["num"]:
            keys = self._index.key_positions
            chosen = glance_positions(times_s, keys, start_s, end_s, command["num"])
        else:
            first, stop = np.searchsorted(times_s[self._samples], [start_s, end_s])
            chosen = self._samples[first:stop]
        return [int(position) for position in chosen]

    def _read(self, command: Json) -> Json | None:
        """Fill free slots with pictures; returns the command that cut the read short, if one did."""
        assert self._pictures is not None
        request = command["request"]
        free = list(range(NUM_SLOTS))
        positions: list[int] = []
        slot: int | None = None

        def send() -> None:
            nonlocal positions, slot
            times_s = self._index.times_s[positions].tolist()
            self._reply({"request": request, "slot": slot, "times_s": times_s})
            positions, slot = [], None

        for position, image in self._pictures.read(self._choose(command)):
            while slot is None:
                if free and self._commands.empty():
                    slot = free.pop(0)
                    break
                other = self._commands.get()
                if other["do"] != "free":
                    self._reply(
                        {"request": request, "done": True, "warnings": self._pictures.describe_damage()}
                    )
                    return other
                if other["request"] == request:
                    free.append(other["slot"])
            self._slots[slot, len(positions)] = image
            positions.append(position)
            if len(positions) == self._slots.shape[1]:
                send()
        if positions:
            send()
        self._reply({"request": request, "done": True, "warnings": self._pictures.describe_damage()})
        return None

    def _reply(self, message: Json) -> None:
        write_line(self._replies, message)


def write_line(descriptor: int, message: Json) -> None:
    """Write one JSON object as a line, whole."""
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _receive(commands: queue.Queue[Json]) -> None:
    """Queue the commands; end the process when there is nobody left to send any."""
    for line in sys.stdin.buffer:
        commands.put(json.loads(line))
    os._exit(0)


def _watch_parent(parent_id: int) -> None:
    """End the process when its parent is gone, even if a fork of the parent keeps the pipe open."""
    while os.getppid() == parent_id:
        threading.Event().wait(_PARENT_CHECK_S)
    os._exit(0)


def main(path: str, container_name: str, num_threads: str, parent_id: str) -> None:
    """Serve one file until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    replies = os.dup(1)
    os.dup2(2, 1)  # Nothing but replies may reach the reply pipe.
    commands: queue.Queue[Json] = queue.Queue()
    threading.Thread(target=_receive, args=(commands,), daemon=True).start()
    threading.Thread(target=_watch_parent, args=(int(parent_id),), daemon=True).start()
    try:
        service = DecoderService(Path(path), container_name, int(num_threads), commands, replies)
    except SourceError as error:
        write_line(
            replies,
            {"error": type(error).__name__, "found": error.found, "expected": error.expected, "do": error.do},
        )
        return
    write_line(replies, {"ready": True})
    service.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
