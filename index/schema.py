"""The three tables of the index, `videos`, `tubelets` and `moments`, and how records become their rows.

A row holds nothing that changes from run to run (no clock time), so indexing the same video again gives the
same rows, apart from `generation`, which names the write that made them (docs/index-keeping.md). Boxes are
kept as 32-bit floats and read back to a hundredth of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tubelet.index.query import choose_label
from tubelet.index.words import list_words
from tubelet.records import (
    Attributes,
    Box,
    IndexedObject,
    Likelihoods,
    ModelNames,
    Moment,
    Motion,
    PathPoint,
    Video,
)

SCHEMA_VERSION = 4
VERSION_KEY = b"tubelet.schema_version"

UNIQUE_KEY = {b"lance-schema:unenforced-primary-key": b"true"}
"""On `videos.video_id`: LanceDB then lets only one of two writers insert a row for the same video."""

_STRINGS = pa.list_(pa.string())
_SCORES = pa.list_(pa.float32())
_BOX = pa.struct([(side, pa.float32()) for side in Box._fields])
_PATH = pa.list_(
    pa.struct([(name, pa.float64() if name == "t" else pa.float32()) for name in PathPoint._fields])
)
_BOX_DECIMALS = 2
_SCORE_DECIMALS = 3

_MODELS = [(name, pa.string()) for name in ModelNames.__dataclass_fields__]

_MEASURED = [
    ("category", pa.string()),
    ("colours", _STRINGS),
    ("colour_shares", pa.list_(pa.float64())),
    ("size", pa.string()),
    ("category_score", pa.float64()),
    ("kinds", _STRINGS),
    ("heading", pa.string()),
    ("heading_deg", pa.float64()),
    ("speed", pa.float64()),
    ("turn", pa.string()),
    ("turn_deg", pa.float64()),
    ("stopped", pa.bool_()),
    ("approaching", pa.bool_()),
    ("leaving", pa.bool_()),
    ("entry_side", pa.string()),
    ("exit_side", pa.string()),
]

LIKELY_COLUMNS = [
    ("likely_colours", _STRINGS),
    ("likely_colour_scores", _SCORES),
    ("likely_ways", _STRINGS),
    ("likely_way_scores", _SCORES),
]
"""Of moments; null in rows of versions before 4."""

_NULLABLE = {"heading_deg", "entry_side", "exit_side", "object_vector", *(name for name, _ in LIKELY_COLUMNS)}


def make_videos_schema() -> pa.Schema:
    """One row a video. It is written last: a video without this row is not in the index.

    `generation` names the write whose tubelets and moments are in force, `fence` the lease it was made under.
    """
    return _make_schema(
        [
            ("video_id", pa.string()),
            ("uri", pa.string()),
            ("identity", pa.string()),
            ("duration_s", pa.float64()),
            ("frame_rate", pa.float64()),
            ("nominal_frame_rate", pa.float64()),
            ("num_frames", pa.int64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("rotation_deg", pa.int32()),
            ("codec", pa.string()),
            ("variable_frame_rate", pa.bool_()),
            ("warnings", _STRINGS),
            ("num_objects", pa.int64()),
            ("num_moments", pa.int64()),
            *_MODELS,
            ("generation", pa.string()),
            ("fence", pa.int64()),
        ],
        unique="video_id",
    )


def make_tubelets_schema() -> pa.Schema:
    """One row an object."""
    return _make_schema(
        [
            ("object_id", pa.string()),
            ("video_id", pa.string()),
            ("uri", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            *_MEASURED,
            ("path", _PATH),
            ("score", pa.float64()),
            ("thumbnail", pa.binary()),
            *_MODELS,
            ("generation", pa.string()),
        ]
    )


def make_moments_schema(text_dimensions: int, object_dimensions: int) -> pa.Schema:
    """One row a moment. `object_vector` is there when `object_dimensions` is not 0, and may be null.

    `label` is the category, or else the one that the caption names. `words` are the caption's and the
    measured words, stemmed, with a space on both sides of each. Frame size and duration repeat the video's,
    so that place and time can be judged from the row alone.
    """
    fields = [
        ("moment_id", pa.string()),
        ("object_id", pa.string()),
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("caption", pa.string()),
        ("caption_source", pa.string()),
        ("model_caption", pa.string()),
        ("model_confidence", pa.float64()),
        ("words", pa.string()),
        ("label", pa.string()),
        *_MEASURED,
        ("box_start", _BOX),
        ("box_middle", _BOX),
        ("box_end", _BOX),
        ("box_mean", _BOX),
        ("path", _PATH),
        ("mean_area", pa.float64()),
        ("score", pa.float64()),
        ("frame_width", pa.int32()),
        ("frame_height", pa.int32()),
        ("video_duration_s", pa.float64()),
        ("thumbnail", pa.binary()),
        *_MODELS,
        *LIKELY_COLUMNS,
        ("text_vector", pa.list_(pa.float32(), text_dimensions)),
    ]
    if object_dimensions:
        fields.append(("object_vector", pa.list_(pa.float32(), object_dimensions)))
    fields.append(("generation", pa.string()))
    return _make_schema(fields)


def make_video_row(
    video: Video, models: ModelNames, *, num_objects: int, num_moments: int, generation: str, fence: int
) -> dict[str, Any]:
    """A row of `videos`."""
    row = {name: getattr(video, name) for name in Video.__dataclass_fields__}
    counts = {"num_objects": num_objects, "num_moments": num_moments}
    return row | _model_columns(models) | counts | {"generation": generation, "fence": fence}


def make_tubelet_row(item: IndexedObject, models: ModelNames, generation: str) -> dict[str, Any]:
    """A row of `tubelets`."""
    return {
        "object_id": item.object_id,
        "video_id": item.video_id,
        "uri": item.uri,
        "start_s": item.start_s,
        "end_s": item.end_s,
        **_measured_columns(item.attributes, item.motion),
        "path": [point._asdict() for point in item.path],
        "score": item.score,
        "thumbnail": item.thumbnail,
        **_model_columns(models),
        "generation": generation,
    }


def make_moment_row(moment: Moment, video: Video, models: ModelNames, generation: str) -> dict[str, Any]:
    """A row of `moments`; `object_vector` is left out by the caller where the table has none."""
    boxes = [Box(*point[1:]) for point in moment.path]
    mean = Box(*(sum(sides) / len(boxes) for sides in zip(*boxes, strict=True)))
    return {
        "moment_id": moment.moment_id,
        "object_id": moment.object_id,
        "video_id": moment.video_id,
        "uri": moment.uri,
        "start_s": moment.start_s,
        "end_s": moment.end_s,
        "caption": moment.caption,
        "caption_source": moment.caption_source,
        "model_caption": moment.model_caption,
        "model_confidence": moment.model_confidence,
        "words": list_words(moment.caption, moment.attributes, moment.motion),
        "label": choose_label(moment.caption, moment.attributes),
        **_measured_columns(moment.attributes, moment.motion),
        "box_start": boxes[0]._asdict(),
        "box_middle": _find_middle_box(moment)._asdict(),
        "box_end": boxes[-1]._asdict(),
        "box_mean": mean._asdict(),
        "path": [point._asdict() for point in moment.path],
        "mean_area": moment.mean_area,
        "score": moment.score,
        "frame_width": video.width,
        "frame_height": video.height,
        "video_duration_s": video.duration_s,
        "thumbnail": moment.thumbnail,
        **_model_columns(models),
        **{f"likely_{name}": getattr(moment.likely, name) for name in Likelihoods.__dataclass_fields__},
        "text_vector": moment.text_vector,
        "object_vector": moment.object_vector or None,
        "generation": generation,
    }


def read_video(row: Mapping[str, Any]) -> Video:
    """The record of a row of `videos`."""
    values = {name: row[name] for name in Video.__dataclass_fields__}
    return Video(**values | {"warnings": tuple(row["warnings"])})


def read_models(row: Mapping[str, Any]) -> ModelNames:
    """Which models made a row, of any table."""
    return ModelNames(**{name: row[name] for name in ModelNames.__dataclass_fields__})


def read_object(row: Mapping[str, Any]) -> IndexedObject:
    """The record of a row of `tubelets`. Columns that were not asked for (thumbnail) stay empty."""
    return IndexedObject(
        object_id=row["object_id"],
        video_id=row["video_id"],
        uri=row["uri"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        attributes=read_attributes(row),
        motion=read_motion(row),
        path=_read_path(row["path"]),
        score=row["score"],
        thumbnail=row.get("thumbnail", b""),
    )


def read_moment(row: Mapping[str, Any]) -> Moment:
    """The record of a row of `moments`. Columns that were not asked for (thumbnail, vectors) stay empty."""
    return Moment(
        moment_id=row["moment_id"],
        object_id=row["object_id"],
        video_id=row["video_id"],
        uri=row["uri"],
        start_s=row["start_s"],
        end_s=row["end_s"],
        caption=row["caption"],
        caption_source=row["caption_source"],
        model_caption=row["model_caption"],
        model_confidence=row["model_confidence"],
        attributes=read_attributes(row),
        motion=read_motion(row),
        path=_read_path(row["path"]),
        mean_area=row["mean_area"],
        score=row["score"],
        thumbnail=row.get("thumbnail", b""),
        text_vector=tuple(row.get("text_vector") or ()),
        object_vector=tuple(row.get("object_vector") or ()),
        likely=_read_likely(row),
    )


def _read_likely(row: Mapping[str, Any]) -> Likelihoods:
    fields = Likelihoods.__dataclass_fields__
    values = {name: tuple(row.get(f"likely_{name}") or ()) for name in fields}
    for name in ("colour_scores", "way_scores"):
        values[name] = tuple(round(score, _SCORE_DECIMALS) for score in values[name])
    return Likelihoods(**values)


def read_attributes(row: Mapping[str, Any]) -> Attributes:
    """What was measured on the pixels, from a row of `tubelets` or `moments`.

    Columns that were not asked for (category_score, kinds) stay empty.
    """
    return Attributes(
        colours=tuple(row["colours"]),
        colour_shares=tuple(row["colour_shares"]),
        size=row["size"],
        category=row["category"],
        category_score=row.get("category_score", 0.0),
        kinds=tuple(row.get("kinds") or ()),
    )


def read_motion(row: Mapping[str, Any]) -> Motion:
    """How the object moved, from a row of `tubelets` or `moments`."""
    return Motion(**{name: row[name] for name in Motion.__dataclass_fields__})


def read_box(value: Mapping[str, float]) -> Box:
    """A box column's value, to a hundredth of a pixel."""
    return Box(*(round(value[side], _BOX_DECIMALS) for side in Box._fields))


def _read_path(points: Sequence[Mapping[str, float]]) -> tuple[PathPoint, ...]:
    return tuple(PathPoint(point["t"], *read_box(point)) for point in points)


def _find_middle_box(moment: Moment) -> Box:
    middle_s = (moment.start_s + moment.end_s) / 2
    return Box(*min(moment.path, key=lambda point: abs(point.t - middle_s))[1:])


def _measured_columns(attributes: Attributes, motion: Motion) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(attributes, name) for name in Attributes.__dataclass_fields__}
    return columns | {name: getattr(motion, name) for name in Motion.__dataclass_fields__}


def _model_columns(models: ModelNames) -> dict[str, Any]:
    return {name: getattr(models, name) for name in ModelNames.__dataclass_fields__}


def _make_schema(fields: Sequence[tuple[str, pa.DataType]], *, unique: str = "") -> pa.Schema:
    return pa.schema(
        [
            pa.field(name, kind, nullable=name in _NULLABLE, metadata=UNIQUE_KEY if name == unique else None)
            for name, kind in fields
        ],
        metadata={VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )
