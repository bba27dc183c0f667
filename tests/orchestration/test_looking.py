"""Pictures of objects become vectors that find the same object in the index."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.orchestration.light_models import LIGHT_EMBEDDER
from tubelet.errors import InputError
from tubelet.index.structured_query import Query
from tubelet.orchestration.looking import look_at_picture
from tubelet.orchestration.pipeline import index_sources
from tubelet.orchestration.searching import search_index
from tubelet.records import Box
from tubelet.settings import Settings


@pytest.fixture(scope="module")
def indexed(short_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the rendered junction in it, looked at by the bundled recogniser."""
    settings = Settings(home=tmp_path_factory.mktemp("looks"), profile="quick", embedder=LIGHT_EMBEDDER)
    assert not index_sources([str(short_clip)], settings=settings).failed
    return settings


def cut_picture(clip: Path, box: Box, at_s: float, out: Path) -> Box:
    """A frame of the clip as a PNG, and the box on it."""
    video = cv2.VideoCapture(str(clip))
    video.set(cv2.CAP_PROP_POS_MSEC, 1000 * at_s)
    there, frame = video.read()
    video.release()
    assert there
    cv2.imwrite(str(out), frame)
    return box


def test_a_picture_of_an_object_finds_it(indexed: Settings, short_clip: Path, tmp_path: Path) -> None:
    for sentence in ("red car turning left", "white car"):
        wanted = search_index(sentence, settings=indexed).hits[0]
        picture = tmp_path / "frame.png"
        box = cut_picture(short_clip, wanted.box, (wanted.start_s + wanted.end_s) / 2, picture)
        vector = look_at_picture(picture, box, indexed)
        found = search_index(Query(object_vector=vector), settings=indexed)
        assert found.hits[0].object_id == wanted.object_id
        assert "object_vector" not in found.parsed
        assert any(reason.startswith("looks alike") for reason in found.hits[0].why)
        others = search_index(Query(like=wanted.object_id), settings=indexed)
        assert wanted.object_id not in [hit.object_id for hit in others.hits]


def test_a_mask_marks_the_object_as_a_box_does(indexed: Settings, tmp_path: Path) -> None:
    picture = np.full((120, 160, 3), 90, np.uint8)
    picture[30:90, 40:120] = (20, 20, 200)
    mask = np.zeros((120, 160), np.uint8)
    mask[30:90, 40:120] = 255
    cv2.imwrite(str(tmp_path / "car.png"), picture)
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    by_mask = look_at_picture(tmp_path / "car.png", tmp_path / "mask.png", indexed)
    by_box = look_at_picture(tmp_path / "car.png", Box(40, 30, 120, 90), indexed)
    whole = look_at_picture(tmp_path / "car.png", None, indexed)
    assert by_mask == pytest.approx(by_box)
    assert np.linalg.norm(by_mask) == pytest.approx(1, abs=1e-4)
    assert float(np.dot(by_mask, whole)) < 0.999


@pytest.mark.parametrize(
    ("content", "region", "named"),
    [
        (b"no picture", None, "is no picture"),
        (b"", None, "is no picture"),
        (None, None, "no file of a picture"),
        ("small", Box(50, 50, 60, 60), "shows nothing"),
    ],
)
def test_pictures_that_cannot_be_used_are_refused(
    tmp_path: Path, content: bytes | str | None, region: Box | None, named: str
) -> None:
    path = tmp_path / "picture.png"
    if isinstance(content, str):
        cv2.imwrite(str(path), np.zeros((20, 20, 3), np.uint8))
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=named):
        look_at_picture(path, region, Settings(home=tmp_path))


def test_settings_without_a_recogniser_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recogniser"):
        look_at_picture(tmp_path / "any.png", None, Settings(home=tmp_path, recogniser="none"))
