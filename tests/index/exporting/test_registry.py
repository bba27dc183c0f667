"""What all formats have in common: streaming, empty indexes, files that are whole or untouched."""

from __future__ import annotations

import errno
import gc
import json
import os
import tracemalloc
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.index.exporting.library import LONG_CAPTION, make_long, read_files
from tests.index.factories import TEXT_DIMENSIONS
from tubelet.errors import InputError, UnknownNameError
from tubelet.index.exporting.files import write_export
from tubelet.index.exporting.format import ExportFormat, one_file
from tubelet.index.exporting.registry import EXPORTERS, stream_export
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.store import IndexStore


def measure_peak(name: str, num_objects: int) -> int:
    _, timelines = make_long(num_objects)
    gc.collect()
    tracemalloc.start()
    try:
        for file in EXPORTERS[name].write(timelines):
            for _ in file.pieces:
                pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", EXPORTERS)
def test_memory_does_not_grow_with_the_number_of_objects(name: str) -> None:
    measure_peak(name, 20)  # what is loaded and cached once
    few, many = measure_peak(name, 80), measure_peak(name, 230)
    held = 150 * len(LONG_CAPTION)  # what the captions of 150 more objects would take, were they kept
    assert many - few < held / 3, (few, many)


@pytest.mark.parametrize("name", ["jsonl", "json", "csv", "csv-boxes", "parquet", "label-studio"])
def test_the_first_bytes_come_before_the_last_object_is_read(name: str) -> None:
    store, timelines = make_long(2000)
    pieces = stream_export(timelines, name)
    while store.num_read == 0:
        next(pieces)
    next(pieces)
    assert store.num_read < 200


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_empty_index_exports_nothing_wrong(tmp_path: Path, name: str) -> None:
    empty = IndexStore.open(tmp_path / "e", create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)
    files = read_files(Timelines(empty), name)
    chosen = EXPORTERS[name]
    if chosen.layout != "file":
        assert files == {}
        return
    (content,) = files.values()
    if chosen.suffix == ".json":
        document = json.loads(content)
        assert not any(document[key] for key in ("videos", "images", "annotations") if key in document)
    elif name == "parquet":
        (tmp_path / "empty.parquet").write_bytes(content)
        assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0
    else:
        assert len(content.splitlines()) == (1 if chosen.suffix == ".csv" else 0)


def test_an_unknown_format_is_refused_before_anything_is_read(timelines: Timelines, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'vhs'.*coco-vid, csv.*youtube-vis"):
        stream_export(timelines, "vhs")
    with pytest.raises(UnknownNameError):
        write_export(timelines, "vhs", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", EXPORTERS)
def test_files_hold_what_was_streamed(timelines: Timelines, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    written = write_export(timelines, name, out)
    streamed = read_files(timelines, name)
    assert [path.read_bytes() for path in written] == list(streamed.values())
    if EXPORTERS[name].layout == "file":
        assert written == [out]
    else:
        assert [str(path.relative_to(out)) for path in written] == list(streamed)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(written)


def test_a_format_of_a_file_a_video_takes_one_file_for_one_video(store: IndexStore, tmp_path: Path) -> None:
    from tubelet.index.exporting.object_filter import ObjectFilter

    one = Timelines(store, ObjectFilter(video_ids=("v1",)))
    assert write_export(one, "cvat", tmp_path / "one.xml") == [tmp_path / "one.xml"]
    assert ET.parse(tmp_path / "one.xml").getroot().tag == "annotations"
    with pytest.raises(InputError, match="several files, and there are 2 videos"):
        write_export(Timelines(store), "cvat", tmp_path / "two.xml")
    with pytest.raises(InputError, match="several files"):
        stream_export(one, "mot")


def break_off(timelines: Timelines) -> Iterator[str]:
    yield "half of it\n"
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def broken_format(monkeypatch: pytest.MonkeyPatch) -> ExportFormat:
    broken = one_file("broken", "breaks off", ".txt", break_off)
    monkeypatch.setattr("tubelet.index.exporting.registry.EXPORTERS", {"broken": broken})
    return broken


def test_a_failed_export_leaves_the_old_file_and_nothing_else(
    timelines: Timelines, tmp_path: Path, broken_format: ExportFormat
) -> None:
    (tmp_path / "old.txt").write_text("as it was")
    with pytest.raises(InputError, match="No space left on device"):
        write_export(timelines, "broken", tmp_path / "old.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "as it was"


@pytest.mark.parametrize("name", ["jsonl", "webvtt", "mot"])
def test_a_place_that_is_none_is_an_error(timelines: Timelines, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written to"):
        write_export(timelines, name, tmp_path / "file" / "inside")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_written_file_has_the_usual_permissions(timelines: Timelines, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (written,) = write_export(timelines, "jsonl", tmp_path / "out.jsonl")
    assert written.stat().st_mode == (tmp_path / "usual").stat().st_mode
