"""The network's parts against plain formulas, alone against packed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.model.pixelrefer.region_factory import make_frame, make_mask, make_region
from tubelet.model.pixelrefer.config import MODEL_TYPES, PUBLISHED_SHAPES, read_config, write_config
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network
from tubelet.model.pixelrefer.encoding import (
    PreparedView,
    ScenePool,
    average_cells,
    collect_cells,
    encode_pictures,
    encode_views,
    prepare_views,
)
from tubelet.model.pixelrefer.network import PixelRefer, bucket_pictures, cluster_cells
from tubelet.model.pixelrefer.regions import RegionView


def _tokens(network: PixelRefer, views: Sequence[PreparedView], **options: int) -> list[Tensor]:
    return [view.tokens_KD for view in encode_views(network, views, **options)]


def _cluster_plainly(cells: Tensor, starts: Tensor, num_rounds: int) -> Tensor:
    """k-means of one region, written as the formula reads."""
    centres = cells[starts]
    for _ in range(num_rounds):
        labels = ((cells[:, None] - centres[None]) ** 2).sum(dim=-1).argmin(dim=1)
        moved = torch.stack(
            [
                cells[labels == k].mean(dim=0) if (labels == k).any() else centres[k]
                for k in range(len(centres))
            ]
        )
        if torch.allclose(centres, moved, atol=1e-6):
            break
        centres = moved
    return centres


@pytest.mark.parametrize("num_rounds", [1, 3, 20])
def test_clusters_of_padded_regions_equal_those_of_each_alone(num_rounds: int) -> None:
    torch.manual_seed(0)
    counts, num_clusters, width = (9, 30, 17), 5, 6
    cells = torch.zeros(3, 30, width)
    inside = torch.zeros(3, 30, dtype=torch.bool)
    starts = torch.stack([torch.randperm(count)[:num_clusters] for count in counts])
    for row, count in enumerate(counts):
        cells[row, :count] = torch.randn(count, width)
        inside[row, :count] = True
    together = cluster_cells(cells, inside, starts, num_rounds)
    for row, count in enumerate(counts):
        alone = _cluster_plainly(cells[row, :count], starts[row], num_rounds)
        torch.testing.assert_close(together[row], alone, rtol=1e-5, atol=1e-6)


def test_an_empty_cluster_keeps_its_centre() -> None:
    cells = torch.tensor([[[0.0], [0.0], [0.0], [9.0]]])
    centres = cluster_cells(cells, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[0, 1, 3]]), 3)
    assert centres.tolist() == [[[0.0], [0.0], [9.0]]]


def test_packed_pictures_have_the_features_of_each_alone() -> None:
    network = make_debug_network()
    pictures = [make_frame(0, 28, 42), make_frame(1, 56, 14), make_frame(2, 28, 42)]
    with torch.inference_mode():
        packed = encode_pictures(network, pictures)
        alone = [encode_pictures(network, [picture])[0] for picture in pictures]
    for one, other in zip(packed, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_region_with_few_cells_is_filled_with_zeros() -> None:
    network = make_debug_network()
    (view,) = prepare_views(make_region(0, 1).views, network.config, ScenePool(network.config))
    few = dataclasses.replace(
        view, patches=view.patches[:3], weights=view.weights[:3], starts=view.starts[:0]
    )
    with torch.inference_mode():
        features = torch.cat(encode_pictures(network, [few.crop, view.crop]))
        cells = collect_cells([few, view], DEBUG_CONFIG.num_object_tokens, network.device)
        tokens = network.region_encoder.tokenize(features, cells)
        placed = features + network.region_encoder.pos_linear(cells.position_P2)
    assert torch.equal(tokens[0, :3], placed[torch.from_numpy(few.patches[:, 0])])
    assert not tokens[0, 3:].any()
    assert tokens[1].abs().sum(dim=1).gt(0).all()


def test_a_regions_feature_is_the_mean_over_its_cells() -> None:
    network = make_debug_network()
    prepared = prepare_views(make_region(0, 2).views, network.config, ScenePool(network.config))
    with torch.inference_mode():
        features = encode_pictures(network, [view.crop for view in prepared])
        encoded = encode_views(network, prepared)
    for view, crop, own in zip(prepared, features, encoded, strict=True):
        weights = torch.from_numpy(view.weights)
        cells = (crop[torch.from_numpy(view.patches)] * weights[..., None]).sum(dim=1)
        torch.testing.assert_close(own.seen_C, cells.mean(dim=0), rtol=1e-4, atol=1e-5)
    empty = dataclasses.replace(prepared[0], patches=prepared[0].patches[:0], weights=prepared[0].weights[:0])
    torch.testing.assert_close(average_cells(empty, features[0]), features[0].mean(dim=0))


def test_objects_of_one_frame_keep_their_own_surroundings() -> None:
    """The reference gives every object of a frame the first one's local picture; here each has its own."""
    network = make_debug_network()
    frame = make_frame()
    one, other = (RegionView(frame, mask) for mask in (make_mask(5, 5, 20, 30), make_mask(40, 70, 60, 120)))
    scenes = ScenePool(network.config)
    together = [prepare_views([view], network.config, scenes)[0] for view in (one, other)]
    alone = prepare_views([other], network.config, ScenePool(network.config))
    assert together[0].scene_key == together[1].scene_key
    assert not np.array_equal(together[0].local, together[1].local)
    with torch.inference_mode():
        torch.testing.assert_close(_tokens(network, together)[1], _tokens(network, alone)[0])


