"""Verifying: a sound index has no findings, and each fault put into the tables is found and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.index.factories import TEXT_DIMENSIONS, make_vector, make_video
from tests.index.writing import break_off, list_visible, put
from tubelet.index import verification
from tubelet.index.store import IndexStore
from tubelet.index.verification import Verification, verify_index


def verify(store: IndexStore, **options: Any) -> Verification:
    return verify_index(store.snapshot(), **options)


def list_kinds(found: Verification) -> dict[str, int]:
    return {finding.kind: finding.number for finding in found.findings}


@pytest.fixture
def filled(tmp_path: Path) -> IndexStore:
    """Two videos with object vectors on some moments."""
    store = IndexStore.open(
        tmp_path / "filled", create=True, text_dimensions=TEXT_DIMENSIONS, object_dimensions=3
    )
    put(store, make_video("v1"), *range(5), object_vector=(1.0, 0.0, 0.5))
    put(store, make_video("v2"), *range(3))
    return store


def test_a_sound_index_has_no_findings(filled: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "SCAN_BATCH_ROWS", 2)
    found = verify(filled, ledger_counts={"v1": 5, "gone": 7})
    assert found.findings == ()
    assert found.is_sound
    assert (found.num_videos, found.num_objects, found.num_moments) == (2, 8, 8)
    filled.remove_videos(["v1", "v2"])
    assert verify(filled).is_sound


def update(table: str, **values: Any) -> Callable[[IndexStore], None]:
    where = {"videos": "video_id = 'v1'", "tubelets": "object_id = 'v1-o1'", "moments": "moment_id = 'v1-m1'"}

    def change(store: IndexStore) -> None:
        getattr(store.tables, table).update(where=where[table], values=values)

    return change


def double(store: IndexStore) -> None:
    """As two merges would that no key keeps apart."""
    rows = store.moments.to_arrow()
    store.moments.add(rows.filter(rows["moment_id"].to_numpy(zero_copy_only=False) == "v1-m1"))


def spoil_vector(store: IndexStore) -> None:
    """Put an infinite number into a vector, by the back door: LanceDB's update takes none."""
    rows = store.moments.to_arrow()
    row = rows.filter(rows["moment_id"].to_numpy(zero_copy_only=False) == "v1-m1").to_pylist()[0]
    row["text_vector"] = [float("inf")] + [1.0] * (TEXT_DIMENSIONS - 1)
    store.moments.delete("moment_id = 'v1-m1'")
    store.moments.add(pa.Table.from_pylist([row], schema=rows.schema))


FAULTS: dict[str, tuple[Callable[[IndexStore], None], dict[str, int]]] = {
    "vector of no number": (spoil_vector, {"bad vector": 1}),
    "vector of nothing": (update("moments", text_vector=[0.0] * TEXT_DIMENSIONS), {"bad vector": 1}),
    "moment lost": (lambda store: store.moments.delete("moment_id = 'v1-m1'"), {"wrong count": 1}),
    "object lost": (
        lambda store: store.tables.tubelets.delete("object_id = 'v1-o1'"),
        {"unknown object": 1, "wrong count": 1},
    ),
    "video lost": (lambda store: store.tables.videos.delete("video_id = 'v1'"), {"orphan": 10}),
    "generation lost": (update("videos", generation="another"), {"orphan": 10, "wrong count": 1}),
    "moment doubled": (double, {"id twice": 1, "wrong count": 1}),
    "id with a space": (update("moments", moment_id="v1 m1"), {"bad id": 1}),
    "id that climbs": (update("moments", moment_id="../m1"), {"bad id": 1}),
    "address twice": (update("videos", uri="/videos/v2.mp4"), {"address twice": 1}),
    "no words": (update("moments", words="  "), {"no words": 1}),
    "no sentence": (update("moments", caption=""), {"no words": 1}),
    "ends early": (update("tubelets", end_s=0.5), {"bad time": 1}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(filled: IndexStore, fault: str) -> None:
    put_in, expected = FAULTS[fault]
    put_in(filled)
    found = verify(filled)
    assert list_kinds(found) == expected
    assert not found.is_sound


def test_counts_of_the_ledger_and_masks_are_compared(filled: IndexStore) -> None:
    found = verify(
        filled,
        ledger_counts={"v1": 5, "v2": 4},
        check_masks=lambda video_id: "cut off" if video_id == "v1" else "",
    )
    assert list_kinds(found) == {"ledger differs": 1, "bad masks": 1}
    examples = {finding.kind: finding.examples for finding in found.findings}
    assert examples["ledger differs"] == ("video v2: 3 objects, the ledger says 4",)
    assert examples["bad masks"] == ("video v1: cut off",)


def test_many_faults_are_counted_and_a_few_are_shown(filled: IndexStore) -> None:
    put(filled, make_video("v3"), *range(40), text_vector=make_vector(1))
    filled.moments.update(where="video_id = 'v3'", values={"words": ""})
    (finding,) = verify(filled).findings
    assert (finding.number, len(finding.examples)) == (40, verification.MAX_EXAMPLES)


def test_orphans_are_the_only_thing_that_is_mended(filled: IndexStore) -> None:
    break_off(filled, make_video("v2"), 7, 8)
    update("moments", words="")(filled)
    assert list_kinds(verify(filled)) == {"orphan": 4, "no words": 1}
    before = list_visible(filled)
    assert filled.remove_orphans() == 4
    assert list_kinds(verify(filled)) == {"no words": 1}
    assert list_visible(filled) == before
