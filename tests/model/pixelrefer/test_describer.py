"""PixelRefer behind the captioner seam."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.model.describing.test_domain import make_reader
from tests.model.pixelrefer.checkpoint_factory import make_folder, make_weights, write_folder
from tests.model.pixelrefer.region_factory import make_captioner, make_frame, make_mask
from tubelet.errors import InputError, ModelError
from tubelet.model.describing.base import Captioner, DescribeRequest, Looks, ObjectView
from tubelet.model.describing.colour import COLOUR_NAMES
from tubelet.model.describing.domain import DOMAIN_FILE
from tubelet.model.describing.facing_reader import FACING_FILE
from tubelet.model.describing.kinds import KINDS_FILE
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network
from tubelet.model.pixelrefer.describer import LazyDescriber, PixelReferDescriber, load_describer
from tubelet.model.training.describe.domains import SeenObjects, fit_domain
from tubelet.model.trajectory.shape import NUM_NUMBERS
from tubelet.records import Attributes, Box, Motion

CAPTIONER = make_captioner()
DESCRIBER: Captioner = PixelReferDescriber(CAPTIONER)

CONFIG = dataclasses.replace(DEBUG_CONFIG, vocab_size=320)
FRAME = make_frame(0, 300, 400)
MASK = make_mask(100, 150, 140, 200, 300, 400)
ATTRIBUTES = Attributes(colours=(), colour_shares=(), size="small")
STILL = Motion("none", None, 0.0, "none", 0.0, True, False, False)


def _request(view: ObjectView, question: str | None = None) -> DescribeRequest:
    return DescribeRequest((view,), ATTRIBUTES, STILL, question)


VIEW = ObjectView(
    time_s=2.5,
    image=FRAME[72:168, 122:228],
    mask=MASK[72:168, 122:228],
    crop=Box(122, 72, 228, 168),
    scene=FRAME,
    frame_size=(400, 300),
)


def test_a_view_is_described_like_the_frame_it_was_cut_from() -> None:
    (description,) = DESCRIBER.describe([_request(VIEW)])
    (answer,) = CAPTIONER.describe([RegionRequest.of([FRAME], [MASK], [2.5])])
    assert description.text == answer.text
    assert description.object_vector == pytest.approx(answer.object_vectors[0], abs=1e-5)
    assert len(description.object_vector) == DESCRIBER.object_dimensions
    assert 0 < description.confidence <= 1


def test_questions_are_answered() -> None:
    assert DESCRIBER.answers_questions
    plain, asked = DESCRIBER.describe([_request(VIEW), _request(VIEW, "Is it red?")])
    assert plain.text != asked.text


def test_a_view_without_scene_or_frame_size_is_described_from_its_crop() -> None:
    bare = dataclasses.replace(VIEW, scene=None, frame_size=None)
    (description,) = DESCRIBER.describe([_request(bare)])
    (answer,) = CAPTIONER.describe([RegionRequest.of([VIEW.image], [VIEW.mask], [2.5])])
    assert description.text == answer.text


def test_a_request_without_views_is_refused() -> None:
    with pytest.raises(InputError, match="no frames"):
        DESCRIBER.describe([DescribeRequest((), ATTRIBUTES, STILL)])


def test_a_describer_knows_what_it_was_trained_on(tmp_path: Path) -> None:
    """It says how familiar an object looks, and does not guess at an answer about one that does not."""
    generator = np.random.default_rng(0)
    seen = np.zeros((80, 6), np.float32)
    seen[:, :2] = generator.normal(size=(80, 2))
    names = tuple("dog" if x > 0 else "car" for x in seen[:, 0])
    held_out = seen + generator.normal(scale=0.01, size=(80, 6))
    looks = generator.normal(scale=0.01, size=(80, CONFIG.vision_width)).astype(np.float32)
    shares = np.zeros((80, len(COLOUR_NAMES)), np.float32)
    objects = SeenObjects("eyes@1", seen, looks, shares, names, ("red", "white") * 40)
    domain = fit_domain(objects, held_out, make_reader(), num_axes=2)
    folder, _ = make_folder(tmp_path / "small-lite", CONFIG)
    domain.write(folder)
    describer = load_describer(folder, device="cpu")
    known, strange = (
        dataclasses.replace(
            _request(VIEW), looks=Looks("eyes@1", vector), shape=np.ones(NUM_NUMBERS, np.float32)
        )
        for vector in ((0.3, -0.5, 0, 0, 0, 0), (0, 0, 0, 0, 1.0, 0))
    )
    answers = describer.describe([known, strange, _request(VIEW)])
    assert answers[0].familiarity is not None
    assert answers[0].familiarity > 0.5
    assert answers[1].familiarity == pytest.approx(1 / 81, abs=0.02)
    assert answers[0].naming is not None
    assert answers[0].naming.name == "dog"
    assert answers[0].colour is not None
    assert answers[0].colour.name in ("red", "white")
    assert answers[0].way is not None
    assert answers[0].way.name == "left"
    unknown = answers[2]
    assert (unknown.familiarity, unknown.naming, unknown.colour, unknown.way) == (None, None, None, None)
    assert sum(score.probability for score in describer.choose(known, ("Yes", "No"))) == pytest.approx(1)
    with pytest.raises(InputError, match=r"nothing small-lite@\w+ was trained on"):
        describer.choose(strange, ("Yes", "No"))


def test_a_domain_of_another_captioner_is_refused() -> None:
    objects = SeenObjects(
        "eyes@1",
        np.eye(6, dtype=np.float32),
        np.eye(6, CONFIG.vision_width - 1, dtype=np.float32),
        np.zeros((6, len(COLOUR_NAMES)), np.float32),
        ("dog", "car") * 3,
        ("red", "white") * 3,
    )
    domain = fit_domain(objects, np.eye(6, dtype=np.float32), make_reader(), num_axes=2)
    with pytest.raises(ModelError, match="vision features"):
        PixelReferDescriber(CAPTIONER, domain)


def test_a_lazy_describer_knows_itself_before_it_reads_the_weights(tmp_path: Path) -> None:
    folder, network = make_folder(tmp_path / "small-lite", CONFIG, num_shards=2)
    lazy: Captioner = LazyDescriber(folder, device="cpu")
    loaded = PixelReferCaptioner.load(folder)
    assert lazy.name == loaded.name
    assert lazy.name.startswith("small-lite@")
    assert lazy.object_dimensions == loaded.num_dimensions == network.config.width
    direct = PixelReferDescriber(loaded)
    assert lazy.describe([_request(VIEW)]) == direct.describe([_request(VIEW)])


def test_other_weights_have_another_version(tmp_path: Path) -> None:
    names = set()
    for seed in (0, 1):
        weights = make_weights(make_debug_network(config=CONFIG))
        weights["model.norm.weight"] += seed
        folder = write_folder(tmp_path / str(seed) / "lite", CONFIG, weights)
        names.add(LazyDescriber(folder).name)
    assert len(names) == 2
    for beside in (DOMAIN_FILE, FACING_FILE, KINDS_FILE):
        (folder / beside).write_bytes(b"what is known beside the weights")
        names.add(LazyDescriber(folder).name)
    assert len(names) == 5


def test_a_checkpoint_that_is_not_here_fails_at_once_and_says_how_to_get_it() -> None:
    with pytest.raises(ModelError, match="tubelet models pull PixelRefer-Lite-2B"):
        LazyDescriber("PixelRefer-Lite-2B")
