"""What a probe says of ordinary and of bad files."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tubelet.errors import DecodeTimeoutError, SourceError, VideoFormatError, VideoTruncatedError
from tubelet.records import Source, Video
from tubelet.workers.probe import make_video_id, probe_video

Probe = Callable[[Path], Video]


def test_facts_of_a_plain_video(videos: Any, probe: Probe) -> None:
    video = probe(videos.make_numbered("plain.mp4"))

    assert (video.width, video.height, video.rotation_deg, video.codec) == (160, 96, 0, "h264")
    assert (video.num_frames, video.duration_s) == (60, 2.0)
    assert video.frame_rate == video.nominal_frame_rate == 30.0
    assert not video.variable_frame_rate
    assert video.warnings == ()


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi", "flv", "mov"])
def test_facts_do_not_depend_on_the_container(videos: Any, probe: Probe, suffix: str) -> None:
    plain = probe(videos.make_numbered("plain.mp4"))
    path = videos.make_numbered(f"plain.{suffix}")

    video = probe(path)

    assert video.duration_s == pytest.approx(plain.duration_s, abs=0.002)
    same = replace(
        plain,
        **{
            name: getattr(video, name) for name in ("video_id", "uri", "identity", "duration_s", "frame_rate")
        },
    )
    assert video == same


def test_variable_frame_rate_is_told_from_true_times(videos: Any, probe: Probe) -> None:
    path = videos.make_numbered("rate.mp4", keep=[0, 1, 2, 10, 30, 31, 59])

    video = probe(path)

    assert video.variable_frame_rate
    assert video.num_frames == 7
    assert video.frame_rate == pytest.approx(7 / video.duration_s)


def test_times_rounded_to_milliseconds_are_a_constant_rate(videos: Any, probe: Probe) -> None:
    assert not probe(videos.make_numbered("plain.mkv")).variable_frame_rate


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
def test_size_is_that_of_the_upright_frame(videos: Any, probe: Probe, rotation_deg: int) -> None:
    video = probe(videos.make_numbered(f"turned{rotation_deg}.mp4", rotation_deg=rotation_deg))

    assert (video.width, video.height) == (160, 96)
    assert video.rotation_deg in (rotation_deg, 360 - rotation_deg)


def test_one_frame(videos: Any, probe: Probe) -> None:
    video = probe(videos.make_numbered("one.mp4", num_frames=1))

    assert video.num_frames == 1
    assert video.duration_s == pytest.approx(1 / 30)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 64), (64, 1), (7680, 2), (33, 17)])
def test_odd_sizes(videos: Any, probe: Probe, width: int, height: int) -> None:
    path = videos.make_numbered(
        f"odd{width}x{height}.mkv", num_frames=5, width=width, height=height, codec=("-c:v", "ffv1")
    )

    video = probe(path)

    assert (video.width, video.height, video.num_frames) == (width, height, 5)


@pytest.mark.parametrize("timed_share", [0.3, 0.9])
def test_a_truncated_file(videos: Any, probe: Probe, tmp_path: Path, timed_share: float) -> None:
    content = videos.make_numbered("plain.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: int(len(content) * timed_share)])

    with pytest.raises(VideoTruncatedError):
        probe(path)


def test_an_empty_file(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()

    with pytest.raises(VideoFormatError, match="empty"):
        probe(path)


@pytest.mark.parametrize("content", [b"just text\n" * 100, random.Random(7).randbytes(5000)])
def test_not_a_video(probe: Probe, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.mp4"
    path.write_bytes(content)

    with pytest.raises(VideoFormatError):
        probe(path)


def test_a_container_full_of_noise(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "noise.mkv"
    path.write_bytes(b"\x1aE\xdf\xa3" + random.Random(7).randbytes(5000))

    with pytest.raises(SourceError):
        probe(path)


@pytest.mark.parametrize("name", ["sound.mp4", "sound.mkv", "sound.ogg"])
def test_sound_alone(videos: Any, probe: Probe, name: str) -> None:
    path = videos.make(name, "-f", "lavfi", "-i", "sine=duration=1")

    with pytest.raises(VideoFormatError, match="no video stream"):
        probe(path)


def test_sound_with_a_cover_picture(videos: Any, probe: Probe) -> None:
    cover = videos.make("cover.png", "-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1")
    sound = videos.make("sound.mp4", "-f", "lavfi", "-i", "sine=duration=1")
    path = videos.make(
        "cover.mp4",
        *("-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic"),
    )

    with pytest.raises(VideoFormatError, match="no video stream"):
        probe(path)


def test_a_video_stream_without_frames(videos: Any, probe: Probe) -> None:
    path = videos.make(
        "none.mp4",
        *("-f", "lavfi", "-i", "color=red:size=64x64:duration=1", "-f", "lavfi", "-i", "sine=duration=1"),
        *("-frames:v", "0", "-c:v", "libx264"),
    )

    with pytest.raises(VideoFormatError):
        probe(path)


def test_every_picture_is_noise(videos: Any, probe: Probe, tmp_path: Path) -> None:
    content = bytearray(videos.make_numbered("plain.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    end = content.index(b"moov") - 4
    content[start:end] = random.Random(7).randbytes(end - start)
    path = tmp_path / "noise.mp4"
    path.write_bytes(content)

    with pytest.raises(VideoTruncatedError, match="no picture at the start"):
        probe(path)


def test_timestamps_that_jump_back(videos: Any, probe: Probe, tmp_path: Path) -> None:
    content = videos.make_numbered("late.ts", num_frames=90).read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(content + content)

    with pytest.raises(VideoFormatError, match="jump back"):
        probe(path)


def test_a_decoder_that_does_not_start_in_time(
    videos: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos.make_numbered("plain.mp4")
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    monkeypatch.setattr("tubelet.workers.decoder_client._START_S", 0.0)

    with pytest.raises(DecodeTimeoutError):
        probe_video(path, Source(str(path), "blake2b:0", 1), timeout_s=0.2)


def test_the_id_comes_from_the_content_alone(videos: Any, tmp_path: Path) -> None:
    path = videos.make_numbered("plain.mp4")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(path.read_bytes())

    ids = {probe_video(at, Source(str(at), "blake2b:1", 1), timeout_s=30).video_id for at in (path, copy)}

    assert ids == {make_video_id("blake2b:1")}
    assert make_video_id("blake2b:1") != make_video_id("blake2b:2")


def test_no_descriptor_and_no_child_is_left(videos: Any, probe: Probe, tmp_path: Path) -> None:
    path = videos.make_numbered("plain.mp4")
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(2):
        probe(path)
        with pytest.raises(SourceError):
            probe(bad)

    assert set(os.listdir("/proc/self/fd")) == before
