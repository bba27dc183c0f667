"""The frames that come out are exactly the ones that belong, whatever goes wrong on the way."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tubelet.errors import DecodeTimeoutError, UnknownNameError, VideoTruncatedError
from tubelet.model.frame import Frame
from tubelet.records import Video
from tubelet.workers.decoders import PictureReader, open_stream
from tubelet.workers.frames import DECODERS, Frames
from tubelet.workers.packet_index import index_packets

Probe = Callable[[Path], Video]
ReadNumber = Callable[[Any], int]

WIDE = {"width": 480, "height": 288}
"""Wide enough for decord2."""

OPEN_GROUPS = "keyint=15:min-keyint=15:scenecut=0:bframes=3:open-gop=1"
CODECS = {
    "h264.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
    "h264.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
    "h264.flv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
    "h264.ts": ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
    "h264.avi": ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
    "h264-open.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", OPEN_GROUPS),
    "h264-open.ts": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", OPEN_GROUPS),
    "h264-long.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-g", "250", "-sc_threshold", "0"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=15"),
    "hevc-open.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none:keyint=15:open-gop=1:bframes=3"),
    "vp8.webm": ("-c:v", "libvpx", "-g", "15", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "1M"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", "15", "-lag-in-frames", "16", "-cpu-used", "8"),
    "vp9.mp4": ("-c:v", "libvpx-vp9", "-g", "15", "-deadline", "realtime", "-cpu-used", "8"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12", "-g", "15"),
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-bf", "2", "-g", "15", "-q:v", "3"),
    "mpeg2.ts": ("-c:v", "mpeg2video", "-bf", "2", "-g", "15", "-q:v", "3"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "2", "-g", "15", "-q:v", "3"),
    "mjpeg.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "3"),
    "wmv2.wmv": ("-c:v", "wmv2", "-q:v", "3"),
    "theora.ogv": ("-c:v", "libtheora", "-q:v", "8", "-g", "16"),
    "prores.mov": ("-c:v", "prores_ks"),
}

LONG_GROUPS = {
    "h264.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-g", "60"),
    "h264.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "60"),
    "h264.flv": ("-c:v", "libx264", "-preset", "veryfast", "-g", "60"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=60"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-g", "60", "-lag-in-frames", "16", "-cpu-used", "8"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12", "-g", "60"),
}
"""Of the kind that decord2 reads: see the rules in `workers/decoders.py`."""


@contextmanager
def open_frames(
    path: Path,
    video: Video,
    *,
    sample_fps: float = 100.0,
    frame_size_px: int = 512,
    timeout_s: float = 30.0,
    decoder: str = "pyav",
) -> Iterator[Frames]:
    with Frames(
        path,
        video,
        sample_fps=sample_fps,
        frame_size_px=frame_size_px,
        timeout_s=timeout_s,
        batch_size=5,
        decoder=decoder,
    ) as frames:
        yield frames


def number(frames: list[Frame], read_number: ReadNumber) -> list[int]:
    return [read_number(frame.image) for frame in frames]


@pytest.mark.parametrize("name", CODECS)
def test_every_frame_of_every_codec(videos: Any, probe: Probe, read_number: ReadNumber, name: str) -> None:
    path = videos.make_numbered(name, codec=CODECS[name])
    video = probe(path)
    with open_frames(path, video) as frames:
        read = list(frames.read(0, video.duration_s))
        again = list(frames.read(0.7, 1.4))

        assert number(read, read_number) == list(range(60))
        assert number(again, read_number) == list(range(21, 42))
        assert [frame.time_s for frame in read] == pytest.approx([n / 30 for n in range(60)], abs=0.001)
        assert frames.warnings == ()


@pytest.mark.parametrize("name", CODECS)
def test_samples_of_every_codec(videos: Any, probe: Probe, read_number: ReadNumber, name: str) -> None:
    path = videos.make_numbered(name, codec=CODECS[name])
    with open_frames(path, probe(path), sample_fps=7) as frames:
        read = list(frames.read(0, 2))
        assert frames.warnings == ()

    assert number(read, read_number) == [int(k / 7 * 30 + 0.031) for k in range(14)]


@pytest.mark.parametrize("name", LONG_GROUPS)
@pytest.mark.parametrize("sample_fps", [7, 100])
@pytest.mark.parametrize("decoder", DECODERS)
def test_both_decoders_give_the_frames_that_were_asked_for(
    videos: Any, probe: Probe, read_number: ReadNumber, name: str, sample_fps: float, decoder: str
) -> None:
    path = videos.make_numbered(f"long-{name}", num_frames=160, codec=LONG_GROUPS[name], **WIDE)
    video = probe(path)
    every = [int(k / 7 * 30 + 0.031) for k in range(38)] if sample_fps == 7 else list(range(160))
    with open_frames(path, video, sample_fps=sample_fps, decoder=decoder) as frames:
        assert number(list(frames.read(0, video.duration_s)), read_number) == every
        for start_s, end_s in ((1.9, 2.2), (4.1, 6.0), (0.0, 1.0)):
            part = [n for n in every if start_s <= n / 30 < end_s]
            assert number(list(frames.read(start_s, end_s)), read_number) == part
        assert frames.warnings == ()


def test_both_decoders_give_the_same_pixels(videos: Any) -> None:
    path = videos.make(
        "both.mp4",
        *("-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=4"),
        *("-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-colorspace", "bt709"),
    )
    container, stream = open_stream(path, "mov", 1)
    index = index_packets(container, stream, "mov", str(path))
    container.close()
    pictures = []
    for use_decord in (True, False):
        reader = PictureReader(
            *(path, "mov", index),
            **{"width": 512, "height": 288, "rotation_deg": 0, "num_threads": 1, "batch_size": 4},
            samples=np.arange(120),
            use_decord=use_decord,
        )
        assert reader.uses_decord == use_decord
        reader._messages.take = lambda: 0  # Standard error is pytest's here.
        pictures.append(np.stack([image for _, image in reader.read(range(0, 120, 9))]))

    assert np.array_equal(*pictures)


def test_samples_are_the_frames_that_are_shown(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with open_frames(path, probe(path), sample_fps=7) as frames:
        read = list(frames.read(0, 2))

    assert number(read, read_number) == [int(k / 7 * 30 + 1e-6) for k in range(14)]


def test_times_of_a_variable_rate_are_true(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    keep = [0, 1, 2, 10, 30, 31, 45, 59]
    for name in ("variable.mp4", "variable.mkv", "variable.ts"):
        path = videos.make_numbered(name, keep=keep, **WIDE)
        video = probe(path)
        with open_frames(path, video) as frames:
            every = list(frames.read(0, video.duration_s))
        with open_frames(path, video, sample_fps=2) as frames:
            sampled = list(frames.read(0, video.duration_s))

        assert number(every, read_number) == keep
        assert [frame.time_s for frame in every] == pytest.approx([n / 30 for n in keep], abs=0.001)
        assert number(sampled, read_number) == [0, 10, 30, 45]


@pytest.mark.parametrize("rotation_deg", [90, 180, 270])
@pytest.mark.parametrize("decoder", DECODERS)
def test_turned_videos_come_out_upright(
    videos: Any, probe: Probe, read_number: ReadNumber, rotation_deg: int, decoder: str
) -> None:
    codec = ("-c:v", "libx264", "-preset", "veryfast", "-g", "60", "-sc_threshold", "0")
    name = f"turned{rotation_deg}-large.mp4"
    path = videos.make_numbered(name, rotation_deg=rotation_deg, codec=codec, width=480, height=288)
    with open_frames(path, probe(path), decoder=decoder) as frames:
        read = list(frames.read(0, 2))

    assert number(read, read_number) == list(range(60))
    assert read[0].image.shape == (288, 480, 3)


def test_pictures_are_small_upright_rgb(videos: Any, probe: Probe) -> None:
    path = videos.make("green.mp4", "-f", "lavfi", "-i", "color=0x00ff00:size=640x360:rate=5:duration=1")
    with open_frames(path, probe(path), frame_size_px=320) as frames:
        [frame, *_] = frames.read(0, 1)

    assert frame.image.shape == (180, 320, 3)
    assert frame.image.dtype == np.uint8
    assert np.abs(frame.image[90, 160].astype(int) - (0, 255, 0)).max() < 6
    assert (frame.source_width, frame.source_height, frame.scale_x) == (640, 360, 2.0)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 64), (64, 1), (7680, 2), (129, 33), (300, 1)])
def test_odd_sizes(videos: Any, probe: Probe, width: int, height: int) -> None:
    path = videos.make_numbered(
        f"odd{width}x{height}.mkv", num_frames=5, width=width, height=height, codec=("-c:v", "ffv1")
    )
    with open_frames(path, probe(path)) as frames:
        read = list(frames.read(0, 1))

    assert len(read) == 5
    assert max(read[0].image.shape[:2]) == min(512, max(width, height))


def test_an_unknown_decoder(videos: Any, probe: Probe) -> None:
    path = videos.make_numbered("plain.mp4")
    with (
        pytest.raises(UnknownNameError, match="one of: decord2, pyav"),
        open_frames(path, probe(path), decoder="x"),
    ):
        pass


def test_one_frame(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    path = videos.make_numbered("one-wide.mp4", num_frames=1, **WIDE)
    with open_frames(path, probe(path), sample_fps=6) as frames:
        assert number(list(frames.read(0, 1)), read_number) == [0]
        assert number(frames.glance(0, 1, 8), read_number) == [0]


def damage(path: Path, target: Path, start_share: float, end_share: float) -> Path:
    """A copy with one byte in a hundred of a stretch of its pictures overwritten."""
    content = bytearray(path.read_bytes())
    first = content.index(b"mdat")
    last = content.index(b"moov")
    noise = random.Random(1)
    for at in range(first + int((last - first) * start_share), first + int((last - first) * end_share)):
        if noise.random() < 0.01:
            content[at] = noise.randrange(256)
    target.write_bytes(content)
    return target


@pytest.fixture(scope="session")
def noisy(videos: Any) -> Path:
    """A video with much data a frame, so that damage hits pictures and not the container."""
    path: Path = videos.make(
        "noisy.mp4",
        *("-f", "lavfi", "-i", "testsrc2=size=480x288:rate=30:duration=6,noise=alls=20:allf=t"),
        *("-c:v", "libx264", "-preset", "veryfast", "-g", "30", "-sc_threshold", "0"),
    )
    return path


@pytest.mark.parametrize("decoder", DECODERS)
def test_damage_in_the_middle_is_found_and_the_rest_is_right(
    noisy: Path, probe: Probe, tmp_path: Path, decoder: str
) -> None:
    broken = damage(noisy, tmp_path / "broken.mp4", 0.45, 0.55)
    video = probe(noisy)
    with open_frames(noisy, video, sample_fps=6) as frames:
        whole = {frame.time_s: frame.image for frame in frames.read(0, video.duration_s)}
        assert frames.warnings == ()
    with open_frames(broken, probe(broken), sample_fps=6, decoder=decoder) as frames:
        read = list(frames.read(0, video.duration_s))
        [first, second] = frames.warnings

    assert "decoding errors reported between 2.000 s and 3.000 s" in first
    assert "decoding errors reported between 3.000 s and 4.000 s" in second
    assert len(read) > 30
    for frame in read:
        if not 2 <= frame.time_s < 4:
            assert np.array_equal(frame.image, whole[frame.time_s])


@pytest.mark.parametrize("decoder", DECODERS)
def test_damage_is_told_the_same_however_it_is_chunked(
    noisy: Path, probe: Probe, tmp_path: Path, decoder: str
) -> None:
    broken = damage(noisy, tmp_path / "broken.mp4", 0.3, 0.7)
    video = probe(broken)
    told, pictures = set(), []
    for windows in (
        [(0.0, 6.0)],
        [(0.0, 2.5), (2.5, 3.1), (3.1, 6.0)],
        [(n / 2, n / 2 + 0.5) for n in range(12)],
    ):
        with open_frames(broken, video, sample_fps=6) as frames:
            read = [frame for start_s, end_s in windows for frame in frames.read(start_s, end_s)]
            told.add(frames.warnings)
            pictures.append(b"".join(frame.image.tobytes() for frame in read))

    assert len(told) == 1
    assert len(set(pictures)) == 1
    assert told != {()}


@pytest.fixture(scope="module")
def long_frames(videos: Any, probe: Probe) -> Iterator[tuple[Frames, list[Frame]]]:
    path = videos.make_numbered(
        "variable-long.mp4",
        num_frames=240,
        keep=sorted(random.Random(3).sample(range(240), 80)),
        codec=("-c:v", "libx264", "-preset", "veryfast", "-g", "20"),
        **WIDE,
    )
    video = probe(path)
    with open_frames(path, video, sample_fps=11.3) as frames:
        yield frames, list(frames.read(0, video.duration_s))


@given(st.lists(st.floats(0, 8.1), max_size=4).map(sorted))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunked_reads_equal_the_whole_read(
    long_frames: tuple[Frames, list[Frame]], cuts_s: list[float]
) -> None:
    frames, whole = long_frames
    edges_s = [0.0, *cuts_s, 8.1]

    parts = [frame for start_s, end_s in pairwise(edges_s) for frame in frames.read(start_s, end_s)]

    assert [frame.time_s for frame in parts] == [frame.time_s for frame in whole]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(parts, whole, strict=True))


def test_glances_spread_over_the_window(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    path = videos.make_numbered("glance.mp4", codec=CODECS["h264-long.mp4"], num_frames=120, **WIDE)
    with open_frames(path, probe(path)) as frames:
        glances = frames.glance(1, 4, 6)

        assert number(glances, read_number) == [37, 52, 67, 82, 97, 112]
        assert [g.time_s for g in frames.glance(1, 4, 6)] == [g.time_s for g in glances]


def test_a_read_may_be_left_unfinished(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with open_frames(path, probe(path)) as frames:
        left = frames.read(0, 2)
        assert read_number(next(left).image) == 0
        assert number(list(frames.read(1, 1.5)), read_number) == list(range(30, 45))
        with pytest.raises(RuntimeError, match="ended by a newer one"):
            list(left)


def test_pictures_stay_valid_after_later_reads(videos: Any, probe: Probe, read_number: ReadNumber) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with open_frames(path, probe(path)) as frames:
        read = list(frames.read(0, 2))
        list(frames.read(0, 2))

    assert number(read, read_number) == list(range(60))


def find_child(frames: Frames) -> psutil.Process:
    return psutil.Process(frames._decoder.process_id)


def test_a_decoder_that_hangs_is_ended_in_time(videos: Any, probe: Probe) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with open_frames(path, probe(path), timeout_s=0.5) as frames:
        child = find_child(frames)
        child.suspend()
        with pytest.raises(DecodeTimeoutError, match="no answer"):
            list(frames.read(0, 2))

    assert not child.is_running()


def test_a_decoder_that_is_killed_is_an_error(videos: Any, probe: Probe) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with open_frames(path, probe(path)) as frames:
        find_child(frames).kill()
        with pytest.raises(VideoTruncatedError, match="ended with code -9"):
            list(frames.read(0, 2))


def test_nothing_is_left_behind(videos: Any, probe: Probe) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    video = probe(path)
    before = set(os.listdir("/proc/self/fd"))
    with open_frames(path, video) as frames:
        child = find_child(frames)
        next(iter(frames.read(0, 2)))

    assert not child.is_running()
    assert set(os.listdir("/proc/self/fd")) == before


PARENT = """
import sys
from pathlib import Path
from tubelet.records import Source
from tubelet.workers.frames import DECODERS, Frames
from tubelet.workers.probe import probe_video
path = Path(sys.argv[1])
video = probe_video(path, Source(str(path), "blake2b:0", 1), timeout_s=30)
with Frames(path, video, sample_fps=30, frame_size_px=512, timeout_s=30) as frames:
    print(frames._decoder.process_id, flush=True)
    sys.stdin.read()
