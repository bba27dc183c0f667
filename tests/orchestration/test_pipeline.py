"""Whole runs with real components: what is indexed, skipped, failed and replaced."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tubelet
from tests.orchestration.conftest import read_rows
from tests.orchestration.light_models import CAPPED_TRACKER, LIGHT
from tubelet.errors import InputError, StoreError
from tubelet.index.masks import list_videos_with_masks, read_masks
from tubelet.orchestration.work_store import WorkStore
from tubelet.records import VideoReport
from tubelet.settings import Settings, load_settings


class Recorder:
    """Remembers what a run reported."""

    def __init__(self) -> None:
        self.ended: list[VideoReport] = []
        self.progress: list[float] = []
        self.planned_s = 0.0

    def on_source_found(self, uri: str) -> None:
        pass

    def on_video_planned(self, uri: str, duration_s: float) -> None:
        self.planned_s += duration_s

    def on_progress(self, done_s: float) -> None:
        self.progress.append(done_s)

    def on_video_ended(self, report: VideoReport) -> None:
        self.ended.append(report)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"home": tmp_path / "home", "chunk_s": 4.0, "margin_s": 1.0, **LIGHT})


def test_index_then_search_then_skip(short_clip: Path, settings: Settings) -> None:
    settings = settings.model_copy(update={"embedder": ""})
    recorder = Recorder()
    report = tubelet.index(str(short_clip), settings=settings, observer=recorder)
    assert [video.state for video in report.videos] == ["indexed"]
    assert recorder.ended == list(report.videos)
    assert recorder.progress[-1] == pytest.approx(recorder.planned_s)
    assert report.videos[0].num_objects == 2

    result = tubelet.search("red car turning left", settings=settings)
    assert "red" in result.hits[0].attributes.colours
    assert result.hits[0].motion.turn == "left"
    assert result.hits[0].thumbnail.startswith(b"\xff\xd8")

    video_id = report.videos[0].video_id
    masks = list(read_masks(settings.home, video_id))
    assert {name for name, _, _ in masks} == {
        row["object_id"] for row in read_rows(settings.home)["tubelets"]
    }
    for row in read_rows(settings.home)["tubelets"]:
        assert [round(time_s, 3) for name, time_s, _ in masks if name == row["object_id"]] == [
            point["t"] for point in row["path"]
        ]

    before = read_rows(settings.home)
    again = tubelet.index([str(short_clip)], settings=settings)
    assert [video.state for video in again.videos] == ["skipped"]
    assert read_rows(settings.home) == before
    assert not (settings.home / "work" / "chunks").exists() or not list(
        (settings.home / "work" / "chunks").iterdir()
    )


@pytest.mark.parametrize("keep_chunks", [False, True])
def test_results_that_outlived_their_commit_are_removed(
    short_clip: Path, settings: Settings, keep_chunks: bool
) -> None:
    """A process may die between the commit of a video and the removal of its chunk results."""
    settings = settings.model_copy(update={"keep_chunks": keep_chunks})
    tubelet.index(str(short_clip), settings=settings)
    (video_id,) = (row["video_id"] for row in read_rows(settings.home)["videos"])
    work, digest = WorkStore(settings), settings.options_digest
    left = [work.chunk_key(owner, digest, "left") for owner in (video_id, "vanother")]
    for key in left:
        work.keep_chunk(key, lambda path: path.write_text("left"))
    before = set(work.list_chunks(video_id, digest))
    assert [video.state for video in tubelet.index(str(short_clip), settings=settings).videos] == ["skipped"]
    assert set(work.list_chunks(video_id, digest)) == (before if keep_chunks else set())
    assert work.has_chunk(left[1])


def test_rows_do_not_depend_on_the_number_of_workers(
    short_clip: Path, settings: Settings, tmp_path: Path
) -> None:
    rows = []
    for workers in (1, 2):
        settings = settings.model_copy(update={"home": tmp_path / f"w{workers}", "workers": workers})
        tubelet.index(str(short_clip), settings=settings)
        rows.append(read_rows(settings.home))
    assert rows[0] == rows[1]


def test_other_options_replace_the_rows(short_clip: Path, settings: Settings) -> None:
    tubelet.index(str(short_clip), settings=settings)
    other = settings.model_copy(update={"sample_fps": 2.0})
    report = tubelet.index(str(short_clip), settings=other)
    assert report.videos[0].state == "indexed"
    rows = read_rows(settings.home)
    assert len(rows["videos"]) == 1
    assert len(rows["tubelets"]) == report.videos[0].num_objects


def test_what_the_tracker_left_out_is_told_once(short_clip: Path, settings: Settings) -> None:
    """Every frame of every chunk says so; the report and the video's row say it once."""
    capped = settings.model_copy(update={"tracker": CAPPED_TRACKER})
    (report,) = tubelet.index(str(short_clip), settings=capped).videos
    (warning,) = report.warnings
    assert "more objects than the 7 that are followed" in warning
    assert read_rows(settings.home)["videos"][0]["warnings"] == [warning]