def test_a_scene_is_encoded_once_for_all_its_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_debug_network()
    num_pictures: list[int] = []
    encode = network.encode_pictures

    def count(patches: Tensor, grid: Tensor, merge: Tensor) -> Tensor:
        num_pictures.append(len(grid))
        return encode(patches, grid, merge)

    monkeypatch.setattr(network, "encode_pictures", count)
    scenes = ScenePool(network.config)
    prepared = [
        view for seed in range(5) for view in prepare_views(make_region(seed).views, network.config, scenes)
    ]
    with torch.inference_mode():
        encode_views(network, prepared)
    assert num_pictures == [22]  # a crop and a local picture of ten views, and two scenes


def test_scenes_that_no_view_needs_any_more_are_let_go() -> None:
    """Views of many frames, packed one by one: tokens stay right while scenes come and go."""
    network = make_debug_network()
    order = [0, 1, 0, 2, 1, 2]
    views = [
        RegionView(make_frame(frame), make_mask(10, 10, 30, 40 + place)) for place, frame in enumerate(order)
    ]
    scenes = ScenePool(network.config)
    prepared = [prepare_views([view], network.config, scenes)[0] for view in views]
    with torch.inference_mode():
        together = _tokens(network, prepared, max_patches=1)
        alone = [_tokens(network, [view])[0] for view in prepared]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_views_packed_in_several_calls_have_the_same_tokens() -> None:
    network = make_debug_network()
    scenes = ScenePool(network.config)
    prepared = [
        view for seed in range(4) for view in prepare_views(make_region(seed).views, network.config, scenes)
    ]
    with torch.inference_mode():
        one_call = torch.cat(_tokens(network, prepared))
        many_calls = torch.cat(_tokens(network, prepared, max_patches=1))
    torch.testing.assert_close(one_call, many_calls, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_and_stays_near(dtype: torch.dtype) -> None:
    network = make_debug_network()
    views = prepare_views(make_region(0, 2).views, network.config, ScenePool(network.config))
    with torch.inference_mode():
        exact = torch.cat(_tokens(network, views))
        rough = torch.cat(_tokens(network.to(dtype), views))
    assert rough.dtype == dtype
    similarity = torch.nn.functional.cosine_similarity(exact, rough.float(), dim=1)
    assert similarity.mean() > 0.97


@pytest.mark.parametrize("name", sorted(PUBLISHED_SHAPES))
def test_published_configs_survive_writing_and_reading(name: str) -> None:
    config = PUBLISHED_SHAPES[name]
    published, preprocessor = write_config(config)
    assert published["model_type"] == MODEL_TYPES[config.paradigm]
    assert read_config(published, preprocessor=preprocessor) == config


def test_buckets_hold_every_picture_once_and_pad_little() -> None:
    lengths = [16, 256, 99, 100, 256, 90, 14, 1]
    buckets = bucket_pictures(lengths, torch.device("cpu"))
    seen = []
    for bucket in buckets:
        inside = (
            torch.ones_like(bucket.row_IL, dtype=torch.bool) if bucket.inside_IL is None else bucket.inside_IL
        )
        seen += bucket.row_IL[inside].tolist()
        assert inside.sum() >= 7 / 8 * inside.numel()
    assert sorted(seen) == list(range(sum(lengths)))
    assert len(buckets) == 4


def test_attention_in_buckets_is_that_of_transformers() -> None:
    """The same weights, with the encoder's own attention, one picture at a time."""
    network = make_debug_network()
    plain = PixelRefer(network.config, attention="eager")
    plain.load_state_dict(network.state_dict())
    pictures = [make_frame(seed, 14 * rows, 14 * columns) for seed, (rows, columns) in enumerate(GRIDS)]
    with torch.inference_mode():
        packed = torch.cat(encode_pictures(network, pictures))
        wanted = torch.cat(encode_pictures(plain, pictures))
    torch.testing.assert_close(packed, wanted, rtol=1e-5, atol=2e-5)


GRIDS = [(4, 4), (3, 5), (16, 16), (1, 1), (15, 17), (4, 4)]
