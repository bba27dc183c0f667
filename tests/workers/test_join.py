"""Joining: one tubelet an object, whatever the chunks."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.join_factory import FPS, VIDEO, cut, go, make_result, observe, see
from tubelet.records import Observation, Tubelet
from tubelet.workers.chunk_result import ChunkResult
from tubelet.workers.join import join_tracklets


def join(*results: ChunkResult, rejoin_s: float = 0.0) -> list[Tubelet]:
    return join_tracklets(VIDEO, results, rejoin_s=rejoin_s)


def names(tubelets: Sequence[Tubelet]) -> set[tuple[str, ...]]:
    return {tubelet.tracklet_ids for tubelet in tubelets}


def _objects(starts: list[tuple[float, float, int]]) -> list[list[Observation]]:
    """Objects in lanes of their own, each seen from its start for some frames, drifting right."""
    return [
        [observe((round(start_s * FPS) + i) / FPS, speed * i % 300, lane * 20) for i in range(count)]
        for lane, (start_s, speed, count) in enumerate(starts)
    ]


objects = st.lists(st.tuples(st.floats(0, 15), st.floats(0, 6), st.integers(2, 50)), min_size=1, max_size=3)


@given(objects, st.sampled_from([20.0, 9.0, 5.0, 2.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_tubelets_do_not_depend_on_the_chunks(starts: list[tuple[float, float, int]], chunk_s: float) -> None:
    truth = _objects(starts)
    tubelets = join(*(see(chunk, truth) for chunk in cut(30.0, chunk_s, 1.0)))
    whole = join(*(see(chunk, truth) for chunk in cut(30.0, 30.0, 0.0)))
    assert [t.object_id for t in tubelets] == [t.object_id for t in whole]
    assert [t.observations for t in tubelets] == [t.observations for t in whole]
    assert sorted(len(t.observations) for t in tubelets) == sorted(len(seen) for seen in truth)


def test_two_objects_that_swap_order_keep_their_own_tracklets() -> None:
    first, second = cut(20.0, 10.0, 1.0)
    left, right = go(9, 11, (10, 0)), go(9, 11, (200, 0))
    assert names(join(make_result(first, [left, right]), make_result(second, [right, left]))) == {
        ("c0-0", "c1-1"),
        ("c0-1", "c1-0"),
    }


def test_two_objects_that_cross_inside_the_overlap_keep_their_own_tracklets() -> None:
    first, second = cut(20.0, 10.0, 2.0)
    to_the_right, to_the_left = go(8, 12, (20, 10), (60, 0)), go(8, 12, (260, 10), (-60, 0))
    assert names(
        join(
            make_result(first, [to_the_right, to_the_left]), make_result(second, [to_the_left, to_the_right])
        )
    ) == {("c0-0", "c1-1"), ("c0-1", "c1-0")}


def test_a_tracker_that_swaps_two_inside_the_overlap_is_followed_on_its_side_of_the_seam() -> None:
    """Before the seam the new chunk's tracker was on the other object; at the seam it is on the right one."""
    first, second = cut(20.0, 10.0, 4.0)
    upper, lower = go(6, 14, (50, 0)), go(6, 14, (50, 60))
    for swap_s in (7.0, 8.5, 9.6):
        early = round((swap_s - 6) * FPS)
        new_upper, new_lower = lower[:early] + upper[early:], upper[:early] + lower[early:]
        assert names(
            join(make_result(first, [upper, lower]), make_result(second, [new_upper, new_lower]))
        ) == {
            ("c0-0", "c1-0"),
            ("c0-1", "c1-1"),
        }
    for swap_s in (10.4, 11.5, 13.0):  # the old chunk's tracker goes astray after the seam
        late = round((swap_s - 6) * FPS)
        old_upper, old_lower = upper[:late] + lower[late:], lower[:late] + upper[late:]
        assert names(
            join(make_result(first, [old_upper, old_lower]), make_result(second, [lower, upper]))
        ) == {
            ("c0-0", "c1-1"),
            ("c0-1", "c1-0"),
        }


