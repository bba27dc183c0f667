"""Only binary containers pass the gate; playlists never reach a decoder."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tubelet.errors import VideoFormatError, VideoTruncatedError
from tubelet.records import Source
from tubelet.workers.container import KNOWN_CONTAINERS, check_complete, sniff_container
from tubelet.workers.probe import probe_video

PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
    "hls-bom": "\ufeff#EXTM3U\n#EXTINF:9,\n{path}\n",
    "ffconcat": "ffconcat version 1.0\nfile '{path}'\n",
    "concat": "file '{path}'\n",
    "subfile": "subfile,,start,0,end,0,,:{path}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "images": "{path}%03d.png\n",
}


@pytest.mark.parametrize("text", PLAYLISTS.values(), ids=PLAYLISTS.keys())
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_renamed_playlist_never_reaches_a_decoder(
    videos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, suffix: str
) -> None:
    target = videos.make_numbered("plain.mp4")
    path = tmp_path / f"clip.{suffix}"
    path.write_text(text.format(path=target))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a decoder was started"))

    with pytest.raises(VideoFormatError, match="no known video container"):
        probe_video(path, Source(str(path), "blake2b:0", path.stat().st_size), timeout_s=5)


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("plain.mp4", "mov"),
        ("plain.mov", "mov"),
        ("plain.mkv", "matroska"),
        ("plain.avi", "avi"),
        ("plain.ts", "mpegts"),
        ("plain.m2ts", "mpegts"),
        ("plain.flv", "flv"),
    ],
)
def test_knows_what_ffmpeg_writes(videos: Any, name: str, container: str) -> None:
    path = videos.make_numbered(name)

    assert sniff_container(path) == container
    check_complete(path, container)


@pytest.mark.parametrize(
    ("name", "container"), [("a.webm", "matroska"), ("a.mpg", "mpeg"), ("a.ogv", "ogg"), ("a.wmv", "asf")]
)
def test_knows_containers_with_their_own_codecs(videos: Any, name: str, container: str) -> None:
    assert sniff_container(videos.make(name, "-i", str(videos.make_numbered("plain.mp4")))) == container


@pytest.mark.parametrize("container", ["mov", "matroska", "avi"])
@pytest.mark.parametrize("kept_share", [0.3, 0.98])
def test_a_file_that_ends_early(videos: Any, tmp_path: Path, container: str, kept_share: float) -> None:
    whole = videos.make_numbered({"mov": "plain.mp4", "matroska": "plain.mkv", "avi": "plain.avi"}[container])
    content = whole.read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(content[: int(len(content) * kept_share)])

    with pytest.raises(VideoTruncatedError):
        check_complete(path, container)


def test_an_index_at_the_front_does_not_hide_the_cut(videos: Any, tmp_path: Path) -> None:
    whole = videos.make_numbered(
        "front.mp4", codec=("-c:v", "libx264", "-preset", "veryfast", "-movflags", "+faststart")
    )
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:-1000])

    with pytest.raises(VideoTruncatedError, match="as its headers say"):
        check_complete(path, "mov")


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()

    with pytest.raises(VideoFormatError, match="is empty"):
        sniff_container(path)


def test_a_matroska_header_longer_than_any_file_can_be_is_a_cut_file(tmp_path: Path) -> None:
    """Found by chance: no file system seeks to such a place."""
    path = tmp_path / "long.mkv"
    path.write_bytes(b"\x1aE\xdf\xa3" + b"\x01" + b"\x7f" * 7 + b"rest")
    with pytest.raises(VideoTruncatedError, match="ends at byte 16"):
        check_complete(path, "matroska")


MAGIC = st.sampled_from([b"", b"\x1aE\xdf\xa3", b"\0\0\0\x10ftyp", b"\0\0\0\1mdat", b"RIFF\xff\0\0\0AVI "])


@given(MAGIC, st.binary(max_size=400))
def test_any_bytes_are_a_known_container_or_our_error(
    tmp_path_factory: Any, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(magic + rest)
    try:
        container = sniff_container(path)
        assert container in KNOWN_CONTAINERS
        check_complete(path, container)
    except (VideoFormatError, VideoTruncatedError):
        pass
