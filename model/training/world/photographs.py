"""Photographs in scikit-image and scikit-learn (extra `train`), as textures where these are installed."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image as Picture

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
            if not file.is_file():
                continue
            with Picture.open(file) as opened:
                opened.thumbnail((_LONGEST_PX, _LONGEST_PX))
                pictures.append(np.array(opened.convert("RGB"), dtype=np.uint8))
    return tuple(pictures)
