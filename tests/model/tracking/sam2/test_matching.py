"""Objects are known again by what was measured of them: hidden when away, found when they are back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.model.tracking.film_factory import Thing
from tests.model.tracking.sam2.colour_matcher import make_colour_matcher, make_colour_weights
from tests.model.tracking.sam2.colour_network import ColourNetwork
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, PlainFilm, film_plainly
from tests.model.tracking.sam2.red_judge import NUM_CHANNELS, make_red_judge
from tests.model.tracking.sam2.test_refining import FILM, Motionless, halve
from tubelet.errors import ModelError
from tubelet.model.masks import Mask, decode_mask
from tubelet.model.tracking.sam2.assistants import Assistants
from tubelet.model.tracking.sam2.discovery import DiscoverySettings
from tubelet.model.tracking.sam2.flow_session import FlowSession
from tubelet.model.tracking.sam2.judge import NUM_SHAPES
from tubelet.model.tracking.sam2.masks import FrameMasks
from tubelet.model.tracking.sam2.matching import (
    MATCHER_FILE,
    ObjectMatcher,
    compare,
    find_alike,
    read_matcher,
)
from tubelet.model.tracking.sam2.perceptron import write_weights
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.refining import RefiningSettings, refine
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker
from tubelet.orchestration.evaluation.following import Sam2Follower

SIZE = (60, 40)
PLAN = RefiningSettings(min_agreement=0.3)
FOLLOWING = TrackerSettings(follow_by="flow", refine_every=1, refining=PLAN, min_score=0.5)


BOTH = Assistants(judge=make_red_judge(), matcher=make_colour_matcher())


def jump(time_s: float) -> tuple[float, float]:
    """From the left to the right, farther than flow reaches."""
    return (60, 90) if time_s < 0.3 else (250, 90)


def visit(time_s: float) -> tuple[float, float] | None:
    """There, then away for two frames, then back elsewhere."""
    return (60, 90) if time_s < 0.3 else None if time_s < 0.6 else (150, 120)


def follow(film: PlainFilm, *, things: int = 1) -> list[dict[int, Mask]]:
    """The film's things, followed from their true masks in the first frame."""
    follower = Sam2Follower(ColourNetwork(), FOLLOWING, BOTH)
    prompts = {0: {place: film.truth[0][place] for place in range(things)}}
    return [
        {number: decode_mask(rle) for number, rle in masks.items()}
        for masks in follower.follow(film.frames, [], prompts)
    ]


