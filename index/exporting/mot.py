"""`mot` and `mot-results`: MOT Challenge tables, as ground truth for annotation tools or as a tracker's.

Frame numbers, ids and box corners count from 1, as the challenge's rules say; the rows of a frame need not
stand together. Rows come object by object.
"""

from __future__ import annotations

from collections.abc import Iterator

from tubelet.index.exporting.format import ExportFile, name_video
from tubelet.index.exporting.timelines import Timelines
from tubelet.records import Box, Video


def write_mot(timelines: Timelines) -> Iterator[ExportFile]:
    """A folder a video: `gt/gt.txt`, `gt/labels.txt` with a class a line (the first is 1), `seqinfo.ini`.

    The table's columns are frame, id, left, top, width, height, 1, class, visibility. How much of an object
    is visible is not measured: that column is 1.
    """
    for video in timelines.videos:
        name = name_video(video)
        classes: dict[str, int] = {}
        yield ExportFile(f"{name}/gt/gt.txt", _write_truth(timelines, video, classes))
        yield ExportFile(f"{name}/gt/labels.txt", iter([f"{label}\n" for label in classes]))
        yield ExportFile(f"{name}/seqinfo.ini", _write_sequence_info(timelines, video, name))


def write_mot_results(timelines: Timelines, video: Video) -> Iterator[str]:
    """Frame, id, left, top, width, height, score, -1, -1, -1: the table that evaluation programs read."""
    for number, timeline in enumerate(timelines.read(video), 1):
        score = round(timeline.item.score, 4)
        for step in timelines.number_boxes(video, timeline.item, every_frame=False):
            yield f"{step.frame + 1},{number},{_format_box(step.box)},{score},-1,-1,-1\n"


def _write_truth(timelines: Timelines, video: Video, classes: dict[str, int]) -> Iterator[str]:
    for number, timeline in enumerate(timelines.read(video), 1):
        label = " ".join(timeline.name.split())
        class_id = classes.setdefault(label, len(classes) + 1)
        for step in timelines.number_boxes(video, timeline.item, every_frame=False):
            yield f"{step.frame + 1},{number},{_format_box(step.box)},1,{class_id},1\n"


def _write_sequence_info(timelines: Timelines, video: Video, name: str) -> Iterator[str]:
    frames = timelines.number_frames(video)
    yield (
        f"[Sequence]\nname={name}\nimDir=img1\nframeRate={frames.rate:.6g}\nseqLength={frames.length}\n"
        f"imWidth={video.width}\nimHeight={video.height}\nimExt=.jpg\n"
    )


def _format_box(box: Box) -> str:
    return f"{box.x0 + 1:.1f},{box.y0 + 1:.1f},{box.width:.1f},{box.height:.1f}"
