"""`csv` and `csv-boxes`: moments or boxes as rows of a table (RFC 4180, UTF-8, a header, CRLF)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tubelet.index.exporting.json_values import PIXEL_DECIMALS, SECOND_DECIMALS, motion_to_json
from tubelet.index.exporting.timelines import Timelines
from tubelet.records import Attributes, Motion

_SIDES = ("x0", "y0", "x1", "y1")

MOMENT_COLUMNS = (
    *("video_id", "uri", "object_id", "moment_id", "name", "start_s", "end_s", "caption", "colours", "size"),
    *Motion.__dataclass_fields__,
    *(f"first_{side}" for side in _SIDES),
    *(f"last_{side}" for side in _SIDES),
    "score",
)

BOX_COLUMNS = ("video_id", "uri", "object_id", "name", "frame", "time_s", *_SIDES, "measured")


def write_moments_csv(timelines: Timelines) -> Iterator[str]:
    """One row a moment. Colours are joined by a space; what is not known is empty; truth is true or false."""

    def make_rows() -> Iterator[Sequence[Any]]:
        for video, timeline in timelines.read_all():
            for moment in timeline.moments:
                yield [
                    *(video.video_id, video.uri, moment.object_id, moment.moment_id, timeline.name),
                    *(round(moment.start_s, SECOND_DECIMALS), round(moment.end_s, SECOND_DECIMALS)),
                    *(moment.caption, _join_colours(moment.attributes), moment.attributes.size),
                    *motion_to_json(moment.motion).values(),
                    *_round_sides(moment.path[0][1:]),
                    *_round_sides(moment.path[-1][1:]),
                    round(moment.score, SECOND_DECIMALS),
                ]

    yield from _write_table(MOMENT_COLUMNS, make_rows())


def write_boxes_csv(timelines: Timelines) -> Iterator[str]:
    """One row a box, with its true frame number; `measured` is false where it was interpolated."""

    def make_rows() -> Iterator[Sequence[Any]]:
        for video, timeline in timelines.read_all():
            head = [video.video_id, video.uri, timeline.item.object_id, timeline.name]
            for step in timelines.number_boxes(video, timeline.item, every_frame=False):
                sides = _round_sides(step.box)
                yield [*head, step.frame, round(step.time_s, SECOND_DECIMALS), *sides, step.measured]

    yield from _write_table(BOX_COLUMNS, make_rows())


def _write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow(columns)
    for row in rows:
        yield _take(line)
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])
    yield _take(line)


def _take(line: io.StringIO) -> str:
    text = line.getvalue()
    line.seek(0)
    line.truncate()
    return text


def _join_colours(attributes: Attributes) -> str:
    return " ".join(attributes.colours)


def _round_sides(sides: Iterable[float]) -> list[float]:
    return [round(side, PIXEL_DECIMALS) for side in sides]
