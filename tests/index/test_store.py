"""The index on disk, against real LanceDB tables."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lancedb.expr import col, lit

from tests.index.factories import (
    MODELS,
    TEXT_DIMENSIONS,
    group_objects,
    make_moment,
    make_object,
    make_video,
)
from tubelet.errors import StoreError
from tubelet.index import keeping, location
from tubelet.index import snapshot as snapshot_module
from tubelet.index.schema import SCHEMA_VERSION, VERSION_KEY
from tubelet.index.snapshot import RowCounts
from tubelet.index.store import IndexStore
from tubelet.records import Likelihoods, Moment, Video


@pytest.fixture
def store(tmp_path: Path) -> IndexStore:
    return open_store(tmp_path / "index")


TABLES = ("videos", "tubelets", "moments")


def open_store(path: Path, object_dimensions: int = 0) -> IndexStore:
    return IndexStore.open(
        path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=object_dimensions
    )


def put(store: IndexStore, video: Video, *numbers: int, **fields: object) -> list[Moment]:
    moments = [make_moment(number, video, **fields) for number in numbers]
    store.replace_video(video, group_objects(moments), moments, MODELS)
    return moments


def read_everything(path: Path) -> dict[str, list[dict[str, object]]]:
    """All rows of all tables, in one order, without the name of the write that made them."""
    connection = lancedb.connect(path)
    tables = {
        name: connection.open_table(name).to_arrow().drop_columns("generation").to_pylist() for name in TABLES
    }
    return {name: sorted(rows, key=repr) for name, rows in tables.items()}


def test_records_come_back_as_they_went_in(tmp_path: Path) -> None:
    store = open_store(tmp_path, object_dimensions=3)
    video = make_video(warnings=("frame 7 is damaged",), rotation_deg=90, variable_frame_rate=True)
    with_vector = make_moment(1, video, object_vector=(0.5, 0.25, -1.0))
    likely = Likelihoods(("red", "pink"), (0.7, 0.123), ("still",), (0.95,))
    without = make_moment(2, video, start_s=5.0, end_s=9.0, likely=likely)
    store.replace_video(video, group_objects([with_vector, without]), [with_vector, without], MODELS)

    assert store.get_video("v1") == video
    assert store.get_models("v1") == MODELS
    assert store.get_moments("v1-o1") == [with_vector]
    assert store.get_moments("v1-o2") == [without]
    assert store.get_object("v1-o2") == make_object([without])
    assert (store.text_dimensions, store.object_dimensions) == (TEXT_DIMENSIONS, 3)


def test_what_is_not_there_is_none(store: IndexStore) -> None:
    put(store, make_video(), 1)
    assert store.get_video("v2") is None
    assert store.get_models("v2") is None
    assert store.get_object("v1-o2") is None
    assert store.get_moments("v1-o2") == []


def test_indexing_again_gives_the_same_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, make_video(), 1, 2, 3)
    before = read_everything(tmp_path)
    put(store, make_video(), 1, 2, 3)
    assert read_everything(tmp_path) == before


def test_replacing_a_video_takes_its_old_rows_away_and_nothing_else(store: IndexStore) -> None:
    put(store, make_video("v1"), 1, 2, 3)
    put(store, make_video("v2"), 1)
    put(store, make_video("v1"), 3, 4)
    assert store.count_rows() == RowCounts(videos=2, tubelets=3, moments=3)
    assert store.get_object("v1-o1") is None
    assert store.get_object("v1-o4") is not None
    assert store.get_object("v2-o1") is not None


def test_a_changed_file_replaces_what_its_address_held(store: IndexStore) -> None:
    put(store, make_video("old", uri="/a.mp4"), 1, 2)
    put(store, make_video("new", uri="/a.mp4"), 1)
    assert [video.video_id for video in store.list_videos()] == ["new"]
    assert store.count_rows() == RowCounts(videos=1, tubelets=1, moments=1)


def test_a_moved_file_keeps_its_id_under_the_new_address(store: IndexStore) -> None:
    put(store, make_video("v1", uri="/old.mp4"), 1)
    put(store, make_video("v1", uri="/new.mp4"), 1)
    assert [video.uri for video in store.list_videos()] == ["/new.mp4"]
    assert store.get_moments("v1-o1")[0].uri == "/new.mp4"


def test_a_video_without_objects_is_indexed(store: IndexStore) -> None:
    put(store, make_video(), 1, 2)
    put(store, make_video())
    assert store.get_video("v1") == make_video()
    assert store.count_rows() == RowCounts(videos=1, tubelets=0, moments=0)


def test_streams_are_accepted(store: IndexStore) -> None:
    moments = [make_moment(number) for number in range(600)]
    store.replace_video(make_video(), iter(group_objects(moments)), iter(moments), MODELS)
    assert store.count_rows() == RowCounts(videos=1, tubelets=600, moments=600)


def test_an_error_in_the_stream_comes_out_as_it_was_and_changes_nothing(
    store: IndexStore, tmp_path: Path
) -> None:
    before = put(store, make_video("v1"), 1)
    put(store, make_video("v2"), 1)

    def break_off() -> Iterator[Moment]:
        yield make_moment(2)
        raise ValueError("no more pictures")

    with pytest.raises(ValueError, match="no more pictures"):
        store.replace_video(make_video("v1"), group_objects([make_moment(2)]), break_off(), MODELS)

    assert [video.video_id for video in store.list_videos()] == ["v1", "v2"]
    assert store.get_moments("v1-o1") == before
    assert [len(rows) for rows in read_everything(tmp_path / "index").values()] == [2, 2, 2]
    put(store, make_video("v1"), 2)
    assert store.get_moments("v1-o2") == [make_moment(2)]
    assert store.count_rows() == RowCounts(videos=2, tubelets=2, moments=2)


def test_wrong_moments_are_refused(store: IndexStore) -> None:
    video = make_video()
    with pytest.raises(AssertionError, match="comes twice"):
        store.replace_video(video, [], [make_moment(1), make_moment(1)], MODELS)
    with pytest.raises(AssertionError, match="is not of"):
        store.replace_video(video, [], [make_moment(1, make_video("v2"))], MODELS)
    with pytest.raises(AssertionError, match="text vector of 2 numbers"):
        store.replace_video(video, [], [make_moment(1, text_vector=(1.0, 0.0))], MODELS)
    with pytest.raises(AssertionError, match="object vector of 1 numbers"):
        store.replace_video(video, [], [make_moment(1, object_vector=(1.0,))], MODELS)
    assert store.count_rows().moments == 0


def test_nothing_of_a_video_shows_until_its_row_is_there(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    put(store, make_video("v1"), 1)
    put(store, make_video("v2"), 1)
    lancedb.connect(tmp_path).open_table("videos").delete(col("video_id") == lit("v1"))

    assert store.get_video("v1") is None
    assert store.get_object("v1-o1") is None
    assert store.get_moments("v1-o1") == []
    assert store.find_complete(["v1", "v2", "v3"]) == {"v2"}
    assert [item.object_id for item, _ in store.iterate_objects()] == ["v2-o1"]


def test_removing_a_video_removes_nothing_else(store: IndexStore) -> None:
    put(store, make_video("v1"), 1, 2)
    kept = put(store, make_video("v2"), 1)
    assert store.remove_video("v1")
    assert not store.remove_video("v1")
    assert store.count_rows() == RowCounts(videos=1, tubelets=1, moments=1)
    assert store.get_moments("v2-o1") == kept


@pytest.mark.parametrize(
    "name", ["it's", "a' OR '1'='1", "--", 'say "hi"', "赤い車 🚗", "'; DROP TABLE moments", "%_\\"]
)
def test_signs_in_ids_and_addresses_are_only_text(store: IndexStore, name: str) -> None:
    put(store, make_video("other"), 1)
    put(store, make_video(name, uri=f"/{name}.mp4"), 1)
    put(store, make_video(name, uri=f"/{name}.mp4"), 2)
    assert store.get_object(f"{name}-o1") is None
    assert store.get_object(f"{name}-o2") is not None
    assert store.remove_video(name)
    assert store.count_rows() == RowCounts(videos=1, tubelets=1, moments=1)


def test_objects_are_iterated_by_address_and_time(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "READ_BATCH_ROWS", 2)
    later, first = make_video("v1", uri="/b.mp4"), make_video("v2", uri="/a.mp4")
    moments = [make_moment(number, later, start_s=9.0 - number, end_s=9.5) for number in range(5)]
    moments.append(make_moment(5, later, object_id="v1-o4", start_s=6.0, end_s=7.0))
    store.replace_video(later, group_objects(moments), moments, MODELS)
    put(store, first, 7)

    found = list(store.iterate_objects())
    assert [item.object_id for item, _ in found] == ["v2-o7", "v1-o4", "v1-o3", "v1-o2", "v1-o1", "v1-o0"]
    assert [moment.moment_id for moment in found[1][1]] == ["v1-m4", "v1-m5"]
    assert [item.object_id for item, _ in store.iterate_objects(["v2"])] == ["v2-o7"]
    assert found[0][0].thumbnail == b""


def test_optimizing_changes_no_row_and_indexes_every_row(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.optimize()  # nothing there yet
    for number in range(4):
        put(store, make_video(f"v{number}"), *range(10))
    before = read_everything(tmp_path)
    store.optimize()
    assert read_everything(tmp_path) == before

    put(store, make_video("v9"), 1)
    store.optimize()
    moments = lancedb.connect(tmp_path).open_table("moments")
    assert {index.columns[0] for index in moments.list_indices()} >= {"words", "video_id", "object_id"}
    for index in moments.list_indices():
        assert moments.index_stats(index.name).num_unindexed_rows == 0


def test_a_vector_index_is_built_past_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "VECTOR_INDEX_MIN_ROWS", 300)
    store = open_store(tmp_path)
    put(store, make_video("v1"), *range(299))
    store.optimize()
    assert "text_vector" not in {index.columns[0] for index in store.moments.list_indices()}
    put(store, make_video("v2"), 1)
    store.optimize()
    assert "text_vector" in {index.columns[0] for index in store.moments.list_indices()}


def test_a_reader_sees_what_another_store_wrote(tmp_path: Path) -> None:
    writer, reader = open_store(tmp_path), IndexStore.open(tmp_path)
    put(writer, make_video(), 1)
    assert reader.get_video("v1") is not None
    writer.remove_video("v1")
    assert reader.get_video("v1") is None


def test_a_missing_index_is_said_to_be_missing_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no index at .* tubelet index"):
        IndexStore.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="no index"):
        IndexStore.open(tmp_path / "empty")


def test_a_half_made_index_is_completed(tmp_path: Path) -> None:
    open_store(tmp_path)
    lancedb.connect(tmp_path).drop_table("moments")
    with pytest.raises(StoreError, match="no index"):
        IndexStore.open(tmp_path)
    put(open_store(tmp_path), make_video(), 1)
    assert IndexStore.open(tmp_path).count_rows() == RowCounts(1, 1, 1)


def test_a_file_in_place_of_the_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match="file"):
        open_store(tmp_path / "file")


@pytest.mark.parametrize("version", [None, "0", "99"])
def test_a_table_of_another_schema_version_is_refused(tmp_path: Path, version: str | None) -> None:
    open_store(tmp_path)
    connection = lancedb.connect(tmp_path)
    schema = connection.open_table("tubelets").schema
    metadata = {} if version is None else {VERSION_KEY: version.encode()}
    connection.create_table("tubelets", schema=pa.schema(list(schema), metadata=metadata), mode="overwrite")
    with pytest.raises(
        StoreError,
        match=f"'tubelets' .* version {version or 'none'}. Expected: version {SCHEMA_VERSION}. Do: ",
    ):
        IndexStore.open(tmp_path)


def test_vectors_of_another_size_are_refused(tmp_path: Path) -> None:
    open_store(tmp_path, object_dimensions=4)
    with pytest.raises(StoreError, match=r"text vectors of 8 numbers. Expected: 384"):
        IndexStore.open(tmp_path, text_dimensions=384)
    with pytest.raises(StoreError, match=r"object vectors of 4 numbers. Expected: 0"):
        IndexStore.open(tmp_path, create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=0)


def test_a_writer_gives_up_on_a_lock_that_is_not_released(
    tmp_path: Path, store: IndexStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "LOCK_TIMEOUT_S", 0.05)
    with (
        FileLock(tmp_path / "index" / "write.lock"),
        pytest.raises(StoreError, match="locked by another writer"),
    ):
        put(store, make_video(), 1)
    put(store, make_video(), 1)
    assert store.count_rows().videos == 1


@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_is_refused_instead_of_hanging(store: IndexStore) -> None:
    def read_in_child(answers: multiprocessing.connection.Connection) -> None:
        try:
            store.list_videos()
        except StoreError as error:
            answers.send(str(error))

    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=read_in_child, args=(theirs,))
    child.start()
    try:
        assert ours.poll(30)
        assert "spawn" in ours.recv()
    finally:
        child.kill()
        child.join()


WRITER = """
import sys
from tests.index.factories import MODELS, group_objects, make_moment, make_video
from tubelet.index.store import IndexStore