"""


def test_the_decoder_dies_with_a_killed_parent(videos: Any) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        psutil.wait_procs([child], timeout=20)

    assert not child.is_running()


def test_frames_work_inside_a_daemonic_process(videos: Any) -> None:
    path = videos.make_numbered("wide.mp4", **WIDE)
    code = (
        "import multiprocessing, sys\n"
        "from tests_parent import run\n"
        "spawn = multiprocessing.get_context('spawn')\n"
        "process = spawn.Process(target=run, args=(sys.argv[1],), daemon=True)\n"
        "if __name__ == '__main__':\n"
        "    process.start(); process.join(); sys.exit(process.exitcode)\n"
    )
    module = (
        "from pathlib import Path\n"
        "from tubelet.records import Source\n"
        "from tubelet.workers.frames import Frames\n"
        "from tubelet.workers.probe import probe_video\n"
        "def run(path):\n"
        "    video = probe_video(Path(path), Source(path, 'blake2b:0', 1), timeout_s=30)\n"
        "    with Frames(Path(path), video, sample_fps=6, frame_size_px=64, timeout_s=30) as frames:\n"
        "        assert len(list(frames.read(0, 2))) == 12\n"
    )
    folder = videos.folder / "daemonic"
    folder.mkdir()
    (folder / "tests_parent.py").write_text(module)
    (folder / "main.py").write_text(code)

    subprocess.run([sys.executable, str(folder / "main.py"), str(path)], check=True)


def test_a_file_that_also_looks_like_a_playlist_is_read_as_what_it_is(
    videos: Any, probe: Probe, read_number: ReadNumber, tmp_path: Path
) -> None:
    plain = videos.make_numbered("wide.mp4", **WIDE)
    playlist = (
        b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    )
    box = (len(playlist) + 8).to_bytes(4, "big") + b"free" + playlist
    path = tmp_path / "both.mp4"
    path.write_bytes(plain.read_bytes() + box)
    video = replace(probe(path), uri="both")

    with open_frames(path, video) as frames:
        assert number(list(frames.read(0, 2)), read_number) == list(range(60))
