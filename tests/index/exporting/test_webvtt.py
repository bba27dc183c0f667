"""WebVTT, read by webvtt-py and by the format's own rules."""

from __future__ import annotations

import re
from html import unescape

import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from tests.index.exporting.library import NASTY, STREET, make_long, read_files
from tests.index.factories import make_moment, make_object
from tubelet.index.exporting.timelines import Timelines
from tubelet.index.exporting.webvtt import write_webvtt
from tubelet.records import Moment

TIMING = re.compile(r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})")


def parse_strictly(text: str) -> list[tuple[float, float, str]]:
    """Cues by the rules of W3C WebVTT: signature, blocks parted by blank lines, times, starts that rise."""
    assert text.startswith("WEBVTT\n\n")
    cues = []
    for block in text.split("\n\n")[1:]:
        lines = block.strip("\n").split("\n")
        if lines[0].startswith("NOTE"):
            assert "-->" not in block
            continue
        assert "-->" not in lines[0]
        match = TIMING.fullmatch(lines[1])
        assert match is not None, lines
        h0, m0, s0, ms0, h1, m1, s1, ms1 = map(int, match.groups())
        start_s, end_s = h0 * 3600 + m0 * 60 + s0 + ms0 / 1000, h1 * 3600 + m1 * 60 + s1 + ms1 / 1000
        (cue,) = lines[2:]
        assert "-->" not in cue
        assert start_s < end_s
        assert not cues or cues[-1][0] <= start_s
        cues.append((start_s, end_s, cue))
    return cues


def test_a_known_reader_finds_every_moment(timelines: Timelines) -> None:
    files = {name: content.decode() for name, content in read_files(timelines, "webvtt").items()}
    assert list(files) == ["street_night-v1.vtt", "yard-v2.vtt"]
    street = webvtt.from_string(files["street_night-v1.vtt"])
    assert [cue.identifier for cue in street] == ["v1-m1", "v1-m3", "v1-m2"]
    assert [(cue.start, cue.end) for cue in street] == [
        ("00:00:00.000", "00:00:01.000"),
        ("00:00:00.480", "00:00:03.960"),
        ("00:00:02.000", "00:00:02.320"),
    ]
    assert unescape(street[0].text) == " ".join(NASTY.split())
    assert street[0].voice == "car v1-car"
    assert STREET.uri in files["street_night-v1.vtt"]
    (dog,) = webvtt.from_string(files["yard-v2.vtt"])
    assert (dog.start, dog.end) == ("00:00:01.001", "00:00:01.041")


def test_the_rules_of_the_format_hold(timelines: Timelines) -> None:
    for content in read_files(timelines, "webvtt").values():
        assert parse_strictly(content.decode())


class OneVideo:
    """Timelines of whatever moments."""

    def __init__(self, moments: list[list[Moment]]) -> None:
        self._moments = moments

    def list_videos(self) -> list[object]:
        return [STREET]

    def iterate_labelled_objects(self, video_id: str) -> object:
        for moments in sorted(self._moments, key=lambda some: some[0].start_s):
            yield make_object(moments), moments, [""]


@given(
    st.lists(
        st.tuples(st.integers(0, 10**8), st.lists(st.integers(1, 10**5), min_size=1, max_size=4), st.text()),
        max_size=6,
    )
)
def test_any_moments_and_words_make_a_valid_file(drawn: list[tuple[int, list[int], str]]) -> None:
    objects = []
    for number, (first_ms, lengths_ms, caption) in enumerate(drawn):
        moments = []
        for part, length_ms in enumerate(lengths_ms):
            moments.append(
                make_moment(
                    number * 10 + part,
                    STREET,
                    object_id=f"o{number}",
                    start_s=first_ms / 1000,
                    end_s=(first_ms + length_ms) / 1000,
                    caption=caption,
                )
            )
            first_ms += length_ms
        objects.append(moments)
    timelines = Timelines(OneVideo(objects))  # type: ignore[arg-type]
    cues = parse_strictly("".join(write_webvtt(timelines, STREET)))
    expected = sorted(moment.start_s for moments in objects for moment in moments)
    assert [start_s for start_s, _, _ in cues] == pytest.approx(expected)


def test_only_moments_of_objects_under_way_wait() -> None:
    store, timelines = make_long(1000)
    pieces = write_webvtt(timelines, STREET)
    for _ in range(100):
        next(pieces)
    assert store.num_read <= 110