def test_one_bad_source_never_stops_the_others(short_clip: Path, settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(short_clip, folder / "good.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video")
    (folder / "cut.mp4").write_bytes(short_clip.read_bytes()[:20000])
    report = tubelet.index([str(folder), str(tmp_path / "nowhere.mp4")], settings=settings)
    states = {Path(video.uri).name: video.state for video in report.videos}
    assert states == {
        "good.mp4": "indexed",
        "empty.mp4": "failed",
        "text.mp4": "failed",
        "cut.mp4": "failed",
        "nowhere.mp4": "failed",
    }
    assert all("Do: " in video.reason for video in report.failed)
    assert len(read_rows(settings.home)["videos"]) == 1


def test_the_same_bytes_elsewhere_are_one_video(short_clip: Path, settings: Settings, tmp_path: Path) -> None:
    first, second = tmp_path / "a#1?.mp4", tmp_path / "b.mp4"
    shutil.copy(short_clip, first)
    shutil.copy(short_clip, second)
    report = tubelet.index([str(first), str(second)], settings=settings)
    assert sorted(video.state for video in report.videos) == ["indexed", "skipped"]
    first.unlink()
    moved = tubelet.index([str(second)], settings=settings)
    assert [video.state for video in moved.videos] == ["indexed"]
    rows = read_rows(settings.home)
    assert [Path(row["uri"]).name for row in rows["videos"]] == ["b.mp4"]
    assert {Path(row["uri"]).name for row in rows["moments"]} == {"b.mp4"}


def test_changed_content_replaces_what_was_there(
    short_clip: Path, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(short_clip, path)
    tubelet.index(str(path), settings=settings)
    before = read_rows(settings.home)["videos"][0]["video_id"]
    path.write_bytes(path.read_bytes() + b"\0" * 16)
    report = tubelet.index(str(path), settings=settings)
    assert report.videos[0].state == "indexed"
    rows = read_rows(settings.home)
    assert [row["video_id"] for row in rows["videos"]] == [report.videos[0].video_id] != [before]
    assert {row["video_id"] for row in rows["moments"]} == {report.videos[0].video_id}
    assert list_videos_with_masks(settings.home) == [report.videos[0].video_id]


def test_nothing_asked_for_is_an_error(settings: Settings) -> None:
    with pytest.raises(InputError, match="No source"):
        tubelet.index([], settings=settings)


def test_two_runs_do_not_share_a_home(short_clip: Path, settings: Settings) -> None:
    with WorkStore(settings.home).claim(), pytest.raises(StoreError, match="Another run"):
        tubelet.index(str(short_clip), settings=settings)


def test_search_before_indexing_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(StoreError, match="Do: "):
        tubelet.search("red car", settings=settings)


def test_the_default_profile_uses_the_checkpoints_that_ship(short_clip: Path, settings: Settings) -> None:
    own = {"tracker": "", "captioner": "", "sample_fps": 6.0, "chunk_s": 60.0}
    bundled = settings.model_copy(update={"profile": "bundled", **own})
    (report,) = tubelet.index(str(short_clip), settings=bundled).videos
    assert report.state == "indexed", report.reason
    rows = read_rows(settings.home)
    assert rows["videos"][0]["tracker"].startswith("sam2-small@")
    assert rows["videos"][0]["captioner"].startswith("pixelrefer-lite-small@")
    assert all(row["model_caption"] for row in rows["moments"])
    assert "model" in {row["caption_source"] for row in rows["moments"]}
    turned = {row["turn"] for row in rows["tubelets"] if "red" in row["colours"]}
    assert turned == {"left"}
    assert list(read_masks(settings.home, report.video_id))
