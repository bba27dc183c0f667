"""Indexes of older schema versions, made here as the Tubelet of that time made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pytest

from tests.index.factories import TEXT_DIMENSIONS, make_vector, make_video
from tests.index.writing import count_stored, list_visible, put
from tubelet.errors import StoreError
from tubelet.index import migrations
from tubelet.index.migrations import migrate_index
from tubelet.index.query import parse_query
from tubelet.index.schema import SCHEMA_VERSION
from tubelet.index.search import search_moments
from tubelet.index.store import IndexStore
from tubelet.index.verification import verify_index
from tubelet.records import Likelihoods

TEXTS, BOX = "list<string>", "box"
TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "double": pa.float64(),
    "long": pa.int64(),
    "int": pa.int32(),
    "bool": pa.bool_(),
    "bytes": pa.binary(),
    TEXTS: pa.list_(pa.string()),
    "list<double>": pa.list_(pa.float64()),
    BOX: pa.struct([(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")]),
    "path": pa.list_(
        pa.struct([("t", pa.float64()), *((side, pa.float32()) for side in ("x0", "y0", "x1", "y1"))])
    ),
    "vector": pa.list_(pa.float32(), TEXT_DIMENSIONS),
}

CORNERS = {"x0": 100.0, "y0": 200.0, "x1": 150.0, "y1": 230.0}
MODELS_2 = {
    "tracker": ("string", "motion@1"),
    "captioner": ("string", "attributes@1"),
    "embedder": ("string", "test@1"),
    "recogniser": ("string", ""),
}
MEASURED_2 = {
    "category": ("string", "car"),
    "colours": (TEXTS, ["red"]),
    "colour_shares": ("list<double>", [0.75]),
    "size": ("string", "medium"),
    "category_score": ("double", 0.5),
    "kinds": (TEXTS, []),
    "heading": ("string", "right"),
    "heading_deg": ("double", None),
    "speed": ("double", 1.0),
    "turn": ("string", "left"),
    "turn_deg": ("double", 90.0),
    "stopped": ("bool", False),
    "approaching": ("bool", False),
    "leaving": ("bool", False),
    "entry_side": ("string", None),
    "exit_side": ("string", None),
}
VIDEO_2 = {
    "video_id": ("string", "v1"),
    "uri": ("string", "/videos/v1.mp4"),
    "identity": ("string", "blake2b:v1"),
    "duration_s": ("double", 60.0),
    "frame_rate": ("double", 29.97),
    "nominal_frame_rate": ("double", 30.0),
    "num_frames": ("long", 1798),
    "width": ("int", 1280),
    "height": ("int", 720),
    "rotation_deg": ("int", 0),
    "codec": ("string", "h264"),
    "variable_frame_rate": ("bool", False),
    "warnings": (TEXTS, []),
    "num_objects": ("long", 1),
    "num_moments": ("long", 1),
    **MODELS_2,
}
TUBELET_2 = {
    "object_id": ("string", "v1-o1"),
    "video_id": ("string", "v1"),
    "uri": ("string", "/videos/v1.mp4"),
    "start_s": ("double", 1.0),
    "end_s": ("double", 4.0),
    **MEASURED_2,
    "path": ("path", [{"t": 1.0, **CORNERS}, {"t": 4.0, **CORNERS}]),
    "score": ("double", 0.9),
    "thumbnail": ("bytes", b"\xff\xd8jpeg"),
    **MODELS_2,
}
MOMENT_2 = {
    "moment_id": ("string", "v1-m1"),
    "object_id": ("string", "v1-o1"),
    "video_id": ("string", "v1"),
    "uri": ("string", "/videos/v1.mp4"),
    "start_s": ("double", 1.0),
    "end_s": ("double", 4.0),
    "caption": ("string", "A red car turns left."),
    "caption_source": ("string", "measured"),
    "model_caption": ("string", ""),
    "model_confidence": ("double", 0.0),
    "words": ("string", " red car turn left "),
    "label": ("string", "car"),
    **MEASURED_2,
    "box_start": (BOX, CORNERS),
    "box_middle": (BOX, CORNERS),
    "box_end": (BOX, CORNERS),
    "box_mean": (BOX, CORNERS),
    "path": ("path", [{"t": 1.0, **CORNERS}, {"t": 4.0, **CORNERS}]),
    "mean_area": ("double", 1500.0),
    "score": ("double", 0.9),
    "frame_width": ("int", 1280),
    "frame_height": ("int", 720),
    "video_duration_s": ("double", 60.0),
    "thumbnail": ("bytes", b"\xff\xd8jpeg"),
    **MODELS_2,
    "text_vector": ("vector", list(make_vector(1))),
}
NULLABLE_2 = {"heading_deg", "entry_side", "exit_side"}


def write_version_2(folder: Path, version: str = "2") -> None:
    """An index of one video with one object, with the tables that version 2 had."""
    connection = lancedb.connect(folder)
    for name, row in (("videos", VIDEO_2), ("tubelets", TUBELET_2), ("moments", MOMENT_2)):
        schema = pa.schema(
            [pa.field(column, TYPES[kind], column in NULLABLE_2) for column, (kind, _) in row.items()],
            metadata={"tubelet.schema_version": version},
        )
        values = {column: value for column, (_, value) in row.items()}
        connection.create_table(name, pa.Table.from_pylist([values], schema=schema))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_version_2(tmp_path / "index")
    return tmp_path / "index"


def check_migrated(folder: Path) -> None:
    """What was there is there, searches find it, and the video can be replaced and removed."""
    store = IndexStore.open(folder)
    assert store.get_video("v1") == make_video()
    assert list_visible(store) == ["v1-m1"]
    assert store.get_object("v1-o1") is not None
    assert (store.get_generation("v1"), store.get_fence("v1")) == ("v1", 0)
    assert [hit.moment_id for hit in search_moments(store, parse_query("red car turning left"), None)] == [
        "v1-m1"
    ]
    assert store.get_moments("v1-o1")[0].likely == Likelihoods()
    assert verify_index(store.snapshot()).is_sound
    put(store, make_video("v2"), 5, fence=3)
    put(store, make_video("v1"), 2, 3, fence=1)
    assert list_visible(store) == ["v1-m2", "v1-m3", "v2-m5"]
    assert count_stored(store) == {"v1": 2, "v2": 1}
    store.optimize()
    assert verify_index(store.snapshot()).is_sound


def test_a_reader_says_what_to_do_and_changes_nothing(folder: Path) -> None:
    with pytest.raises(StoreError, match=r"version 2. Expected: version 4. Do: .*: tubelet index migrate"):
        IndexStore.open(folder)
    with pytest.raises(StoreError, match="version 2"):
        IndexStore.open(folder)


def test_migrating_keeps_every_row(folder: Path) -> None:
    done = migrate_index(str(folder))
    assert [line.split(",")[0] for line in done] == [
        f"{name}: version {since} to {since + 1}"
        for since in range(2, SCHEMA_VERSION)
        for name in ("videos", "tubelets", "moments")
    ]
    assert migrate_index(str(folder)) == ()
    check_migrated(folder)


def test_a_writer_migrates(folder: Path) -> None:
    IndexStore.open(folder, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    check_migrated(folder)


@pytest.mark.parametrize("writes", range(3 * (SCHEMA_VERSION - 2)))
@pytest.mark.parametrize("before", [True, False], ids=["columns there", "version there"])
def test_a_migration_that_was_killed_is_ended_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, writes: int, before: bool
) -> None:
    """Killed when a table has its columns and not its version, or when one more table is done."""
    write, written = migrations._write_version, []

    def die(table: Any, version: int) -> None:
        last = len(written) == writes
        if last and before:
            raise KeyboardInterrupt
        write(table, version)
        written.append(table.name)
        if last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_write_version", die)
        with pytest.raises(KeyboardInterrupt):
            migrate_index(str(folder))
    if writes < 3 * (SCHEMA_VERSION - 2) - 1 or before:
        with pytest.raises(StoreError, match="tubelet index migrate"):
            IndexStore.open(folder)
    migrate_index(str(folder))
    store = IndexStore.open(folder)
    assert list_visible(store) == ["v1-m1"]
    assert verify_index(store.snapshot()).is_sound
    put(store, make_video("v1"), 2)
    assert count_stored(store) == {"v1": 1}


@pytest.mark.parametrize(
    ("version", "what_to_do"), [("1", "index the videos again"), ("99", "use the newer Tubelet")]
)
def test_versions_that_no_step_starts_from_are_refused(tmp_path: Path, version: str, what_to_do: str) -> None:
    write_version_2(tmp_path, version)
    for attempt in (
        lambda: IndexStore.open(tmp_path),
        lambda: migrate_index(str(tmp_path)),
        lambda: IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0),
    ):
        with pytest.raises(StoreError, match=f"version {version}. .*{what_to_do}"):
            attempt()
    assert lancedb.connect(tmp_path).open_table("videos").version == 1
