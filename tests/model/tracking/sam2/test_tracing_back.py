"""What is discovered is traced back to when it came, and goes on under the number of what it was before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.model.tracking.film_factory import Thing, collect
from tests.model.tracking.sam2.colour_matcher import make_colour_matcher
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.motionless import Motionless
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, PlainFilm, film_plainly
from tests.model.tracking.sam2.red_judge import make_red_judge
from tubelet.errors import SettingsError
from tubelet.model.frame import Frame
from tubelet.model.masks import decode_mask
from tubelet.model.tracking.base import TrackedFrame
from tubelet.model.tracking.sam2 import past as past_module
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.detector import Detection
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.frame_view import FrameView
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.network import ImageFeatures
from tubelet.model.tracking.sam2.past import Past
from tubelet.model.tracking.sam2.prompts import BoxPrompt
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracing_back import Traced, TracingSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.records import Box, CameraStep

BY_MEMORY = TrackerSettings(
    key_every_s=1.0, tracing=TracingSettings(back_s=3.0), discovery=DiscoverySettings(points_per_side=8)
)


def track(film: PlainFilm, settings: TrackerSettings, **parts: object) -> list[TrackedFrame]:
    network = parts.pop("network", None) or ColourNetwork()
    tracker = Sam2Tracker(network, settings=settings, motion=Motionless(), **parts)  # type: ignore[arg-type]
    return list(tracker.track(film.frames, []))


def list_times(result: Sequence[TrackedFrame], number: int) -> list[float]:
    return [round(seen.time_s, 3) for seen in collect(result)[number]]


def list_film_times(film: PlainFilm, start_s: float) -> list[float]:
    return [round(frame.time_s, 3) for frame in film.frames if frame.time_s >= start_s - 1e-6]


@pytest.mark.parametrize(("back_s", "first_s"), [(0.0, 1.0), (0.3, 4 / 6), (3.0, 0.5)])
def test_a_still_newcomer_is_traced_back_to_when_it_came(back_s: float, first_s: float) -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda time_s: (100, 100) if time_s > 0.4 else None)], 2.5)
    result = track(film, replace(BY_MEMORY, tracing=TracingSettings(back_s=back_s)))
    assert [tracked.frame for tracked in result] == film.frames
    assert collect(result).keys() == {0}
    assert list_times(result, 0) == list_film_times(film, first_s)
    for tracked, [cover] in zip(result, film.truth, strict=True):
        for item in tracked.objects:
            assert item.observation.mask is not None
            mask = decode_mask(item.observation.mask)
            assert (mask & cover).sum() > 0.8 * (mask | cover).sum()


def test_what_moves_is_traced_along_its_path() -> None:
    film = film_plainly([Thing(RED, (60, 40), lambda time_s: (40 + 60 * time_s, 100))], 2.5)
    late = replace(BY_MEMORY, discovery=None)
    result = track(film, late, detector=SeesFrom(film, 1.5))
    assert list_times(result, 0) == list_film_times(film, 0.0)
    x = [seen.box.centre[0] for seen in collect(result)[0]]
    assert np.all(np.diff(x) > 0)


class SeesFrom:
    """A detector that sees the first thing of a film, from a time on."""

    def __init__(self, film: PlainFilm, since_s: float) -> None:
        self._covers = {
            frame.time_s: covers[0] for frame, covers in zip(film.frames, film.truth, strict=True)
        }
        self._since_s = since_s

    def detect(self, frame: Frame) -> list[Detection]:
        cover = self._covers[frame.time_s]
        if frame.time_s < self._since_s or not cover.any():
            return []
        rows, columns = np.flatnonzero(cover.any(1)), np.flatnonzero(cover.any(0))
        return [Detection(Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), 0.9)]


@pytest.mark.parametrize(("before", "first_s"), [(GREEN, 1.5), (RED, 0.0)], ids=["another", "the same"])
def test_by_flow_tracing_ends_where_the_thing_is_not_known_again(
    before: tuple[int, int, int], first_s: float
) -> None:
    """At its place lay another thing before. Masks are checked every 0.5 s."""
    film = film_plainly(
        [
            Thing(RED, (80, 60), lambda time_s: (160, 90) if time_s > 1.4 else None),
            Thing(before, (80, 60), lambda time_s: (160, 90) if time_s <= 1.4 else None),
        ],
        3.0,
    )
    settings = TrackerSettings(
        follow_by="flow",
        refine_every=3,
        discovery=None,
        key_every_s=1.0,
        tracing=TracingSettings(back_s=3.0, min_judged=0.2),
    )
    result = track(
        film,
        settings,
        assistants=Assistants(judge=make_red_judge(), matcher=make_colour_matcher()),
        detector=SeesFrom(film, 1.6),
    )
    assert list_times(result, 0) == list_film_times(film, first_s)


class ForgetfulNetwork(ColourNetwork):
    """Finds nothing that it follows in the fifth and sixth picture, when it first looks at them."""

    def attend_memory(
        self, features: ImageFeatures, memory_BTM: Tensor, position_BTM: Tensor, num_pointer_tokens: int
    ) -> Tensor:
        seen = super().attend_memory(features, memory_BTM, position_BTM, num_pointer_tokens)
        return torch.zeros_like(seen) if self.num_images in (5, 6) else seen


@pytest.mark.parametrize("back_s", [0.0, 3.0])
def test_what_was_lost_goes_on_under_its_number_without_a_gap(back_s: float) -> None:
    film = film_plainly(
        [Thing(RED, (60, 40), lambda _: (100, 100)), Thing(BLUE, (60, 40), lambda _: (250, 100))], 2.5
    )
    settings = replace(BY_MEMORY, max_absent_s=0.0, tracing=TracingSettings(back_s=back_s))
    result = track(film, settings, network=ForgetfulNetwork())
    numbers = collect(result).keys()
    assert numbers == ({0, 1} if back_s else {0, 1, 2, 3})
    if back_s:
        assert all(list_times(result, number) == list_film_times(film, 0.0) for number in numbers)
        boxes = [{round(seen.box.x0, -1) for seen in collect(result)[number]} for number in numbers]
        assert [len(own) for own in boxes] == [1, 1], "each number stays on its thing"


NEW = 3


def make_masks(*, presence: float = 1.0, **columns: int) -> FrameMasks:
    """A mask of three columns for each object, `n0` for the number 0, all in sight or none."""
    numbers = tuple(int(name[1:]) for name in columns)
    logits_Bhw = torch.full((len(numbers), 16, 16), -9.0)
    for mask_hw, column in zip(logits_Bhw, columns.values(), strict=True):
        mask_hw[4:12, column : column + 3] = 9.0
    return FrameMasks(numbers, logits_Bhw, torch.full((len(numbers),), presence), torch.ones(len(numbers)))


def add_to(past: Past, time_s: float, masks: FrameMasks) -> None:
    frame = Frame(time_s, np.zeros((16, 16, 3), np.uint8), 16, 16)
    tracked = TrackedFrame(frame, (), CameraStep(time_s, (1, 0, 0, 0, 1, 0)))
    view: FrameView = None  # type: ignore[assignment]
    past.add(tracked, masks, view, hidden=(), is_check=True)


def list_columns(past: Past) -> list[dict[int, float]]:
    """Where each name's mask begins, frame by frame."""
    frames = past.take_old(is_end=True)
    return [{item.number: item.observation.box.x0 for item in frame.objects} for frame in frames]


