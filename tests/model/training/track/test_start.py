"""What weights are begun with."""

from __future__ import annotations

import torch

from tests.model.training.track.polygons import PolygonClips
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.training.track.samples import SampleSettings, TrackBatches
from tubelet.model.training.track.start import make_network, start_memory
from tubelet.model.training.track.unroll import encode_clips

SIDE = 128


def make_pictures(num: int) -> list:  # type: ignore[type-arg]
    settings = SampleSettings(image_px=SIDE, clips_per_batch=2)
    make = TrackBatches(PolygonClips(side=SIDE), settings)
    return [make(number) for number in range(num)]


def test_same_seed_gives_the_same_network() -> None:
    first, same, other = (make_network(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], tensor) for name, tensor in same.items())
    assert not torch.equal(first["mask_decoder.iou_token.weight"], other["mask_decoder.iou_token.weight"])
    codes = [tensor for name, tensor in first.items() if name.endswith("positional_embedding")]
    assert len(codes) == 2
    assert torch.equal(*codes)


@torch.no_grad()
def test_memory_begins_by_looking_at_the_same_place() -> None:
    """A memory that differs in one cell changes the features most in that cell, in every part of the grid."""
    network = make_network(seed=3, image_px=SIDE)
    pictures = make_pictures(2)
    start_memory(network, pictures, seed=3)
    parts = TransformersNetwork(network)
    features = encode_clips(network, pictures[0])
    one = type(features)(
        features.fine[:1], features.middle[:1], features.coarse_1CHW[:1], features.position_1CHW[:1]
    )
    side = SIDE // 16
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(1, side * side, 64, generator=generator)
    position = parts.locate_memory()[None]
    plain = parts.attend_memory(one, memory, position, 0)
    for y, x in ((1, 1), (3, 6), (6, 2)):
        marked = memory.clone()
        marked[0, y * side + x] += torch.randn(64, generator=generator)
        change = (parts.attend_memory(one, marked, position, 0) - plain).square().sum(1)[0]
        assert divmod(int(change.argmax()), side) == (y, x)


@torch.no_grad()
def test_memory_begins_with_features_as_the_decoder_knows_them() -> None:
    network = make_network(seed=3, image_px=SIDE)
    pictures = make_pictures(4)
    start_memory(network, pictures, seed=3)
    parts = TransformersNetwork(network)
    features = encode_clips(network, pictures[0])
    known = features.coarse_1CHW + parts.learned.no_memory_C[:, None, None]
    num, num_cells = len(known), (SIDE // 16) ** 2
    memory = torch.randn(num, num_cells, 64, generator=torch.Generator().manual_seed(0))
    found = parts.attend_memory(features, memory, parts.locate_memory().expand(num, -1, -1), 0)
    means = torch.stack([maps.mean((0, 2, 3)) for maps in (found, known)])
    spreads = torch.stack([maps.std((0, 2, 3)) for maps in (found, known)])
    assert float(torch.corrcoef(means)[0, 1]) > 0.9
    assert 0.6 < float((spreads[0] / spreads[1]).median()) < 1.6
