"""Which binary container a file is, told from its own bytes: the gate before any decoder.

A decoder's library opens more than videos: playlists (HLS, DASH, concat), session descriptions and other
text that name further files or addresses. Only a file that starts like a known binary container passes, and
its demuxer is then named, never guessed from what else the file holds.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from tubelet.errors import VideoFormatError, VideoTruncatedError

KNOWN_CONTAINERS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "ogg", "asf")
"""What `sniff_container` answers: the names of libavformat's demuxers."""

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_BOX_TYPES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof"))
_TS_SYNC = 0x47
_NUM_TS_PACKETS = 4
HEAD_BYTES = 1024
"""How much of a file tells its container."""


def sniff_container(path: Path) -> str:
    """Name the binary container of a local file: one of `KNOWN_CONTAINERS`.

    Raises `VideoFormatError` for an empty file and for everything else, text above all.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return match_container(head, str(path))


def match_container(head: bytes, name: str) -> str:
    """The same from the first bytes of a file; `name` is what errors call it."""
    if not head:
        raise VideoFormatError(
            f"{name} is empty", expected="a video file", do="check how the file was written or copied"
        )
    container = _match_head(head)
    if container is None:
        raise VideoFormatError(
            f"{name} starts with {head[:16]!r}, which no known video container does",
            expected="MP4, MOV, Matroska, WebM, AVI, MPEG-TS, MPEG-PS, FLV, Ogg or ASF (never a playlist)",
            do="convert it to MP4, or name the video files that a playlist refers to",
        )
    return container


def _match_head(head: bytes) -> str | None:
    if head[4:8] in _BOX_TYPES:
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] in (b"AVI ", b"AVIX"):
        return "avi"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head.startswith(b"FLV\x01"):
        return "flv"
    if head.startswith(b"OggS"):
        return "ogg"
    if head.startswith(_ASF_HEADER):
        return "asf"
    for first, step in ((0, 188), (4, 192), (0, 204)):
        syncs = head[first::step][:_NUM_TS_PACKETS]
        if len(syncs) == _NUM_TS_PACKETS and set(syncs) == {_TS_SYNC}:
            return "mpegts"
    return None


def check_complete(path: Path, container: str) -> None:
    """Raise `VideoTruncatedError` when a file ends before the length that its own headers announce.

    MP4 and MOV, Matroska and AVI announce one; the other containers have none, so any length passes.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        if container == "mov":
            announced = _measure_boxes(file, size_bytes, path)
        elif container == "matroska":
            announced = _measure_segment(file, size_bytes)
        elif container == "avi":
            announced = 8 + int.from_bytes(file.read(8)[4:], "little")
            announced = 0 if announced in (8, 8 + 0xFFFFFFFF) else announced
        else:
            announced = 0
    if announced > size_bytes:
        raise VideoTruncatedError(
            f"{path} ends at byte {size_bytes}",
            expected=f"{announced} bytes, as its headers say",
            do="copy or download the file again",
        )


def _measure_boxes(file: BinaryIO, size_bytes: int, path: Path) -> int:
    """Where the last top-level box of an MP4 or MOV file ends, which must hold an index (`moov`)."""
    start, types = 0, set()
    while start + 8 <= size_bytes:
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        elif length == 0:
            length = size_bytes - start
        if length < 8 or not kind.isascii():
            break  # Junk after the last box; players ignore it.
        types.add(kind)
        start += length
    if b"moov" not in types and start <= size_bytes:
        raise VideoTruncatedError(
            f"{path} has no index (moov box)",
            expected="a finished MP4 or MOV file",
            do="finish the recording, or repair the file, then try again",
        )
    return start


def _measure_segment(file: BinaryIO, size_bytes: int) -> int:
    """Where the first segment of a Matroska file ends, or its header where the file ends before that.

    0 when it does not say, as live recordings do not.
    """
    file.seek(4)
    header_bytes = _read_vint(file)
    if header_bytes is None:
        return 0
    start = file.tell() + header_bytes
    if start > size_bytes:
        return start
    file.seek(start)
    if file.read(4) != b"\x18S\x80g":
        return 0
    segment_bytes = _read_vint(file)
    return 0 if segment_bytes is None else file.tell() + segment_bytes


def _read_vint(file: BinaryIO) -> int | None:
    """An EBML length; None where it means "unknown" or is not one."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    num_more = 8 - first[0].bit_length()
    value = int.from_bytes(first + file.read(num_more), "big") & ((1 << 7 * (num_more + 1)) - 1)
    return None if value == (1 << 7 * (num_more + 1)) - 1 else value