def begin_past() -> Past:
    """One that nothing is followed for."""
    long = TrackerSettings(tracing=TracingSettings(back_s=9.0))
    return Past(long, lambda: None)  # type: ignore[arg-type, return-value]


def trace(past: Past, traced: Traced) -> set[int]:
    """Which others end where this much is traced."""
    with patch.object(past_module, "trace_back", return_value=traced):
        return past.trace({NEW: BoxPrompt(Box(2, 4, 5, 12))})


def test_what_another_became_is_new_where_its_past_is_taken() -> None:
    """Object 0 slid from one thing (column 2) onto another (column 10) in the third of four frames."""
    past = begin_past()
    for time_s, masks in enumerate(
        (make_masks(n0=2), make_masks(n0=2), make_masks(n0=10), make_masks(n0=10, n3=2))
    ):
        add_to(past, float(time_s), masks)
    assert trace(past, Traced([(2, make_masks(n3=2))], {NEW: (0, 1)})) == set(), "it goes on"
    assert list_columns(past) == [{0: 2}, {0: 2}, {0: 2, 2: 10}, {0: 2, 2: 10}]


@pytest.mark.parametrize("presence", [0.0, 1.0])
def test_what_is_not_in_sight_yet_may_be_what_another_was(presence: float) -> None:
    """The new object is found where object 0 was, which is nowhere now."""
    past = begin_past()
    add_to(past, 0.0, make_masks(n0=2))
    add_to(past, 1.0, make_masks(presence=0.0, n0=2))
    add_to(past, 2.0, make_masks(presence=presence, n3=2))
    assert trace(past, Traced([(1, make_masks(n3=2))], {NEW: (0, 0)})) == {0}
    add_to(past, 3.0, make_masks(n3=3))
    assert list_columns(past) == [{0: 2}, {0: 2}, {0: 2} if presence else {}, {0: 3}]


