"""Photographs of installed packages as textures: only on request, and never needed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from tubelet.model.training.world import ClipSpec, render_image
from tubelet.model.training.world.photographs import _load, load_photographs

SPEC = ClipSpec(width=96, height=54, theme="park", degrade=False)


@pytest.fixture(autouse=True)
def _no_memory_of_files() -> Iterator[None]:
    _load.cache_clear()
    yield
    _load.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package on the path that carries one of the known pictures, magenta all over."""
    data = tmp_path / "skimage" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    Picture.fromarray(np.full((300, 600, 3), (255, 0, 255), np.uint8)).save(data / "coffee.png")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    return tmp_path


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubelet.model.training.world.photographs.find_spec", lambda name: None)


@pytest.mark.usefixtures("package")
def test_photographs_are_found_and_shrunk() -> None:
    assert any(picture.shape == (256, 512, 3) and picture[0, 0, 1] == 0 for picture in load_photographs())


@pytest.mark.usefixtures("package")
def test_photographs_show_only_on_request() -> None:
    def count_magenta(wanted: float) -> int:
        frames = [render_image(seed, replace(SPEC, photographs=wanted)).frames_THWC for seed in range(12)]
        return sum(int(((f[..., 0] > 230) & (f[..., 1] < 8) & (f[..., 2] > 230)).sum()) for f in frames)

    assert count_magenta(1.0) > count_magenta(0.0) + 200


@pytest.mark.usefixtures("nothing_installed")
def test_rendering_works_without_them() -> None:
    assert load_photographs() == []
    assert render_image(0, replace(SPEC, photographs=1.0)).frames_THWC.any()
