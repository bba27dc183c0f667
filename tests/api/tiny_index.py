"""A home with an index of a few objects, for tests that only read; the words' vectors are hashes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.index.factories import (
    MODELS,
    group_objects,
    make_attributes,
    make_moment,
    make_motion,
    make_path,
)
from tests.orchestration.light_models import LIGHT_EMBEDDER, HashEmbedder
from tubelet.index.store import IndexStore
from tubelet.model.describing.attributes import AttributesCaptioner
from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.model.recognising.base import Crop, Recognition
from tubelet.records import Source
from tubelet.settings import Settings
from tubelet.workers.probe import probe_video
from tubelet.workers.source import identify_file

THUMBNAIL = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
CAPTIONS = (
    ("A red car turns left.", "red", "left"),
    ("A red car turns right.", "red", "right"),
    ("A blue van goes straight.", "blue", "none"),
)


LOOKS = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class ColourRecogniser:
    """The mean colour as a vector."""

    name = "colour@1"
    num_dimensions = 3

    def recognise(self, objects: Sequence[Sequence[Crop]]) -> list[Recognition]:
        means = [np.mean([crop.image[crop.mask].mean(axis=0) for crop in crops], axis=0) for crops in objects]
        vectors = [mean / max(np.linalg.norm(mean), 1e-6) for mean in means]
        return [Recognition("", 0.0, (), tuple(vector.tolist())) for vector in vectors]


def make_recogniser(settings: Settings) -> ColourRecogniser:
    return ColourRecogniser()


COLOUR_RECOGNISER = f"{__name__}:make_recogniser"


class AnsweringCaptioner(AttributesCaptioner):
    """Says yes to everything, and how many frames of the object it was shown."""

    name = "answering@1"
    answers_questions = True

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        return [Description(f"Yes, in {len(request.views)} frames.", 0.9) for request in requests]


def make_captioner(settings: Settings) -> AnsweringCaptioner:
    return AnsweringCaptioner()


ANSWERING_CAPTIONER = f"{__name__}:make_captioner"


def make_settings(home: Path, **fields: Any) -> Settings:
    """Settings with models that load at once."""
    light = {"profile": "quick", "recogniser": "none", "embedder": LIGHT_EMBEDDER, "workers": 1}
    return Settings.model_validate({"home": home, **light, **fields})


def fill_home(
    home: Path, clip: Path, *, mark: str = "", source: Source | None = None, **fields: Any
) -> Settings:
    """Index three made-up objects of a real clip. `mark` sets the ids and captions of one home apart."""
    settings = make_settings(home, **fields)
    embedder = HashEmbedder()
    dimensions = 0 if settings.recogniser_name == "none" else ColourRecogniser.num_dimensions
    store = IndexStore.open(
        settings.index_location,
        create=True,
        text_dimensions=embedder.num_dimensions,
        object_dimensions=dimensions,
    )
    video = probe_video(clip, source or identify_file(clip), timeout_s=60)
    captions = [f"{caption[:-1]}{f' {mark}' if mark else ''}." for caption, _, _ in CAPTIONS]
    vectors = embedder.embed(captions)
    moments = [
        make_moment(
            number,
            video,
            moment_id=f"m{mark}{number}",
            object_id=f"o{mark}{number}",
            caption=caption,
            attributes=make_attributes(colour),
            motion=make_motion(turn=turn),
            path=make_path(1.0, 3.0, x=60, y=80),
            end_s=3.0,
            text_vector=tuple(vector.tolist()),
            object_vector=LOOKS[colour] if dimensions else (),
            thumbnail=THUMBNAIL,
        )
        for number, (caption, (_, colour, turn), vector) in enumerate(
            zip(captions, CAPTIONS, vectors, strict=True), 1
        )
    ]
    store.replace_video(video, group_objects(moments), moments, MODELS)
    return settings