folder, name, stop_at = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = IndexStore.open(folder, create=True, text_dimensions=8, object_dimensions=0)
video = make_video(name)
moments = [make_moment(number, video) for number in range(600)]

def stream(items, first):
    for number, item in enumerate(items, first):
        if number == stop_at:
            print("reached", flush=True)
            sys.stdin.read()
        yield item

store.replace_video(video, stream(group_objects(moments), 0), stream(moments, 1000), MODELS)
"""


def start_writer(folder: Path, name: str, stop_at: int = -1) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(stop_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


@pytest.mark.parametrize("stop_at", [300, 1300], ids=["among tubelets", "among moments"])
def test_a_killed_writer_leaves_nothing_half_and_a_rerun_gives_the_same_rows(
    tmp_path: Path, stop_at: int
) -> None:
    whole = open_store(tmp_path / "whole")
    video = make_video("v1")
    moments = [make_moment(number, video) for number in range(600)]
    whole.replace_video(video, group_objects(moments), moments, MODELS)

    store = open_store(tmp_path / "killed")
    put(store, replace(video), 1, 2)  # an older result, to be replaced
    with start_writer(tmp_path / "killed", "v1", stop_at) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "reached\n"
        writer.kill()
    assert [item.object_id for item, _ in store.iterate_objects()] == ["v1-o1", "v1-o2"]  # as before
    assert len(read_everything(tmp_path / "killed")["tubelets"]) == (602 if stop_at > 1000 else 2)

    store.replace_video(video, group_objects(moments), moments, MODELS)
    assert read_everything(tmp_path / "killed") == read_everything(tmp_path / "whole")


def test_writers_in_two_processes_wait_for_each_other(tmp_path: Path) -> None:
    open_store(tmp_path)
    writers = [start_writer(tmp_path, name) for name in ("v1", "v2")]
    for writer in writers:
        with writer:
            writer.communicate(timeout=120)
        assert writer.returncode == 0
    assert IndexStore.open(tmp_path).count_rows() == RowCounts(videos=2, tubelets=1200, moments=1200)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["v1", "v2", "v3"]), st.sets(st.integers(0, 5)) | st.none()), max_size=6
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_any_order_of_writes_and_removals_leaves_what_a_dictionary_would(
    actions: list[tuple[str, set[int] | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = open_store(tmp_path_factory.mktemp("index"))
    expected: dict[str, set[int]] = {}
    for name, numbers in actions:
        if numbers is None:
            assert store.remove_video(name) == (expected.pop(name, None) is not None)
        else:
            put(store, make_video(name), *sorted(numbers))
            expected[name] = numbers
    found = {item.object_id for item, _ in store.iterate_objects()}
    assert found == {f"{name}-o{number}" for name, numbers in expected.items() for number in numbers}
    assert {video.video_id for video in store.list_videos()} == set(expected)
    assert store.count_rows() == RowCounts(len(expected), len(found), len(found))
