"""The command line as scripts see it: JSON, exit codes, files."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tubelet.api.cli.app import run as run_command


@dataclass(frozen=True)
class Done:
    """What a command printed."""

    stdout: str
    stderr: str


def run(*arguments: str | Path, code: int = 0) -> Done:
    """Run one command line in this process and check its exit code."""
    with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
        found = run_command([str(argument) for argument in arguments])
    done = Done(stdout.getvalue(), stderr.getvalue())
    assert found == code, done
    return done


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tubelet demo` makes: the rendered junction, indexed, and its results."""
    out = tmp_path_factory.mktemp("demo")
    run("demo", "--out", out)
    return out


@pytest.fixture(scope="module")
def clip(demo: Path) -> Path:
    return demo / "junction.mp4"


@pytest.fixture(scope="module")
def home(demo: Path) -> Path:
    """A home in which the whole junction clip is indexed."""
    return demo / "home"


def test_demo_leaves_pictures_and_a_timeline(demo: Path) -> None:
    assert len((demo / "timeline.jsonl").read_text().splitlines()) == 5
    assert cv2.imread(str(demo / "contact-sheet.jpg")) is not None
    with av.open(str(demo / "clip.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) > 50
    for number in (1, 2, 3):
        assert len(list((demo / f"hits-{number}").iterdir())) == 3


def search(home: Path, sentence: str, *options: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("search", "--home", home, "--json", *options, sentence).stdout)
    return answer


@pytest.mark.parametrize(
    ("sentence", "colour", "turn"),
    [
        ("find the red car turning left", "red", "left"),
        ("a blue car that turns right", "blue", "right"),
        ("white vehicle going straight to the right", "white", "none"),
    ],
)
def test_search_answers_by_colour_and_motion(home: Path, sentence: str, colour: str, turn: str) -> None:
    hit = search(home, sentence)["hits"][0]
    assert hit["attributes"]["colours"][0] == colour
    assert hit["motion"]["turn"] == turn


def test_search_tells_two_red_cars_apart(home: Path) -> None:
    left = search(home, "red car turning left")["hits"][0]
    straight = search(home, "red car going down")["hits"][0]
    assert left["object_id"] != straight["object_id"]
    assert straight["motion"]["heading"] == "down"


def test_search_json_is_as_documented(home: Path, clip: Path) -> None:
    answer = search(home, "red car", "--limit", "2")
    assert set(answer) == {"query", "parsed", "hits", "next_cursor"}
    assert len(answer["hits"]) == 2
    for hit in answer["hits"]:
        assert set(hit) == {
            *("object_id", "moment_id", "video_id", "uri", "start_s", "end_s", "score", "caption"),
            *("attributes", "motion", "box", "why"),
        }
        assert hit["uri"].endswith(clip.name)
        assert 0 <= hit["score"] <= 1
        assert len(hit["box"]) == 4
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_search_saves_pictures(home: Path, tmp_path: Path) -> None:
    out = run("search", "--home", home, "--thumbnails", tmp_path / "hits", "red car")
    pictures = sorted((tmp_path / "hits").iterdir())
    assert len(pictures) == 5
    assert cv2.imread(str(pictures[0])) is not None
    assert "score" in out.stdout


def test_export_is_one_line_a_tubelet(home: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = run("export", "--home", home, "--format", "jsonl").stdout.splitlines()
    items = [json.loads(line) for line in lines]
    assert len(items) == 5
    for item in items:
        assert set(item) == {
            *("object_id", "video_id", "uri", "category", "attributes", "start_s", "end_s"),
            *("moments", "path"),
        }
        assert item["path"][0][0] == item["start_s"]
        assert all({"start_s", "end_s", "caption", "motion"} == set(moment) for moment in item["moments"])
    video_id = items[0]["video_id"]
    monkeypatch.chdir(clip.parent)
    for name in (video_id, items[0]["uri"], clip.name):
        assert run("export", "--home", home, "--video", name).stdout.splitlines() == lines
    assert run("export", "--home", home, "--video", "v0", code=2).stderr


def test_export_to_a_file(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "timeline.jsonl"
    run("export", "--home", home, "--out", out)
    assert len(out.read_text().splitlines()) == 5


def test_show_writes_a_sheet_and_a_clip(home: Path, tmp_path: Path) -> None:
    hit = search(home, "red car turning left")["hits"][0]
    shown = json.loads(run("show", "--home", home, "--json", "--out", tmp_path, hit["object_id"]).stdout)
    sheet = cv2.imread(shown["contact_sheet"])
    assert sheet is not None
    assert sheet.shape[1] >= 640
    with av.open(shown["clip"]) as clip:
        stream = clip.streams.video[0]
        assert stream.codec_context.name == "h264"
        seconds = sum(1 for _ in clip.decode(stream)) / float(stream.average_rate or 1)
    assert seconds == pytest.approx(hit["end_s"] - hit["start_s"], abs=2.6)


def test_show_a_grid_of_many(home: Path, clip: Path, tmp_path: Path) -> None:
    grid = json.loads(run("show", "--home", home, "--json", "--out", tmp_path, "--grid").stdout)
    assert len(grid["objects"]) == 5
    (page,) = grid["pages"]
    picture = cv2.imread(page)
    assert picture is not None
    assert picture.shape[1] > 5 * 256
    some = grid["objects"][1:3]
    chosen = run("show", "--home", home, "--json", "--out", tmp_path, "--grid", *some, "--video", clip)
    assert json.loads(chosen.stdout)["objects"] == some
    few = run("show", "--home", home, "--json", "--out", tmp_path, "--grid", "--limit", "2")
    assert json.loads(few.stdout)["objects"] == grid["objects"][:2]
    assert "only the first 2" in few.stderr


def test_show_all_objects_of_a_video(home: Path, clip: Path, tmp_path: Path) -> None:
    shown = json.loads(run("show", "--home", home, "--json", "--out", tmp_path, "--video", clip).stdout)
    assert len(shown["objects"]) == 5
    assert Path(shown["clip"]).stat().st_size > 10_000
    assert cv2.imread(shown["contact_sheet"]) is not None


@pytest.mark.parametrize("wrong", [(), ("--video", "nowhere.mp4"), ("o0123",), ("--grid", "o0123")])
def test_show_needs_something_that_is_there(home: Path, wrong: tuple[str, ...]) -> None:
    assert "Do: " in run("show", "--home", home, *wrong, code=2).stderr.replace("\n", " ")


def test_show_without_the_source_still_tells(clip: Path, tmp_path: Path) -> None:
    moved = tmp_path / "gone.mp4"
    moved.write_bytes(clip.read_bytes())
    run("index", "--home", tmp_path / "home", moved)
    hit = search(tmp_path / "home", "red car")["hits"][0]
    moved.unlink()
    done = run("show", "--home", tmp_path / "home", hit["object_id"], code=1)
    assert hit["caption"] in done.stdout.replace("\n", " ")
    assert "gone.mp4" in done.stderr.replace("\n", "")
    grid = run("show", "--home", tmp_path / "home", "--grid", "--out", tmp_path)
    assert "gone.mp4" in grid.stderr.replace("\n", "")
    assert cv2.imread(str(tmp_path / "grid-1.jpg")) is not None


def test_describe_a_box(home: Path, clip: Path) -> None:
    hit = search(home, "red car turning left")["hits"][0]
    at = str((hit["start_s"] + hit["end_s"]) / 2)
    box = ",".join(str(side) for side in hit["box"])
    answer = json.loads(run("describe", clip, "--box", box, "--at", at, "--json").stdout)
    assert "red" in answer["text"]
    done = run("describe", clip, "--box", box, "--at", at, "--question", "Is it red?", code=2)
    assert "question" in done.stderr


def test_describe_a_mask(clip: Path, tmp_path: Path) -> None:
    mask = np.zeros((360, 640), np.uint8)
    mask[150:170, 200:250] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    answer = json.loads(run("describe", clip, "--mask", tmp_path / "mask.png", "--at", "9", "--json").stdout)
    assert answer["box"] == [200, 150, 250, 170]
    for wrong in (mask[:100], mask * 0):
        cv2.imwrite(str(tmp_path / "wrong.png"), wrong)
        assert "mask" in run("describe", clip, "--mask", tmp_path / "wrong.png", "--at", "9", code=2).stderr
    assert run("describe", clip, "--mask", tmp_path / "none.png", "--at", "9", code=2).stderr
    assert run("describe", clip, "--at", "9", code=2).stderr


def test_eval_scores_masks_against_masks(tmp_path: Path) -> None:
    for name, shift in (("truth", 0), ("result", 2)):
        (tmp_path / name).mkdir()
        for number in range(3):
            mask = np.zeros((40, 60), np.uint8)
            mask[10:30, 10 + shift : 30 + shift] = 255
            cv2.imwrite(str(tmp_path / name / f"{number:05d}.png"), mask)
    paths = ("--truth", tmp_path / "truth", "--result", tmp_path / "result")
    scores = json.loads(run("eval", "track", *paths, "--json").stdout)
    assert scores["J"] == pytest.approx(18 / 22, abs=1e-6)
    assert scores["num_switches"] == 0
    assert "hota" in run("eval", "track", *paths).stdout
    assert run("eval", "track", "--truth", tmp_path / "none", "--result", tmp_path, code=2).stderr


def test_models_are_listed_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = [model["name"] for model in json.loads(run("models", "list", "--json").stdout)["models"]]
    assert "PixelRefer-Lite-2B" in names
    info = json.loads(run("models", "info", "PixelRefer-Lite-2B", "--json").stdout)
    assert 1.8e9 < sum(info["parameters"].values()) < 2.4e9
    assert "TFLOPs" in run("models", "info", "PixelRefer-Lite-2B").stdout
    assert run("models", "info", "PixelRefer-9B", code=2).stderr


@pytest.mark.parametrize(
    ("box", "at"),
    [("1,2,3", "1"), ("5,5,1,1", "1"), ("a,b,c,d", "1"), ("0,0,9,9", "999"), ("900,900,950,950", "1")],
)
def test_describe_refuses_what_is_not_there(clip: Path, box: str, at: str) -> None:
    assert "Do: " in run("describe", clip, "--box", box, "--at", at, code=2).stderr.replace("\n", " ")


def test_info_lists_videos(home: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    info = json.loads(run("info", "--home", home, "--json").stdout)
    assert info["counts"]["tubelets"] == 5
    assert info["videos"][0]["uri"].endswith(clip.name)
    assert clip.name in run("info", "--home", home).stdout


def test_doctor_finds_nothing_broken(tmp_path: Path) -> None:
    checks = json.loads(run("doctor", "--home", tmp_path, "--json").stdout)["checks"]
    assert {check["state"] for check in checks} <= {"works", "optional"}


def test_some_failed_sources_exit_with_three(clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("not a video")
    done = run("index", "--home", tmp_path / "home", "--json", bad, clip, code=3)
    report = json.loads(done.stdout)
    assert (report["indexed"], report["failed"]) == (1, 1)
    again = run("index", "--home", tmp_path / "home", bad, clip, code=3)
    assert "bad.mp4" in again.stderr.replace("\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("index",),
        ("index", "--profile", "huge", "x.mp4"),
        ("index", "--tracker", "unknown", "x.mp4"),
        ("search",),
        ("search", ""),
        ("nonsense",),
        ("export", "--format", "vhs"),
    ],
)
def test_wrong_usage_exits_with_two(home: Path, arguments: tuple[str, ...]) -> None:
    options = ("--home", home) if len(arguments) > 1 else ()
    assert run(*arguments, *options, code=2).stderr


def test_every_command_explains_itself() -> None:
    listing = run("--help").stdout
    for command in ("index", "search", "show", "export", "describe", "models", "info", "doctor", "demo"):
        assert command in listing
        assert "--help" in run(command, "--help").stdout


def test_a_home_without_an_index_says_what_to_do(tmp_path: Path) -> None:
    for command in (("search", "red"), ("info",), ("export",), ("show", "o1")):
        assert "tubelet index" in run(*command, "--home", tmp_path, code=1).stderr.replace("\n", " ")


def test_a_process_of_its_own_is_quiet_and_exits_as_documented(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tubelet", "index", "--json", "--home", str(tmp_path), "nowhere.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 3
    assert json.loads(done.stdout)["failed"] == 1
    assert done.stderr == ""
