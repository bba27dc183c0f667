"""What a chunk leaves behind: one Arrow file in the work store, written once, atomically.

A row is a tracklet. The file's metadata names the chunk, the tracker that made it, the camera's motion, the
cuts, and what decoder and tracker had to say. Pictures sit in a column of their own, so that joining never
loads them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tubelet.errors import StoreError
from tubelet.records import Box, CameraStep, Chunk, Observation, Rle, Tracklet, View

FORMAT = "tubelet-chunk-2"

_OBSERVATION = pa.struct(
    {
        "time_s": pa.float64(),
        "box": pa.list_(pa.float64(), 4),
        "score": pa.float32(),
        "mask": pa.struct({"height": pa.int32(), "width": pa.int32(), "counts": pa.binary()}),
    }
)
_VIEW = pa.struct(
    {
        "time_s": pa.float64(),
        "box": pa.list_(pa.float64(), 4),
        "crop": pa.list_(pa.float64(), 4),
        "image": pa.binary(),
        "mask": pa.struct({"height": pa.int32(), "width": pa.int32(), "counts": pa.binary()}),
        "quality": pa.float32(),
        "scene": pa.binary(),
    }
)
SCHEMA = pa.schema(
    {
        "tracklet_id": pa.string(),
        "observations": pa.list_(_OBSERVATION),
        "appearance": pa.list_(pa.float32()),
        "views": pa.list_(_VIEW),
    }
)


@dataclass(frozen=True, slots=True)
class ChunkResult:
    """A finished chunk without its pictures; `read_views` fetches those of one tracklet.

    `cuts` are the times of the first frames after each cut, the margins' as well.
    """

    chunk: Chunk
    tracker: str
    tracklets: tuple[Tracklet, ...]
    camera: tuple[CameraStep, ...]
    warnings: tuple[str, ...]
    num_frames: int
    cuts: tuple[float, ...] = ()


def write_chunk_result(path: Path, result: ChunkResult, views: Sequence[Sequence[View]]) -> None:
    """Write `result`, and the views of each of its tracklets in the same order, wholly or not at all."""
    rows = [
        {
            "tracklet_id": tracklet.tracklet_id,
            "observations": [_observation_row(observation) for observation in tracklet.observations],
            "appearance": tracklet.appearance,
            "views": [_view_row(view) for view in views_of_tracklet],
        }
        for tracklet, views_of_tracklet in zip(result.tracklets, views, strict=True)
    ]
    head = {
        "format": FORMAT,
        "chunk": asdict(result.chunk),
        "tracker": result.tracker,
        "camera": [[step.time_s, *step.matrix] for step in result.camera],
        "warnings": result.warnings,
        "num_frames": result.num_frames,
        "cuts": result.cuts,
    }
    schema = SCHEMA.with_metadata({"tubelet": json.dumps(head)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
        try:
            with pa.ipc.new_file(file, schema) as writer:
                for row in rows:  # one batch a tracklet, so that its pictures can be read alone
                    writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def read_chunk_result(path: Path) -> ChunkResult:
    """Read a chunk result without its pictures. Raises StoreError where the file is not one."""
    columns = [name for name in SCHEMA.names if name != "views"]
    with _open(path, columns) as reader:
        head = _read_head(reader, path)
        chunk = Chunk(**head["chunk"])
        tracklets = tuple(
            Tracklet(
                tracklet_id=row["tracklet_id"],
                chunk_index=chunk.index,
                observations=tuple(_read_observation(item) for item in row["observations"]),
                appearance=tuple(row["appearance"]),
            )
            for row in _read_rows(reader)
        )
    return ChunkResult(
        chunk=chunk,
        tracker=head["tracker"],
        tracklets=tracklets,
        camera=tuple(CameraStep(step[0], tuple(step[1:])) for step in head["camera"]),
        warnings=tuple(head["warnings"]),
        num_frames=head["num_frames"],
        cuts=tuple(head["cuts"]),
    )


def read_views(path: Path, tracklet_ids: Iterable[str]) -> dict[str, tuple[View, ...]]:
    """The pictures of some tracklets of one chunk; only theirs are read from the disk."""
    wanted = set(tracklet_ids)
    with _open(path, ["tracklet_id"]) as reader:
        places = [
            place
            for place in range(reader.num_record_batches)
            if reader.get_batch(place).column("tracklet_id")[0].as_py() in wanted
        ]
    found: dict[str, tuple[View, ...]] = {}
    with _open(path, ["tracklet_id", "views"]) as reader:
        for place in places:
            row = reader.get_batch(place).to_pylist()[0]
            found[row["tracklet_id"]] = tuple(_read_view(item) for item in row["views"])
    return found


def read_tracker_name(path: Path) -> str:
    """Which tracker made the file, as `name@version`."""
    with _open(path, ["tracklet_id"]) as reader:
        return str(_read_head(reader, path)["tracker"])


def _open(path: Path, columns: list[str]) -> pa.ipc.RecordBatchFileReader:
    options = pa.ipc.IpcReadOptions(included_fields=[SCHEMA.get_field_index(name) for name in columns])
    try:
        return pa.ipc.open_file(pa.memory_map(str(path)), options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{path} is not a chunk result: {error}",
            expected="a file that Tubelet wrote",
            do="delete it and run the same command again",
        ) from error


def _read_head(reader: pa.ipc.RecordBatchFileReader, path: Path) -> dict[str, Any]:
    head: dict[str, Any] = json.loads((reader.schema.metadata or {}).get(b"tubelet", b"{}"))
    if head.get("format") != FORMAT:
        raise StoreError(
            f"{path} has format {head.get('format')!r}",
            expected=FORMAT,
            do="delete it and run the same command again",
        )
    return head


def _read_rows(reader: pa.ipc.RecordBatchFileReader) -> Iterator[dict[str, Any]]:
    for place in range(reader.num_record_batches):
        yield from reader.get_batch(place).to_pylist()


def _observation_row(observation: Observation) -> dict[str, Any]:
    return {
        "time_s": observation.time_s,
        "box": observation.box,
        "score": observation.score,
        "mask": None if observation.mask is None else asdict(observation.mask),
    }


def _read_observation(row: dict[str, Any]) -> Observation:
    mask = row["mask"]
    return Observation(row["time_s"], Box(*row["box"]), row["score"], None if mask is None else Rle(**mask))


def _view_row(view: View) -> dict[str, Any]:
    return asdict(view)


def _read_view(row: dict[str, Any]) -> View:
    return View(**{**row, "box": Box(*row["box"]), "crop": Box(*row["crop"]), "mask": Rle(**row["mask"])})