def overlap(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("colour", [RED, GREEN], ids=["liked by the judge", "nothing to the judge"])
def test_what_jumps_is_found_where_it_is(colour: tuple[int, int, int]) -> None:
    film = film_plainly([Thing(colour, SIZE, jump)], 1.0)
    followed = follow(film)
    for masks, [truth] in zip(followed[2:], film.truth[2:], strict=True):
        assert overlap(masks[0], truth) > 0.8


def test_what_is_away_is_hidden_until_it_is_back() -> None:
    film = film_plainly([Thing(RED, SIZE, visit)], 1.0)
    followed = follow(film)
    for masks, [truth] in zip(followed, film.truth, strict=True):
        assert bool(masks) is bool(truth.any())
    assert overlap(followed[-1][0], film.truth[-1][0]) > 0.8


def test_what_is_away_is_not_found_in_another_that_is_followed() -> None:
    film = film_plainly([Thing(RED, SIZE, visit), Thing(RED, SIZE, lambda _: (250, 60))], 1.0)
    followed = follow(film, things=2)
    assert list(followed[3]) == [1], "the other of the same colour is taken"
    assert overlap(followed[-1][0], film.truth[-1][0]) > 0.8
    assert overlap(followed[-1][1], film.truth[-1][1]) > 0.8


def test_an_object_is_known_by_what_was_last_trusted() -> None:
    """In the second frame its noise is another."""
    film = film_plainly([Thing(RED, SIZE, lambda _: (60, 90)), Thing(BLUE, SIZE, lambda _: (250, 90))], 0.5)
    known = {}
    for trusted in (0.0, 1.0):
        session = FlowSession(ColourNetwork(), assistants=BOTH)
        session.advance(film.frames[0].image)
        session.add({5: MaskPrompt(film.truth[0][0])})
        carried = session.advance(film.frames[1].image)
        refine(session, carried, RefiningSettings(min_agreement=0.3, trusted=trusted))
        red, blue = (session.fit_masks(torch.from_numpy(mask)[None].float()) >= 0.5 for mask in film.truth[1])
        known[trusted] = session.match(5, session.view.measure(torch.cat([red, blue]))).tolist()
    for red_word, blue_word in known.values():
        assert red_word > 0.9
        assert blue_word < 0.1
    assert known[0.0] != known[1.0], "one knows the second frame's, the other the first's"


def test_what_is_retired_is_forgotten() -> None:
    film = film_plainly([Thing(RED, SIZE, jump)], 1.0)
    session = FlowSession(ColourNetwork(), assistants=BOTH)
    session.advance(film.frames[0].image)
    session.add({5: MaskPrompt(film.truth[0][0])})
    session.hide(5)
    session.retire([5])
    assert session.hidden == frozenset()
    empty = session.advance(film.frames[1].image)
    assert refine(session, empty, PLAN).masks.numbers == ()


def test_the_tracker_keeps_the_number_of_what_was_away() -> None:
    film = film_plainly([Thing(RED, SIZE, visit)], 2.0)
    plan = TrackerSettings(
        follow_by="flow",
        refine_every=1,
        refining=PLAN,
        discovery=DiscoverySettings(min_judged=0.3, min_judged_cut=0.3),
        key_every_s=0.5,
    )
    tracker = Sam2Tracker(
        ColourNetwork(),
        settings=plan,
        assistants=BOTH,
        motion=Motionless(),
    )
    steps = list(tracker.track(film.frames, []))
    seen = [[item.number for item in step.objects] for step in steps]
    assert seen == [[0] if covers[0].any() else [] for covers in film.truth]


def test_a_hidden_object_is_carried_on_and_scores_nothing() -> None:
    film = film_plainly([Thing(RED, SIZE, visit)], 1.0)
    session = FlowSession(ColourNetwork(), assistants=BOTH)
    session.advance(film.frames[0].image)
    session.add({5: MaskPrompt(film.truth[0][0])})
    followed: FrameMasks | None = None
    for frame in film.frames[1:4]:
        followed = refine(session, session.advance(frame.image), PLAN).masks
    assert followed is not None
    assert session.hidden == {5}
    assert followed.numbers == (5,)
    assert followed.scores() == [0.0]


@pytest.mark.parametrize(("is_familiar", "is_kept"), [(True, False), (False, True)])
def test_what_the_matcher_never_knew_again_is_not_lost_to_it(is_familiar: bool, is_kept: bool) -> None:
    """It found a thing unlike all that it learnt, and says no to everything."""
    [red, blue] = FILM.truth[0]
    session = FlowSession(ColourNetwork(), assistants=BOTH)
    session.advance(FILM.frames[0].image)
    session.add({5: MaskPrompt(red)})
    measured_X = session.view.measure(session.fit_masks(torch.from_numpy(blue)[None].float()) >= 0.5)[0]
    session.remember(5, measured_X, was_matched=is_familiar)  # as if it had been another thing
    carried = session.advance(FILM.frames[1].image)
    refined = refine(session, carried, PLAN).masks
    at_red = (decode_mask(refined.encode(180, 320)[0]) & red).any()
    assert bool(at_red) is is_kept


def test_what_others_know_to_be_in_sight_is_not_hidden() -> None:
    film = film_plainly([Thing(RED, SIZE, visit)], 1.0)
    hidden = []
    for never_lost in ((), (5,)):
        session = FlowSession(ColourNetwork(), assistants=BOTH)
        session.advance(film.frames[0].image)
        session.add({5: MaskPrompt(film.truth[0][0])})
        for frame in film.frames[1:4]:
            refine(session, session.advance(frame.image), PLAN, never_lost=never_lost)
        hidden.append(session.hidden)
    assert hidden == [{5}, frozenset()]


@pytest.mark.parametrize("were_given", [True, False])
def test_of_given_masks_the_matcher_is_believed(were_given: bool) -> None:
    """The matcher wants the half that it was given, the judge the whole thing."""
    [whole, _] = FILM.truth[0]
    weights = make_colour_weights()
    size = 3 * NUM_CHANNELS
    weights["first.weight"].zero_()
    weights["first.weight"][0, size] = -1.0  # the larger a mask, the less
    weights["last.weight"][0, 0], weights["last.bias"][0] = 20.0, -70.0
    session = FlowSession(
        ColourNetwork(), assistants=Assistants(judge=make_red_judge(), matcher=ObjectMatcher(weights))
    )
    session.advance(FILM.frames[0].image)
    session.add({5: MaskPrompt(halve(whole))})
    carried = session.advance(FILM.frames[1].image)
    plan = RefiningSettings(min_agreement=0.3, lost=0.0, given_weight=1.0)
    [rle] = refine(session, carried, plan, were_given=were_given).masks.encode(180, 320)
    share = (decode_mask(rle) & whole).sum() / whole.sum()
    assert (share > 0.85) is not were_given


@given(st.integers(0, 2**16), st.integers(1, 5))
def test_comparing_tells_equal_from_different(seed: int, num_features: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    measured = torch.randn(4, 3 * num_features + NUM_SHAPES, generator=generator)
    same = compare(measured, measured)
    assert torch.equal(same[:, : measured.shape[1]], measured)
    assert not same[:, measured.shape[1] :].any()
    known = torch.randn(1, measured.shape[1], generator=generator)
    apart = compare(known, measured)
    assert torch.equal(apart[2:3], compare(known, measured[2:3])), "each by itself"
    features = apart[:, measured.shape[1] : -NUM_SHAPES]
    assert features.shape[1] == 2 * num_features
    assert (features >= 0).all()


def test_the_likest_places_come_first_and_apart_from_each_other() -> None:
    side = 16
    maps = torch.zeros(2, side, side)
    maps[0, 2:5, 2:5], maps[0, 10:13, 9:12] = 1.0, 0.8
    known = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.1, 0.1, *[0.0] * NUM_SHAPES])
    places = find_alike(maps.flatten(1), known, side, 2)
    assert places.tolist() == [[3, 3], [10, 11]]
    assert len(find_alike(maps.flatten(1), known, side, 1)) == 1


def test_a_matcher_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_matcher(tmp_path) is None
    generator = torch.Generator().manual_seed(1)
    weights = {
        "mean": torch.zeros(40),
        "scale": torch.ones(40),
        **{
            f"{layer}.{part}": torch.randn(*size, generator=generator)
            for layer, sizes in (
                ("first", ((4, 70), (4,))),
                ("second", ((4, 4), (4,))),
                ("last", ((1, 4), (1,))),
            )
            for part, size in zip(("weight", "bias"), sizes, strict=True)
        },
    }
    write_weights(tmp_path / MATCHER_FILE, weights)
    read = read_matcher(tmp_path)
    assert read is not None
    known, measured = torch.randn(1, 40, generator=generator), torch.randn(6, 40, generator=generator)
    answers = read.match(known, measured)
    assert ((answers > 0) & (answers < 1)).all()
    assert np.allclose(answers[3:4], read.match(known, measured[3:4]))
    (tmp_path / MATCHER_FILE).write_bytes(b"PK no")
    with pytest.raises(ModelError, match="cannot be read"):
        read_matcher(tmp_path)
