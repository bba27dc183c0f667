"""What a process makes of its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.light_models import BROKEN_TRACKER, LATE_EMBEDDER, LIGHT, LIGHT_EMBEDDER
from tubelet.errors import ModelError, UnknownNameError
from tubelet.orchestration.resources import load_models, make_captioner, make_recogniser, open_index
from tubelet.settings import Settings, load_settings


def make_settings(home: Path, **flags: str) -> Settings:
    return load_settings({"home": home, "embedder": LIGHT_EMBEDDER, **flags}, environment={})


def test_object_vectors_are_the_recognisers_where_there_is_one(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    recogniser = make_recogniser(settings)
    assert recogniser is not None
    assert recogniser is make_recogniser(settings)
    assert open_index(settings, create=True).object_dimensions == recogniser.num_dimensions


def test_object_vectors_are_the_captioners_without_a_recogniser(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, profile="measured")
    assert make_recogniser(settings) is None
    index = open_index(settings, create=True)
    assert index.object_dimensions == make_captioner(settings).object_dimensions > 0


def test_an_unknown_recogniser_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="efficientnet-lite0"):
        make_recogniser(make_settings(tmp_path, recogniser="nonsense"))


def test_loading_reads_what_is_read_late(tmp_path: Path) -> None:
    load_models(load_settings({**LIGHT, "home": tmp_path, "embedder": LATE_EMBEDDER}, environment={}))
    assert (tmp_path / "loaded").exists()


def test_loading_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="weights are damaged"):
        load_models(load_settings({**LIGHT, "home": tmp_path, "tracker": BROKEN_TRACKER}, environment={}))
