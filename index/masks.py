"""Masks of indexed objects, frame by frame: one Arrow file a video, `HOME/masks/VIDEO_ID.arrow`.

Masks are for pictures and exports, never for searching, so they stay out of the tables. A file holds record
batches of one object each, compressed, which lets a reader take one object without reading the others. It is
written whole or not at all, and before the video's rows, so that a video in sight has its masks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from tubelet.errors import StoreError
from tubelet.records import Observation, Rle

FORMAT = b"tubelet-masks-1"
FORMAT_KEY = b"tubelet"

_SCHEMA = pa.schema(
    {
        "object_id": pa.string(),
        "time_s": pa.float64(),
        "height": pa.int32(),
        "width": pa.int32(),
        "counts": pa.binary(),
    },
    metadata={FORMAT_KEY: FORMAT},
)


def find_masks(home: Path, video_id: str) -> Path:
    """Where the masks of a video lie, if it has any."""
    assert Path(video_id).name == video_id, f"{video_id!r} is no id of ours"
    return home / "masks" / f"{video_id}.arrow"


def write_masks(home: Path, video_id: str, parts: Iterable[tuple[str, Sequence[Observation]]]) -> None:
    """Write the masks of a video in place of those it had.

    A part is a stretch of one object, by its id; parts of one object come in time order, and may be a stream.
    Observations without a mask are passed over.
    """
    path = find_masks(home, video_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
        try:
            with pa.ipc.new_file(file, _SCHEMA, options=options) as writer:
                for object_id, observations in parts:
                    batch = _make_batch(object_id, observations)
                    if batch.num_rows:
                        writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def read_masks(
    home: Path, video_id: str, object_ids: Collection[str] | None = None
) -> Iterator[tuple[str, float, Rle]]:
    """The masks of a video as (object id, seconds, mask): object after object, each in time order.

    `object_ids` narrows it to some objects; only theirs are read. A mask lies over the whole upright frame,
    on a grid that may be coarser than it (`resize_mask` in tubelet.model.masks brings it to any size). A
    video without masks (its tracker gives boxes, or it was indexed before masks were kept) gives nothing.
    Raises StoreError where the file is not one of ours.
    """
    path = find_masks(home, video_id)
    if not path.exists():
        return
    places: dict[str, list[int]] = {}
    with _open(path, ["object_id"]) as reader:
        for place in range(reader.num_record_batches):
            places.setdefault(reader.get_batch(place).column("object_id")[0].as_py(), []).append(place)
    with _open(path, _SCHEMA.names) as reader:
        for object_id, own in places.items():
            if object_ids is not None and object_id not in object_ids:
                continue
            for place in own:
                for row in reader.get_batch(place).to_pylist():
                    yield object_id, row["time_s"], Rle(row["height"], row["width"], row["counts"])


def remove_masks(home: Path, video_id: str) -> None:
    """Delete the masks of a video, if it has any."""
    find_masks(home, video_id).unlink(missing_ok=True)


def list_videos_with_masks(home: Path) -> list[str]:
    """Ids of the videos that have a file of masks."""
    return sorted(path.stem for path in (home / "masks").glob("*.arrow") if not path.name.startswith("."))


def remove_unfinished_masks(home: Path) -> None:
    """Delete what a killed run left half written."""
    for leftover in (home / "masks").glob(".writing-*"):
        leftover.unlink(missing_ok=True)


def _make_batch(object_id: str, observations: Sequence[Observation]) -> pa.RecordBatch:
    seen = [
        (observation.time_s, observation.mask) for observation in observations if observation.mask is not None
    ]
    columns = [
        [object_id] * len(seen),
        [time_s for time_s, _ in seen],
        [mask.height for _, mask in seen],
        [mask.width for _, mask in seen],
        [mask.counts for _, mask in seen],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, _SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _open(path: Path, columns: Sequence[str]) -> pa.ipc.RecordBatchFileReader:
    options = pa.ipc.IpcReadOptions(included_fields=[_SCHEMA.get_field_index(name) for name in columns])
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)), options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise _not_ours(path, str(error)) from error
    if (reader.schema.metadata or {}).get(FORMAT_KEY) != FORMAT:
        raise _not_ours(path, f"its format is {(reader.schema.metadata or {}).get(FORMAT_KEY)!r}")
    return reader


def _not_ours(path: Path, found: str) -> StoreError:
    return StoreError(
        f"{path} does not hold masks: {found}",
        expected="a file that Tubelet wrote",
        do="delete it and index the video again",
    )
