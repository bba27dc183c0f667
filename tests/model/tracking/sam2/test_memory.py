"""The bounded memory bank against one that keeps everything."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tubelet.model.tracking.sam2.memory import Memory, MemoryBank

NUM_SPATIAL, NUM_POINTERS, MAX_CONDITIONING = 6, 15, 3


def make_memory(frame: int) -> Memory:
    """Tensors that say which frame they belong to."""
    return Memory(frame, torch.full((1, 1), float(frame)), torch.full((1,), float(frame)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), max_size=40))
def test_what_is_dropped_would_never_have_been_read(prompted_later: list[bool]) -> None:
    prompted = [True, *prompted_later]
    bank = MemoryBank(num_spatial=NUM_SPATIAL, num_pointers=NUM_POINTERS, max_conditioning=MAX_CONDITIONING)
    for frame, is_prompted in enumerate(prompted):
        if frame:
            bank.remember(make_memory(frame))
        if is_prompted:
            bank.condition(make_memory(frame))
        now = frame + 1
        conditioning = [at for at in range(now) if prompted[at]][-MAX_CONDITIONING:]
        followed = [at for at in range(now) if not prompted[at]]
        recall = bank.recall(now)
        assert [int(tensor) for tensor in recall.spatial] == conditioning + [
            at for at in followed if now - at <= NUM_SPATIAL
        ]
        assert [int(tensor) for tensor in recall.pointers] == conditioning + [
            at for at in followed if now - at <= NUM_POINTERS
        ]
        assert recall.pointer_ages == tuple(now - int(tensor) for tensor in recall.pointers)
        assert recall.spatial_ages[: len(conditioning)] == (0,) * len(conditioning)
        assert len(bank) <= 2 * MAX_CONDITIONING + NUM_SPATIAL + NUM_POINTERS


def test_a_prompt_replaces_what_was_remembered_of_its_frame() -> None:
    bank = MemoryBank(num_spatial=6, num_pointers=15, max_conditioning=3)
    bank.condition(make_memory(0))
    bank.remember(make_memory(1))
    bank.condition(make_memory(1))
    bank.condition(make_memory(1))
    assert [int(tensor) for tensor in bank.recall(2).spatial] == [0, 1]
