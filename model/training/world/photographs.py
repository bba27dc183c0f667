"""Photographs that installed packages carry, as textures: scikit-image's and scikit-learn's (extra `train`)."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from tubelet.model.training.world.textures import Texture

_FILES = {
    "skimage": (
        "data/astronaut.png",
        "data/brick.png",
        "data/chelsea.png",
        "data/coffee.png",
        "data/grass.png",
        "data/gravel.png",
        "data/hubble_deep_field.jpg",
        "data/ihc.png",
        "data/rocket.jpg",
        "data/coins.png",
        "data/page.png",
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
_LONGEST_PX = 512


def load_photographs() -> list[Texture]:
    """All that are there, (h, w, 3) RGB and at most 512 pixels long, in a fixed order; none is fine."""
    return list(_load())


@lru_cache(maxsize=1)
def _load() -> tuple[Texture, ...]:
    pictures = []
    for package, names in _FILES.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        for name in names:
            file = Path(spec.origin).parent / name
            read = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
            if read is None:
                continue
            scale = _LONGEST_PX / max(read.shape[:2])
            size = (round(read.shape[1] * scale), round(read.shape[0] * scale))
            pictures.append(np.asarray(cv2.cvtColor(cv2.resize(read, size), cv2.COLOR_BGR2RGB), np.uint8))
    return tuple(pictures)
