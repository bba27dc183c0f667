"""`parquet`: one row an object, moments and path nested in it, zstd-compressed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.index.exporting.json_values import attributes_to_json, motion_to_json
from tubelet.index.exporting.timelines import Timeline, Timelines
from tubelet.records import Box, Video

OBJECTS_A_ROW_GROUP = 64

_MOTION = pa.struct(
    {
        "heading": pa.string(),
        "heading_deg": pa.float64(),
        "speed": pa.float64(),
        "turn": pa.string(),
        "turn_deg": pa.float64(),
        "stopped": pa.bool_(),
        "approaching": pa.bool_(),
        "leaving": pa.bool_(),
        "entry_side": pa.string(),
        "exit_side": pa.string(),
    }
)

SCHEMA = pa.schema(
    {
        "video_id": pa.string(),
        "uri": pa.string(),
        "object_id": pa.string(),
        "name": pa.string(),
        "category": pa.string(),
        "colours": pa.list_(pa.string()),
        "colour_shares": pa.list_(pa.float64()),
        "size": pa.string(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "score": pa.float64(),
        "motion": _MOTION,
        "moments": pa.list_(
            pa.struct(
                {
                    "moment_id": pa.string(),
                    "start_s": pa.float64(),
                    "end_s": pa.float64(),
                    "caption": pa.string(),
                    "motion": _MOTION,
                    "score": pa.float64(),
                }
            )
        ),
        "path": pa.list_(
            pa.struct(
                {
                    "frame": pa.int64(),
                    "t": pa.float64(),
                    **{side: pa.float32() for side in Box._fields},
                    "measured": pa.bool_(),
                }
            )
        ),
    }
)


def write_parquet(timelines: Timelines) -> Iterator[bytes]:
    """One row an object, in row groups of a few objects; the schema is `SCHEMA`."""
    sink = _Drain()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), SCHEMA, compression="zstd") as writer:
        rows = (_make_row(timelines, video, timeline) for video, timeline in timelines.read_all())
        while some := list(islice(rows, OBJECTS_A_ROW_GROUP)):
            writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
            some.clear()  # before the next group is made
            yield sink.take()
    yield sink.take()


def _make_row(timelines: Timelines, video: Video, timeline: Timeline) -> dict[str, Any]:
    item = timeline.item
    return {
        "video_id": video.video_id,
        "uri": video.uri,
        "object_id": item.object_id,
        "name": timeline.name,
        **attributes_to_json(item.attributes),
        "start_s": item.start_s,
        "end_s": item.end_s,
        "score": item.score,
        "motion": motion_to_json(item.motion),
        "moments": [
            {
                "moment_id": moment.moment_id,
                "start_s": moment.start_s,
                "end_s": moment.end_s,
                "caption": moment.caption,
                "motion": motion_to_json(moment.motion),
                "score": moment.score,
            }
            for moment in timeline.moments
        ],
        "path": [
            {"frame": step.frame, "t": step.time_s, **step.box._asdict(), "measured": step.measured}
            for step in timelines.number_boxes(video, item, every_frame=False)
        ],
    }


class _Drain:
    """A file that is only written to, and whose bytes are taken away as they come."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is held open."""

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
