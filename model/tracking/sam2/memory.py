"""What SAM 2 remembers of one object: a bounded number of past frames.

Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), section 4: memory attention sees the
frames on which the object was prompted, the last few frames, and an object pointer for some more. Older
frames are never read again, so they are dropped as soon as they are too old, and masks stay the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Memory:
    """One object on one frame, by the number of the frame."""

    frame: int
    spatial_NM: Tensor
    pointer_C: Tensor


@dataclass(frozen=True, slots=True)
class Recall:
    """What one object remembers at one frame, with ages in frames; a conditioning memory has age 0.

    Objects whose `layout` is the same fit into one batch.
    """

    spatial: tuple[Tensor, ...]
    spatial_ages: tuple[int, ...]
    pointers: tuple[Tensor, ...]
    pointer_ages: tuple[int, ...]

    @property
    def layout(self) -> tuple[tuple[int, ...], int]:
        return self.spatial_ages, len(self.pointers)


class MemoryBank:
    """The memories of one object.

    `num_spatial` is how many frames back spatial memories are read, `num_pointers` how many frames back
    pointers are, `max_conditioning` how many prompted frames are kept, the latest ones.
    """

    def __init__(self, *, num_spatial: int, num_pointers: int, max_conditioning: int) -> None:
        assert max_conditioning >= 1, "an object is followed from a prompted frame"
        self._num_spatial = num_spatial
        self._num_pointers = num_pointers
        self._conditioning: deque[Memory] = deque(maxlen=max_conditioning)
        self._spatial: deque[tuple[int, Tensor]] = deque()
        self._pointers: deque[tuple[int, Tensor]] = deque()

    def __len__(self) -> int:
        """Number of tensors held."""
        return 2 * len(self._conditioning) + len(self._spatial) + len(self._pointers)

    def condition(self, memory: Memory) -> None:
        """Keep a prompted frame; it replaces what was remembered of the same frame."""
        for recent in (self._spatial, self._pointers):
            while recent and recent[-1][0] >= memory.frame:
                recent.pop()
        while self._conditioning and self._conditioning[-1].frame >= memory.frame:
            self._conditioning.pop()
        self._conditioning.append(memory)

    def remember(self, memory: Memory) -> None:
        """Keep a tracked frame, and drop what no later frame will read."""
        self._spatial.append((memory.frame, memory.spatial_NM))
        self._pointers.append((memory.frame, memory.pointer_C))
        for recent, reach in ((self._spatial, self._num_spatial), (self._pointers, self._num_pointers)):
            while recent and memory.frame + 1 - recent[0][0] > reach:
                recent.popleft()

    def recall(self, frame: int) -> Recall:
        """All that is read to find the object in `frame`, which follows the last one remembered."""
        spatial = [(0, memory.spatial_NM) for memory in self._conditioning]
        spatial += [(frame - at, tensor) for at, tensor in self._spatial if frame - at <= self._num_spatial]
        pointers = [(frame - memory.frame, memory.pointer_C) for memory in self._conditioning]
        pointers += [
            (frame - at, tensor) for at, tensor in self._pointers if frame - at <= self._num_pointers
        ]
        spatial_ages, spatial_tensors = zip(*spatial, strict=True)
        pointer_ages, pointer_tensors = zip(*pointers, strict=True)
        return Recall(spatial_tensors, spatial_ages, pointer_tensors, pointer_ages)
