"""Checking an index row by row: what is wrong, by kind, with examples.

The tables are read once from end to end, a few thousand rows in memory at a time; what is kept is a line for
each video and eight bytes for each id. Nothing is changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tubelet.index.snapshot import Snapshot
from tubelet.index.tables import scan_rows

MAX_EXAMPLES = 5
SCAN_BATCH_ROWS = 4096

ID_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
"""Ids become names of files, so they hold nothing that means something in one."""

KINDS = {
    "bad id": "an id is empty or holds signs that no id of ours has",
    "id twice": "two rows in force have the same id",
    "address twice": "two videos have the same address",
    "orphan": "rows of a write that is not in force: optimize, or --fix, removes them",
    "unknown object": "a moment's object is not there",
    "bad vector": "a vector holds numbers that are not finite, or none",
    "no words": "a moment has no words, no label column or no sentence",
    "bad time": "a moment or object ends before it starts",
    "wrong count": "a video has another number of rows than its own row says",
    "ledger differs": "the ledger has counted another number of objects",
    "bad masks": "the file of masks cannot be read",
}
"""What can be wrong, and what it means."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: how often, and a few of those it concerns."""

    kind: str
    about: str
    number: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong with it."""

    num_videos: int
    num_objects: int
    num_moments: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


def verify_index(
    snapshot: Snapshot,
    *,
    ledger_counts: Mapping[str, int] | None = None,
    check_masks: Callable[[str], str] = lambda _: "",
) -> Verification:
    """Check every row of the index as it was at a snapshot.

    `ledger_counts` gives the number of objects that a ledger has for each video that it calls done;
    `check_masks` says what is wrong with a video's masks, nothing when they can be read. Raises StoreError
    when a table cannot be read at all.
    """
    checker = _Checker(snapshot)
    videos = checker.check_videos(ledger_counts or {}, check_masks)
    objects = checker.check_rows("tubelets", "object_id")
    moments = checker.check_rows("moments", "moment_id")
    checker.check_counts()
    return Verification(videos, objects, moments, checker.wrong.list_findings())


@dataclass(slots=True)
class _Wrong:
    """What was found so far."""

    numbers: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, example: str, number: int = 1) -> None:
        assert kind in KINDS, f"{kind} is not among the kinds"
        self.numbers[kind] += number
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(example)

    def add_rows(self, kind: str, rows: pa.Table, key: str, wrong: Any) -> None:
        """Every row of a batch for which `wrong` is true."""
        found = rows.filter(pc.fill_null(wrong, True))
        if len(found):
            names = [
                f"{row[key]} of video {row['video_id']}" for row in found.slice(0, MAX_EXAMPLES).to_pylist()
            ]
            for name in names[:-1]:
                self.add(kind, name)
            self.add(kind, names[-1], len(found) - len(names) + 1)

    def list_findings(self) -> tuple[Finding, ...]:
        return tuple(
            Finding(kind, about, self.numbers[kind], tuple(self.examples[kind]))
            for kind, about in KINDS.items()
            if self.numbers[kind]
        )


class _Checker:
    """Reads the tables one after another and remembers what the next one is compared with."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._expected: dict[str, tuple[int, int]] = {}
        self._counted: dict[str, Counter[str]] = {"tubelets": Counter(), "moments": Counter()}
        self._object_ids: NDArray[np.int64] = np.empty(0, np.int64)
        self.wrong = _Wrong()

    def check_videos(self, ledger_counts: Mapping[str, int], check_masks: Callable[[str], str]) -> int:
        """The rows of `videos`; how many there are."""
        columns = ["video_id", "uri", "num_objects", "num_moments"]
        addresses: Counter[str] = Counter()
        seen: Counter[str] = Counter()
        for batch in scan_rows(self._snapshot.tables.videos, None, columns, SCAN_BATCH_ROWS):
            rows = pa.Table.from_batches([batch])
            self.wrong.add_rows("bad id", rows, "video_id", _has_bad_id(rows["video_id"]))
            for row in rows.to_pylist():
                video_id = row["video_id"]
                seen[video_id] += 1
                addresses[row["uri"]] += 1
                self._expected[video_id] = (row["num_objects"], row["num_moments"])
                counted = ledger_counts.get(video_id)
                if counted is not None and counted != row["num_objects"]:
                    self.wrong.add(
                        "ledger differs",
                        f"video {video_id}: {row['num_objects']} objects, the ledger says {counted}",
                    )
                if problem := check_masks(video_id):
                    self.wrong.add("bad masks", f"video {video_id}: {problem}")
        for video_id, number in seen.items():
            if number > 1:
                self.wrong.add("id twice", f"video {video_id}", number - 1)
        for uri, number in addresses.items():
            if number > 1:
                self.wrong.add("address twice", uri, number - 1)
        return sum(seen.values())

    def check_rows(self, name: str, key: str) -> int:
        """The rows of `tubelets` or `moments`; how many are in force."""
        table = getattr(self._snapshot.tables, name)
        ids: list[NDArray[np.int64]] = []
        for batch in scan_rows(table, None, self._choose_columns(table), SCAN_BATCH_ROWS):
            every = pa.Table.from_batches([batch])
            rows = self._snapshot.keep_visible(every)
            if len(rows) < len(every):
                self._note_orphans(name, every, rows)
            self._counted[name].update(rows["video_id"].to_pylist())
            self.wrong.add_rows("bad id", rows, key, _has_bad_id(rows[key]))
            self.wrong.add_rows("bad time", rows, key, pc.less(rows["end_s"], rows["start_s"]))
            ids.append(_hash(rows[key]))
            if name == "moments":
                self._check_moments(rows)
        hashes = np.concatenate(ids) if ids else np.empty(0, np.int64)
        self._find_doubles(name, key, hashes)
        if name == "tubelets":
            self._object_ids = np.unique(hashes)
        return len(hashes)

    def check_counts(self) -> None:
        """Each video's rows against what its own row says."""
        for video_id, (num_objects, num_moments) in self._expected.items():
            found = (self._counted["tubelets"][video_id], self._counted["moments"][video_id])
            if found != (num_objects, num_moments):
                self.wrong.add(
                    "wrong count",
                    f"video {video_id}: {found[0]} objects and {found[1]} moments, "
                    f"its row says {num_objects} and {num_moments}",
                )

    def _choose_columns(self, table: Any) -> list[str]:
        wanted = (
            *("object_id", "moment_id", "video_id", "generation", "start_s", "end_s"),
            *("caption", "words", "label", "text_vector", "object_vector"),
        )
        return [name for name in wanted if name in table.schema.names]

    def _check_moments(self, rows: pa.Table) -> None:
        key = "moment_id"
        lost = ~np.isin(_hash(rows["object_id"]), self._object_ids)
        self.wrong.add_rows("unknown object", rows, key, pa.array(lost))
        for name in ("caption", "words"):
            self.wrong.add_rows("no words", rows, key, pc.equal(pc.utf8_trim_whitespace(rows[name]), ""))
        self.wrong.add_rows("no words", rows, key, pc.is_null(rows["label"]))
        for name in ("text_vector", "object_vector"):
            if name in rows.column_names:
                self.wrong.add_rows("bad vector", rows, key, _has_bad_vector(rows[name]))

    def _note_orphans(self, name: str, every: pa.Table, visible: pa.Table) -> None:
        hidden = Counter(every["video_id"].to_pylist()) - Counter(visible["video_id"].to_pylist())
        for video_id, number in sorted(hidden.items()):
            self.wrong.add("orphan", f"{number} rows of {name} of video {video_id}", number)

    def _find_doubles(self, name: str, key: str, hashes: NDArray[np.int64]) -> None:
        """Ids whose hashes come twice are few: they are read again and compared as they are."""
        values, counts = np.unique(hashes, return_counts=True)
        doubled = values[counts > 1]
        if not len(doubled):
            return
        seen: Counter[str] = Counter()
        columns = [key, "video_id", "generation"]
        for batch in scan_rows(getattr(self._snapshot.tables, name), None, columns, SCAN_BATCH_ROWS):
            rows = self._snapshot.keep_visible(pa.Table.from_batches([batch]))
            some = rows.filter(pa.array(np.isin(_hash(rows[key]), doubled)))
            seen.update(some[key].to_pylist())
        for double, number in sorted(seen.items()):
            if number > 1:
                self.wrong.add("id twice", f"{key} {double}", number - 1)


def _has_bad_id(ids: pa.ChunkedArray) -> Any:
    return pc.invert(pc.match_substring_regex(ids, ID_PATTERN))


def _has_bad_vector(vectors: pa.ChunkedArray) -> pa.Array:
    """Which vectors hold something that is no number, or only zeros. A vector may be left out (null)."""
    whole = pa.concat_arrays(vectors.chunks) if vectors.num_chunks else pa.array([], vectors.type)
    length = vectors.type.list_size
    numbers = pc.fill_null(whole, [1.0] * length).flatten().to_numpy(zero_copy_only=False)
    each = numbers.reshape(len(whole), length)
    return pa.array(~np.isfinite(each).all(axis=1) | ~each.any(axis=1))


def _hash(names: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.fromiter(map(hash, names.to_pylist()), np.int64, len(names))
