"""A decoded picture and where it belongs in its video."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, upright, never sent between processes as a record.

    `image` is (height, width, 3) RGB and may be smaller than the source; `source_width` and
    `source_height` are the upright source frame that boxes are measured in. `time_s` is the true
    presentation time of the picture.
    """

    time_s: float
    image: Image
    source_width: int
    source_height: int

    @property
    def scale_x(self) -> float:
        """Source pixels a picture pixel, along x."""
        return self.source_width / int(self.image.shape[1])

    @property
    def scale_y(self) -> float:
        """Source pixels a picture pixel, along y."""
        return self.source_height / int(self.image.shape[0])
