"""The recipe from nothing, small: pools, tokenizer, stages, a checkpoint that loads; and resuming."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.model.training.describe.conftest import CONFIG, PLAN, SOURCES, make_toy_recipe
from tubelet.errors import InputError
from tubelet.model.describing.base import Looks
from tubelet.model.describing.domain import read_domain
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest
from tubelet.model.pixelrefer.describer import as_region_view, load_describer
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.regions import Region
from tubelet.model.pixelrefer.weights import load_checkpoint
from tubelet.model.training.describe.answering import AnswerModel
from tubelet.model.training.describe.batches import MomentBatches, move_places
from tubelet.model.training.describe.domains import look_at_objects
from tubelet.model.training.describe.features import join_region, make_features, prepare_clip
from tubelet.model.training.describe.pool import Pool, make_pool
from tubelet.model.training.describe.run import make_network, make_tokenizer, train_small
from tubelet.model.training.describe.samples import PreparedRegion, PreparedSample
from tubelet.model.training.describe.warm_up import CropBatches
from tubelet.model.training.grammar.reading import read_caption
from tubelet.model.training.world import render_clip
from tubelet.orchestration.kept_views import keep_views
from tubelet.workers.evidence import decode_view


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_small(make_toy_recipe(), folder / "out", folder / "work", SOURCES)
    return folder


def list_losses(log: Path) -> list[float]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row["losses"]["loss"] for row in rows if "losses" in row]


def test_losses_fall_in_every_stage(trained: Path) -> None:
    for stage, window in (("0-vision", 10), ("0-motion", 5), ("0-words", 5), ("1-perception", 10)):
        losses = list_losses(trained / "work" / stage / "log.jsonl")
        assert np.mean(losses[-window:]) < 0.95 * np.mean(losses[:window]), stage


def test_the_checkpoint_sees_which_way_objects_face(trained: Path) -> None:
    domain = read_domain(trained / "out")
    assert domain is not None
    assert domain.facing is not None
    assert domain.kinds is not None


def test_the_checkpoint_is_the_products(trained: Path) -> None:
    network, _ = load_checkpoint(trained / "out", device="cpu", dtype=torch.float32)
    assert network.config == replace(CONFIG, stop_ids=network.config.stop_ids)
    weights = (trained / "out" / "model.safetensors").read_bytes()
    assert b'"F16"' in weights[:20_000]
    assert b'"F32"' not in weights[:20_000]
    pool = Pool(trained / "work" / "clips")
    clip = next(pool[number] for number in range(len(pool)) if pool[number].views)
    views = next(iter(clip.views.values()))
    region = Region(tuple(as_region_view(decode_view(view, clip.frame_size)) for view in views[:3]))
    captioner = PixelReferCaptioner.load(trained / "out", max_new_tokens=8)
    assert captioner.describe([RegionRequest((region,))])[0].token_ids
    assert load_describer(trained / "out").object_dimensions == CONFIG.width
    domain = read_domain(trained / "out")
    assert domain is not None
    objects = look_at_objects(Pool(trained / "work" / "domain"), SOURCES.look_at, decode_view, network)
    assert domain.recogniser == objects.recogniser
    ranks = [domain.rank(Looks(objects.recogniser, tuple(own))) or 0 for own in objects.looks_ND.tolist()]
    assert np.mean(ranks) > 0.2  # it was trained on them
    assert domain.num_features == CONFIG.vision_width
    assert (domain.categories.names, domain.colours.names) == (
        tuple(sorted(set(objects.categories))),
        tuple(sorted(set(objects.colours))),
    )
    card = (trained / "out" / "README.md").read_text()
    assert "--recipe small --seed 1" in card
    assert "| 2-instruction | 12 |" in card


def test_a_stage_resumes_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    recipe = make_toy_recipe()
    cut = replace(
        recipe,
        stages=(replace(recipe.stages[0], loop=recipe.stages[0].loop.model_copy(update={"steps": 8})),),
    )
    work = tmp_path / "work"
    shutil.copytree(trained / "work", work)
    for stage in ("1-perception", "2-instruction"):
        shutil.rmtree(work / stage)
    assert cut.stages[0].loop.schedule == "constant", "others depend on the number of steps"
    train_small(cut, tmp_path / "cut", work, SOURCES)
    (work / "1-perception" / "report.json").unlink()
    train_small(replace(recipe, stages=recipe.stages[:1]), tmp_path / "out", work, SOURCES)
    whole, _ = load_checkpoint(trained / "work/1-perception/best", device="cpu", dtype=torch.float32)
    resumed, _ = load_checkpoint(work / "1-perception/best", device="cpu", dtype=torch.float32)
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, resumed.get_parameter(name)), name


def test_stored_features_give_the_loss_of_the_pictures(pool_folder: Path, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", seed=0, vocab_size=CONFIG.vocab_size, count=50)
    network = make_network(CONFIG, tokenizer, seed=0)
    pool = Pool(pool_folder)
    make_features(network, pool, decode_view, tmp_path / "features")
    batches = MomentBatches(
        pool_folder,
        PLAN.num_shards,
        tmp_path / "features",
        (("straight", 1.0), ("other", 1.0)),
        2,
        moved=False,
    )
    batch = batches(0)
    fresh = [with_pictures(sample, pool, network, batches, batch) for sample in batch]
    model = AnswerModel(network, tokenizer)
    with torch.inference_mode():
        stored, computed = float(model(batch)["loss"]), float(model(fresh)["loss"])
    assert stored == pytest.approx(computed, rel=2e-3), "float16 features"


def with_pictures(
    sample: PreparedSample,
    pool: Pool,
    network: PixelRefer,
    batches: MomentBatches,
    batch: list[PreparedSample],
) -> PreparedSample:
    """The same views with their pictures instead of features, found by their places."""
    everything = {
        view.places.tobytes() + view.patches.tobytes(): view
        for number in range(len(pool))
        for own in prepare_clip(pool[number], network.config, decode_view).values()
        for view in own
    }
    regions = tuple(
        PreparedRegion(
            tuple(everything[view.places.tobytes() + view.patches.tobytes()] for view in region.views),
            region.times_s,
        )
        for region in sample.regions
    )
    return replace(sample, regions=regions)


def test_batches_depend_on_their_number_alone(pool_folder: Path, tmp_path: Path) -> None:
    crops = CropBatches((pool_folder,), (PLAN.num_shards,), CONFIG, decode_view, 5, seed=3)
    first, second, again = crops(0), crops(1), crops(0)
    assert all(np.array_equal(a, b) for a, b in zip(first.patches, again.patches, strict=True))
    assert np.array_equal(first.labels_R3, again.labels_R3)
    assert first.patches[0].shape != second.patches[0].shape or not np.array_equal(
        first.patches[0], second.patches[0]
    )


def test_a_pool_goes_on_where_it_was_cut(pool_folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "pool"
    shutil.copytree(pool_folder, again)
    (again / "00001.arrow").unlink()
    make_pool(again, PLAN, render_clip, keep_views)
    for shard in ("00000.arrow", "00001.arrow"):
        assert (again / shard).read_bytes() == (pool_folder / shard).read_bytes()
    with pytest.raises(InputError, match="another plan"):
        make_pool(again, replace(PLAN, first_seed=7), render_clip, keep_views)


def test_moved_places_keep_turns_and_mirrors_swap_them() -> None:
    def make_path(side: int) -> list[PreparedRegion]:
        from tubelet.model.pixelrefer.encoding import PreparedView

        empty = np.empty((0, 0, 3), np.uint8)
        points = [(0.7, 0.3), (0.5, 0.3), (0.35, 0.3), (0.3, 0.3 + 0.1 * side), (0.3, 0.3 + 0.3 * side)]
        views = tuple(
            PreparedView(
                empty,
                empty,
                empty,
                b"",
                np.array([p], np.float32),
                np.zeros((1, 4)),
                np.ones((1, 4)),
                np.empty(0),
            )  # type: ignore[arg-type]
            for p in points
        )
        return [join_region([], None), PreparedRegion(views, None)][1:]

    def measure_turn(region: PreparedRegion) -> float:
        rows, columns = np.array([view.places[0] for view in region.views]).T * np.array([[319], [179]])
        first, last = (
            (rows[1] - rows[0], columns[1] - columns[0]),
            (rows[-1] - rows[-2], columns[-1] - columns[-2]),
        )
        # Rows grow downwards: a turn to the left goes against the picture's clock.
        return float(np.sign(first[0] * last[1] - first[1] * last[0]))

    generator = np.random.default_rng(0)
    for side in (1, -1):
        path = make_path(side)
        for _ in range(10):
            kept = move_places(path, (320, 180), generator, mirrored=False)
            mirrored = move_places(path, (320, 180), generator, mirrored=True)
            assert measure_turn(kept[0]) == measure_turn(path[0])
            assert measure_turn(mirrored[0]) == -measure_turn(path[0])


def test_the_tokenizer_writes_anything(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path, seed=0, vocab_size=700, count=300)
    for text in ("A red car turns left.", "Zürich 漢字 🚗 quux-7", "  two  spaces\n"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode("turns left")) < len("turns left") / 2
    assert read_caption(tokenizer.decode(tokenizer.encode("A red car turns left."))).turn == "left"
