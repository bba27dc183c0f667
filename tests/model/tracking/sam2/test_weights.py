"""Checkpoint folders in the published layout, with random weights: real files cannot be had here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.model.tracking.sam2.factories import make_clip, make_model
from tubelet.errors import ModelError, SettingsError
from tubelet.model.tracking.sam2.config import PUBLISHED, make_published_config, make_small_config
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import PointPrompt
from tubelet.model.tracking.sam2.settings import TrackerSettings, write_settings
from tubelet.model.tracking.sam2.weights import load_network, name_checkpoint, save_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "small", make_model())
    return tmp_path / "small"


def change_weights(folder: Path, change: dict[str, torch.Tensor | None]) -> None:
    file = folder / "model.safetensors"
    weights = {**load_file(file), **change}
    save_file(
        {name: tensor for name, tensor in weights.items() if tensor is not None},
        file,
        metadata={"format": "pt"},
    )


def test_a_saved_network_tracks_as_before(folder: Path) -> None:
    answers = []
    for network in (TransformersNetwork(make_model()), load_network(folder)):
        session = Sam2Session(network)
        for image in make_clip(3):
            seen = session.advance(image)
            if not session.numbers:
                seen = session.add({1: PointPrompt([(10, 12)])})
        answers.append(seen.logits_Bhw)
    assert torch.equal(*answers)


def test_device_and_format_are_the_callers(folder: Path) -> None:
    network = load_network(str(folder), dtype=torch.bfloat16)
    assert network.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in network.model.parameters())


def test_every_difference_is_named(folder: Path) -> None:
    change_weights(
        folder,
        {
            "no_memory_embedding": None,
            "mask_downsample.bias": torch.zeros(3),
            "something_else": torch.zeros(1),
        },
    )
    with pytest.raises(ModelError) as caught:
        load_network(folder)
    message = str(caught.value)
    assert "1 missing (no_memory_embedding)" in message
    assert "1 unexpected (something_else)" in message
    assert "1 of another shape (mask_downsample.bias: (3,) for (1,))" in message


def test_another_model_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(ModelError, match="'sam'"):
        load_network(folder)


def test_a_broken_configuration_is_refused(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "num_maskmem": "many"}))
    with pytest.raises(ModelError, match="not a configuration"):
        load_network(folder)


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        load_network(tmp_path)


def test_damaged_weights_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be read"):
        load_network(folder)


def test_a_checkpoint_that_is_not_here_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="not on this machine"):
        load_network("sam2.1-hiera-small")


def test_names_follow_the_weights_and_the_settings(folder: Path) -> None:
    names = [name_checkpoint(folder)]
    assert names[0].startswith("sam2-small@")
    assert names[0] == name_checkpoint(folder)
    change_weights(folder, {"mask_downsample.bias": torch.ones(1)})
    names.append(name_checkpoint(folder))
    for key_every_s in (1.0, 2.0):
        write_settings(folder, TrackerSettings(key_every_s=key_every_s))
        names.append(name_checkpoint(folder))
    assert len(set(names)) == 4


@pytest.mark.parametrize(
    ("size", "num_parameters"), [("tiny", 38.9e6), ("small", 46e6), ("base-plus", 80.8e6), ("large", 224.4e6)]
)
def test_published_shapes_have_the_published_number_of_parameters(size: str, num_parameters: float) -> None:
    """The counts in the README of facebookresearch/sam2."""
    from transformers import Sam2VideoModel

    with torch.device("meta"):
        model = Sam2VideoModel(make_published_config(size))
    # The position code of the image is stored twice, as a buffer; it is not counted.
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(
        num_parameters, rel=0.01
    )


def test_a_folder_of_the_published_layout_loads(tmp_path: Path) -> None:
    from transformers import Sam2VideoModel

    save_model(tmp_path, Sam2VideoModel(make_published_config("tiny")))
    assert load_network(tmp_path).shape.image_px == 1024


def test_shapes_that_cannot_work_are_refused() -> None:
    for wrong in ({"image_px": 100}, {"image_px": 32}, {"hidden": 64}):
        with pytest.raises(SettingsError):
            make_small_config(**wrong)
    with pytest.raises(SettingsError, match=", ".join(PUBLISHED)):
        make_published_config("huge")
