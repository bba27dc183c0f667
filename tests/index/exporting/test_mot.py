"""MOT Challenge tables, read by a parser that holds to the challenge's published rules."""

from __future__ import annotations

import configparser
from dataclasses import dataclass

from tests.index.exporting.library import SAMPLED, STREET, read_files
from tubelet.index.exporting.timelines import Timelines


@dataclass(frozen=True)
class Row:
    """A line of a table: 1-based frame, id and corner, then the columns that differ."""

    frame: int
    track: int
    left: float
    top: float
    width: float
    height: float
    rest: tuple[float, ...]


def parse_mot(text: str, num_columns: int) -> list[Row]:
    """All lines; frames, ids and sizes are checked, and that nobody is twice in a frame."""
    rows = []
    for line in text.splitlines():
        cells = line.split(",")
        assert len(cells) == num_columns, line
        row = Row(int(cells[0]), int(cells[1]), *map(float, cells[2:6]), tuple(map(float, cells[6:])))
        assert row.frame >= 1
        assert row.track >= 1
        assert row.width > 0
        assert row.height > 0
        rows.append(row)
    assert len({(row.frame, row.track) for row in rows}) == len(rows)
    return rows


def test_ground_truth_has_a_folder_a_video(timelines: Timelines) -> None:
    files = {name: content.decode() for name, content in read_files(timelines, "mot").items()}
    assert list(files)[:3] == [
        "street_night-v1/gt/gt.txt",
        "street_night-v1/gt/labels.txt",
        "street_night-v1/seqinfo.ini",
    ]
    assert len(files) == 6
    rows = parse_mot(files["street_night-v1/gt/gt.txt"], 9)
    labels = files["street_night-v1/gt/labels.txt"].splitlines()
    car = [row for row in rows if row.track == 1]
    assert [row.frame - 1 for row in car] == [*SAMPLED, 50, 54, 58]
    assert [(row.left - 1, row.top - 1, row.width, row.height) for row in car] == [
        (20 + 2 * frame, 50.5, 40, 30) for frame in (*SAMPLED, 50, 54, 58)
    ]
    assert {labels[int(row.rest[1]) - 1] for row in car} == {"car"}
    assert {labels[int(row.rest[1]) - 1] for row in rows if row.track == 2} == {"object"}
    assert {(row.rest[0], row.rest[2]) for row in rows} == {(1, 1)}


def test_the_sequence_is_described(timelines: Timelines) -> None:
    files = read_files(timelines, "mot")
    parser = configparser.ConfigParser()
    parser.read_string(files["street_night-v1/seqinfo.ini"].decode())
    sequence = parser["Sequence"]
    assert sequence["name"] == "street_night-v1"
    assert (sequence.getfloat("frameRate"), sequence.getint("seqLength")) == (25.0, 100)
    assert (sequence.getint("imWidth"), sequence.getint("imHeight")) == (STREET.width, STREET.height)


def test_results_have_scores_and_ten_columns(timelines: Timelines) -> None:
    files = read_files(timelines, "mot-results")
    rows = parse_mot(files["street_night-v1.txt"].decode(), 10)
    assert {row.track: row.rest for row in rows} == {1: (0.9, -1, -1, -1), 2: (0.5, -1, -1, -1)}


def test_every_frame_can_be_asked_for(store: object) -> None:
    timelines = Timelines(store, every_frame=True)  # type: ignore[arg-type]
    rows = parse_mot(read_files(timelines, "mot-results")["street_night-v1.txt"].decode(), 10)
    car = [row for row in rows if row.track == 1]
    assert [row.frame - 1 for row in car] == [*range(26), *range(50, 59)]
    assert [row.left - 1 for row in car] == [20 + 2 * (row.frame - 1) for row in car]
