"""The same pictures give the same H.264, whatever lay in memory before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.model.tracking.film_factory import Thing, straight
from tests.model.tracking.sam2.plain_film import BLUE, GREEN, RED, WHITE, film_plainly
from tubelet.model.frame import Image
from tubelet.model.training.world.degrade import recode
from tubelet.workers.video_writer import VideoWriter

NUM_TIMES = 8


@contextmanager
def memory_in_use() -> Iterator[None]:
    """Another thread takes, fills and leaves memory of all sizes all the time."""
    ended = threading.Event()

    def use() -> None:
        generator = np.random.default_rng(0)
        while not ended.is_set():
            taken = generator.normal(size=(int(generator.integers(50, 400)), 300)).astype(np.float32)
            taken.T @ taken

    thread = threading.Thread(target=use)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def write_file(pictures: list[Image], folder: Path) -> bytes:
    path = folder / "film.mp4"
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width=width, height=height, frame_rate=6, quality=10) as writer:
        for picture in pictures:
            writer.write(picture)
    return path.read_bytes()


def write_and_read(pictures: list[Image], folder: Path) -> bytes:
    return recode(np.stack(pictures), 6.0, 18).tobytes()


@pytest.mark.parametrize("write", [write_file, write_and_read])
def test_the_same_pictures_are_written_the_same_again(
    write: Callable[[list[Image], Path], bytes], tmp_path: Path
) -> None:
    things = [
        Thing(GREEN, (30, 30), lambda _: (40, 150)),
        Thing(RED, (40, 24), straight((-20, 40), (34, 0))),
        Thing(BLUE, (30, 30), straight((300, 100), (-28, 1))),
        Thing((200, 180, 30), (26, 26), straight((20, 118), (26, -2))),
        Thing(WHITE, (50, 60), lambda _: (160, 40)),
    ]
    pictures = [frame.image for frame in film_plainly(things, 8.0).frames]
    with memory_in_use():
        assert len({write(pictures, tmp_path) for _ in range(NUM_TIMES)}) == 1