def test_a_tracklet_that_fills_a_part_of_the_overlap_is_joined() -> None:
    first, second = cut(20.0, 10.0, 2.0)
    whole = go(5, 12, (50, 10), (10, 0))
    for since in (9.0, 9.8, 10.4, 11.4):  # found late, or lost and found, in the second chunk
        late = go(since, 14, (50 + 10 * (since - 5), 10), (10, 0))
        assert names(join(make_result(first, [whole]), make_result(second, [late]))) == {("c0-0", "c1-0")}
    for until in (10.2, 9.0, 8.6):  # lost early in the first chunk
        early = [item for item in whole if item.time_s < until]
        new = go(8, 14, (80, 10), (10, 0))
        assert names(join(make_result(first, [early]), make_result(second, [new]))) == {("c0-0", "c1-0")}


def test_what_leaves_and_what_enters_inside_the_overlap_are_two() -> None:
    first, second = cut(20.0, 10.0, 2.0)
    leaving, entering = go(5, 10.6, (50, 10)), go(9.4, 15, (200, 10))
    tubelets = join(
        make_result(first, [leaving, [item for item in entering if item.time_s < 12]]),
        make_result(second, [[item for item in entering], [item for item in leaving if item.time_s >= 8]]),
    )
    assert [(t.start_s, t.end_s) for t in tubelets] == [
        (leaving[0].time_s, leaving[-1].time_s),
        (entering[0].time_s, entering[-1].time_s),
    ]


def test_a_short_meeting_joins_nothing() -> None:
    """Where the first is lost, another one passes: one frame of little overlap is no evidence."""
    first, second = cut(20.0, 10.0, 2.0)
    lost = go(5, 9.6, (50, 10))
    passing = go(9.4, 14, (64, 10), (40, 0))
    assert len(join(make_result(first, [lost]), make_result(second, [passing]))) == 2


def test_objects_that_stand_still_through_many_chunks_are_one_each() -> None:
    still = [go(0, 30, (place * 60, 10)) for place in range(6)]
    tubelets = join(*(see(chunk, still) for chunk in cut(30.0, 1.0, 2.5)))
    assert [len(t.tracklet_ids) for t in tubelets] == [30] * 6
    assert [len(t.observations) for t in tubelets] == [30 * FPS] * 6
    assert all(item.mask is None for t in tubelets for item in t.observations)


def test_an_object_that_one_chunk_loses_is_joined_through_its_neighbours() -> None:
    """With margins longer than a chunk the first and the third read the same frames."""
    chunks = cut(6.0, 2.0, 3.0)
    seen = go(0, 6, (50, 10))
    tubelets = join(see(chunks[0], [seen]), make_result(chunks[1], []), see(chunks[2], [seen]))
    assert names(tubelets) == {("c0-0", "c2-0")}


def test_fragments_of_one_object_in_the_overlap_are_one() -> None:
    first, second = cut(20.0, 10.0, 3.0)
    whole = go(5, 13, (50, 10))
    before, after = go(7, 10.4, (50, 10)), go(11.2, 16, (50, 10))
    (tubelet,) = join(make_result(first, [whole]), make_result(second, [before, after]))
    assert tubelet.tracklet_ids == ("c0-0", "c1-0", "c1-1")
    times = [item.time_s for item in tubelet.observations]
    assert times == sorted(set(times))


def test_one_tracklet_never_joins_two_that_were_visible_at_once() -> None:
    first, second = cut(20.0, 10.0, 1.0)
    seen = go(9, 11, (10, 0))
    tubelets = join(make_result(first, [seen]), make_result(second, [seen, seen]), rejoin_s=10.0)
    assert len(tubelets) == 2
    assert len({t.object_id for t in tubelets}) == 2


def test_objects_apart_are_not_joined() -> None:
    first, second = cut(20.0, 10.0, 1.0)
    results = make_result(first, [go(9, 11, (10, 0))]), make_result(second, [go(9, 11, (300, 0))])
    assert len(join(*results, rejoin_s=10.0)) == 2


def test_ids_do_not_hang_on_a_pixel() -> None:
    (chunk,) = cut(10.0, 10.0, 0.0)
    exact = [go(1, 3, (10, 0)), go(1, 3, (200, 50)), go(4, 6, (200, 50))]
    shaky = [go(1, 3, (11, 1)), go(1, 3, (199, 49)), go(4, 6, (203, 51))]
    ids, same = ([tubelet.object_id for tubelet in join(make_result(chunk, seen))] for seen in (exact, shaky))
    assert ids == same
    assert len(set(ids)) == 3


def test_no_chunks_and_no_tracklets_give_no_tubelets() -> None:
    assert join() == []
    assert join(*(make_result(chunk, []) for chunk in cut(20.0, 10.0, 1.0))) == []
