"""The two fixed-camera clips, from file to answer, against what a person sees (docs/truth.md)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

import tubelet
from tubelet.orchestration.resources import open_index
from tubelet.settings import load_settings

CARS = {"white up": (4.4, 8.6), "teal": (14.5, 18.2), "red": (15.0, 19.0), "white down": (25.2, 27.8)}
VISITS = [(6.0, 19.9), (22.7, 44.9), (50.2, 70.0), (74.4, 86.9), (92.1, 120.0), (123.4, 136.0)]
WITHIN_S = 0.5


def test_each_car_is_found_first_for_its_own_query_and_timed(real_videos: Path, tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path, "profile": "bundled"})
    report = tubelet.index(str(real_videos / "car-detection.mp4"), settings=settings)
    assert report.videos[0].num_objects == len(CARS)
    first, second, *_ = tubelet.search("red car", settings=settings).hits
    assert first.attributes.colours == ("red",)
    assert first.score > second.score + 0.2
    assert (first.start_s, first.end_s) == pytest.approx(CARS["red"], abs=WITHIN_S)
    for query, spans in {"teal car": ["teal"], "white car": ["white up", "white down"]}.items():
        best, next_best, *_ = tubelet.search(query, settings=settings).hits
        assert best.start_s in [pytest.approx(CARS[span][0], abs=WITHIN_S) for span in spans]
        assert best.attributes.category in ("car", "vehicle")
        assert best.score > next_best.score
    lives = sorted((item.start_s, item.end_s) for item, _ in open_index(settings).iterate_objects())
    for life, truth in zip(lives, sorted(CARS.values()), strict=True):
        assert life == pytest.approx(truth, abs=WITHIN_S)
    for _, moments in open_index(settings).iterate_objects():  # the small describer has never seen a real car
        assert {moment.caption_source for moment in moments} == {"measured"}
        assert all(moment.model_caption for moment in moments)


def test_each_visit_is_one_tubelet_across_chunks(real_videos: Path, tmp_path: Path) -> None:
    """Chunks of 25 s cut three of the visits in two and the fifth as well."""
    settings = load_settings({"home": tmp_path, "profile": "quick", "chunk_s": 25.0})
    tubelet.index(str(real_videos / "person-detection.mp4"), settings=settings)
    found = list(open_index(settings).iterate_objects())
    assert len(found) == len(VISITS)
    for (item, moments), truth in zip(found, VISITS, strict=True):
        assert (item.start_s, item.end_s) == pytest.approx(truth, abs=WITHIN_S)
        assert any(moment.motion.stopped for moment in moments)
        assert all(before.end_s < after.start_s for before, after in pairwise(moments))
