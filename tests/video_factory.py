"""Small test videos whose frames carry their own number in pixels.

A frame's number is drawn as a 4 x 4 grid of black and white blocks (16 bits, top left is the highest), so
that it survives lossy coding and scaling, and a test can say exactly which frame a reader gave back.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GRID = 4


def draw_number(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A grey (height, width) picture of `number`, 0 <= number < 65536."""
    bits = (number >> np.arange(GRID * GRID)[::-1] & 1).reshape(GRID, GRID)
    rows = np.arange(height) * GRID // height
    columns = np.arange(width) * GRID // width
    return np.where(bits[rows][:, columns], 235, 16).astype(np.uint8)


def read_number(image: NDArray[np.uint8]) -> int:
    """The number that `draw_number` drew into an upright RGB picture of any size from 16 x 16 pixels."""
    height, width = image.shape[:2]
    number = 0
    for row in range(GRID):
        for column in range(GRID):
            y = int((row + 0.5) * height / GRID)
            x = int((column + 0.5) * width / GRID)
            number = number << 1 | int(image[y - 1 : y + 2, x - 1 : x + 2].mean() > 128)
    return number


class VideoFactory:
    """Makes videos in one folder with the ffmpeg program; what was made before is not made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._recipes: dict[str, object] = {}

    def make_numbered(
        self,
        name: str,
        *,
        num_frames: int = 60,
        width: int = 160,
        height: int = 96,
        rate: int = 30,
        codec: Sequence[str] = ("-c:v", "libx264", "-preset", "veryfast", "-g", "15"),
        keep: Sequence[int] | None = None,
        rotation_deg: int = 0,
    ) -> Path:
        """A video of numbered frames; `keep` leaves only these out of the stream, at their own times.

        `rotation_deg` stores the pictures turned, and marks the file so that players turn them back.
        """
        recipe = num_frames, width, height, rate, tuple(codec), tuple(keep or ()), rotation_deg
        path = self.folder / name
        if self._is_made(name, recipe):
            return path
        turned = rotation_deg % 180 == 90
        stored_width, stored_height = (height, width) if turned else (width, height)
        select = () if keep is None else ("-vf", "select='" + "+".join(f"eq(n,{n})" for n in keep) + "'")
        pictures = b"".join(
            np.rot90(draw_number(number, width, height), -rotation_deg // 90).tobytes()
            for number in range(num_frames)
        )
        plain = path.with_name(f"plain-{name}")
        run_ffmpeg(
            *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{stored_width}x{stored_height}", "-r", str(rate)),
            *("-i", "-", *select, "-vsync", "vfr", "-pix_fmt", "yuv420p", *codec, str(plain)),
            stdin=pictures,
        )
        if rotation_deg:
            run_ffmpeg(
                *("-i", str(plain), "-c", "copy", "-metadata:s:v:0", f"rotate={rotation_deg}", str(path))
            )
            plain.unlink()
        else:
            plain.rename(path)
        return path

    def make(self, name: str, *arguments: str) -> Path:
        """Whatever `ffmpeg ARGUMENTS name` makes."""
        path = self.folder / name
        if not self._is_made(name, arguments):
            run_ffmpeg(*arguments, str(path))
        return path

    def _is_made(self, name: str, recipe: object) -> bool:
        """Whether this very video exists; another one under the same name is a test's mistake."""
        assert self._recipes.setdefault(name, recipe) == recipe, f"{name} is made in two ways"
        return (self.folder / name).exists()


def run_ffmpeg(*arguments: str, stdin: bytes = b"") -> None:
    """Run the ffmpeg program quietly; a failure shows what it said."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr.decode()}"