@st.composite
def draw_past(draw: st.DrawFn) -> tuple[list[frozenset[int]], int, int | None]:
    """Which of three objects is seen in which frame, how far back another is traced, and whom it meets."""
    frames = draw(st.lists(st.frozensets(st.integers(0, 2)), min_size=2, max_size=6))
    place = draw(st.integers(-1, len(frames) - 2))
    met = draw(st.sampled_from(sorted(frames[place]))) if place >= 0 and frames[place] else None
    return frames, place, met


@given(draw_past())
@settings(deadline=None, max_examples=60)
def test_joining_renames_and_loses_nothing(drawn: tuple[list[frozenset[int]], int, int | None]) -> None:
    """An object's column is 3 times its number; the new one is seen in every frame after `place`."""
    frames, place, met = drawn
    past = begin_past()
    last = len(frames) - 1
    for at, numbers in enumerate(frames):
        seen = [*sorted(numbers), NEW] if at == last else sorted(numbers)
        add_to(past, float(at), make_masks(**{f"n{number}": 3 * number for number in seen}))
    found = [(at, make_masks(**{f"n{NEW}": 3 * NEW})) for at in range(place + 1, last)]
    ended = trace(past, Traced(found, {} if met is None else {NEW: (met, place)}))
    names: dict[tuple[int, bool], set[int]] = {}
    for at, (numbers, columns) in enumerate(zip(frames, list_columns(past), strict=True)):
        seen = {*numbers, NEW} if at > place else numbers
        assert sorted(columns.values()) == sorted(3 * number for number in seen), "each once"
        for name, column in columns.items():
            names.setdefault((round(column / 3), at > place), set()).add(name)
    assert all(len(own) == 1 for own in names.values()), "one name before the meeting, and one after"
    for number in {0, 1, 2} - {met}:
        assert len(names.get((number, True), set()) | names.get((number, False), set())) <= 1
    after = [own for (_, is_after), own in names.items() if is_after]
    assert len(set.union(*after)) == len(after), "no two have one name"
    if met is not None:
        assert names[NEW, True] == names[met, False], "it goes on as what it met"
        assert ended == (set() if (met, True) in names else {met})


def test_bad_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="min_matched is 2"):
        TracingSettings(min_matched=2)
    with pytest.raises(SettingsError, match="back_s is -1"):
        TracingSettings(back_s=-1)
    with pytest.raises(SettingsError, match="masks are never refined"):
        TrackerSettings(follow_by="flow", tracing=TracingSettings(back_s=1))
