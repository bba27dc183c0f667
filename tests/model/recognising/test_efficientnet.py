"""EfficientNet-Lite0 against the outputs of the package that its weights come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tubelet.errors import ModelError
from tubelet.model.recognising.efficientnet import EfficientNetLite0, load_network, read_network


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return load_network()


def draw_waves(height: int = 224, width: int = 224) -> torch.Tensor:
    y, x = np.mgrid[0:height, 0:width] / 224
    waves = [np.sin(9 * x + 3 * y), np.cos(7 * y - 5 * x), np.sin(20 * x * y)]
    return torch.from_numpy(np.stack(waves).astype(np.float32))[None]


def test_outputs_are_those_of_the_package(network: EfficientNetLite0) -> None:
    """Recorded once from efficientnet_lite_pytorch 0.1.0 on the same weights and the same waves."""
    with torch.inference_mode():
        features = network.extract_features(draw_waves())
        logits = network.classify(features)[0]
    top = logits.topk(4)
    assert top.indices.tolist() == [885, 782, 818, 722]
    assert top.values.tolist() == pytest.approx([6.5242, 5.2386, 4.9376, 4.6451], abs=1e-3)
    assert logits[:4].tolist() == pytest.approx([-0.5305, 2.0249, 0.1581, -0.3547], abs=1e-3)
    assert float(features.sum()) == pytest.approx(159.2289, abs=1e-2)
    assert float(features.min()) >= 0


def test_a_picture_does_not_depend_on_its_batch(network: EfficientNetLite0) -> None:
    waves = draw_waves()
    with torch.inference_mode():
        alone, beside = network(waves), network(torch.cat([torch.zeros_like(waves), waves]))
    torch.testing.assert_close(beside[1:], alone, atol=1e-4, rtol=1e-4)


def test_odd_sizes_are_padded_to_the_end(network: EfficientNetLite0) -> None:
    with torch.inference_mode():
        stem = network.stem(draw_waves(61, 64))
    assert stem.shape == (1, 32, 31, 32)


def test_a_file_of_other_tensors_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, file)
    with pytest.raises(ModelError, match="does not hold EfficientNet-Lite0"):
        read_network(file)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "code.pth"
    torch.save({"weight": print}, file)
    with pytest.raises(ModelError, match="cannot be read"):
        read_network(file)
