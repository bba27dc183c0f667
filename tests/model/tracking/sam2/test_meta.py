"""Meta's names and Meta's code: one set of weights, both ways, and the same masks on the same clip."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from transformers import Sam2VideoModel

from tests.model.tracking.sam2.factories import IMAGE_PX, make_clip, make_model
from tests.model.tracking.sam2.test_engine import run_engine
from tubelet.errors import DependencyError, ModelError
from tubelet.model.frame import Image
from tubelet.model.tracking.sam2.config import make_published_config, make_small_config
from tubelet.model.tracking.sam2.meta_backend import MetaNetwork, build_meta_model, load_meta_network
from tubelet.model.tracking.sam2.meta_names import convert_meta_checkpoint, from_meta, to_meta
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, Prompt
from tubelet.model.tracking.sam2.weights import save_model
from tubelet.records import Box

needs_meta = pytest.mark.skipif(
    importlib.util.find_spec("sam2") is None,
    reason="Meta's package `sam2` is not installed; the first lines of meta_backend.py say how",
)
# What Meta's package and the packages it loads warn about is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:UserWarning")

META_NAMES = (
    "image_encoder.trunk.pos_embed_window",
    "image_encoder.trunk.patch_embed.proj.weight",
    "image_encoder.trunk.blocks.3.mlp.layers.1.bias",
    "image_encoder.trunk.blocks.1.proj.weight",
    "image_encoder.neck.convs.2.conv.weight",
    "memory_attention.layers.1.cross_attn_image.out_proj.weight",
    "memory_attention.layers.0.norm3.bias",
    "memory_attention.norm.weight",
    "memory_encoder.mask_downsampler.encoder.10.weight",
    "memory_encoder.mask_downsampler.encoder.12.bias",
    "memory_encoder.fuser.layers.1.gamma",
    "memory_encoder.pix_feat_proj.weight",
    "memory_encoder.out_proj.bias",
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "sam_prompt_encoder.point_embeddings.3.weight",
    "sam_prompt_encoder.mask_downscaling.6.weight",
    "sam_mask_decoder.output_upscaling.3.weight",
    "sam_mask_decoder.output_hypernetworks_mlps.2.layers.1.weight",
    "sam_mask_decoder.transformer.layers.1.norm4.weight",
    "sam_mask_decoder.transformer.norm_final_attn.bias",
    "sam_mask_decoder.pred_obj_score_head.layers.2.weight",
    "obj_ptr_proj.layers.0.weight",
    "obj_ptr_tpos_proj.weight",
    "maskmem_tpos_enc",
    "no_obj_embed_spatial",
    "no_obj_ptr",
)


@pytest.fixture(scope="module", params=[7, 0])
def model(request: pytest.FixtureRequest) -> Sam2VideoModel:
    return make_model(request.param)


def make_square_clip(num_frames: int) -> list[Image]:
    """Pictures of the network's own size, which neither library resizes."""
    return make_clip(num_frames, height=IMAGE_PX, width=IMAGE_PX)


def square_mask() -> np.ndarray:
    mask = np.zeros((IMAGE_PX, IMAGE_PX), bool)
    mask[26:40, 36:50] = True
    return mask


PROMPTS: dict[int, dict[int, Prompt]] = {
    1: {0: PointPrompt([(10, 12)])},
    2: {0: BoxPrompt(Box(40, 26, 54, 40))},
    3: {0: MaskPrompt(square_mask())},
    4: {4: PointPrompt([(20, 14), (24, 16)], beside=[(50, 50)])},
}


def test_weights_survive_the_way_there_and_back(model: Sam2VideoModel) -> None:
    weights = model.state_dict()
    there = to_meta(weights)
    assert set(META_NAMES) <= there.keys()
    back = from_meta(there, model.config)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_weights_of_another_size_are_refused(model: Sam2VideoModel) -> None:
    with pytest.raises(ModelError, match="of another shape"):
        from_meta(to_meta(model.state_dict()), make_small_config(hidden=256, embed=16))
    there = to_meta(model.state_dict())
    del there["maskmem_tpos_enc"]
    with pytest.raises(ModelError, match="memory_temporal_positional_encoding"):
        from_meta({**there, "stray": torch.zeros(1)}, model.config)


def test_metas_own_files_are_read(model: Sam2VideoModel, tmp_path: Path) -> None:
    torch.save({"model": to_meta(model.state_dict())}, tmp_path / "own.pt")
    read = convert_meta_checkpoint(tmp_path / "own.pt", model.config)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in read.state_dict().items())
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match=r"broken\.pt cannot be read"):
        convert_meta_checkpoint(tmp_path / "broken.pt", model.config)


def test_without_the_package_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, model: Sam2VideoModel
) -> None:
    monkeypatch.setitem(sys.modules, "sam2", None)
    monkeypatch.setitem(sys.modules, "sam2.sam2_video_predictor", None)
    with pytest.raises(DependencyError, match="install it"):
        build_meta_model(model.config)


@needs_meta
@pytest.mark.parametrize("size", ["tiny", "small", "base-plus", "large"])
def test_published_sizes_have_metas_names_and_shapes(size: str) -> None:
    config = make_published_config(size)
    with torch.device("meta"):
        ours = {name: tensor.shape for name, tensor in to_meta(Sam2VideoModel(config).state_dict()).items()}
    theirs = {name: tensor.shape for name, tensor in build_meta_model(config).state_dict().items()}
    assert ours == theirs


@needs_meta
def test_both_backends_give_the_same_masks(tmp_path: Path, model: Sam2VideoModel) -> None:
    save_model(tmp_path, model)
    clip = make_square_clip(20)
    by_meta = run_engine(load_meta_network(tmp_path), clip, PROMPTS)
    by_transformers = run_engine(TransformersNetwork(model, mask_prompts="meta"), clip, PROMPTS)
    for number, frames in by_transformers.items():
        for frame, (logits, presence) in frames.items():
            torch.testing.assert_close(by_meta[number][frame][0], logits, atol=2e-4, rtol=1e-4)
            torch.testing.assert_close(by_meta[number][frame][1], presence, atol=1e-3, rtol=1e-3)


@needs_meta
def test_masks_are_those_of_metas_own_predictor(tmp_path: Path, model: Sam2VideoModel) -> None:
    for place, image in enumerate(make_square_clip(20)):
        Picture.fromarray(image).save(tmp_path / f"{place}.jpg", quality=95)
    clip = [np.asarray(Picture.open(tmp_path / f"{place}.jpg")) for place in range(20)]
    predictor = build_meta_model(model.config)
    predictor.load_state_dict(to_meta(model.state_dict()))
    predictor.train(False)
    theirs = run_predictor(predictor, tmp_path)
    ours = run_engine(MetaNetwork(predictor, model.config), clip, PROMPTS)
    for number, frames in ours.items():
        for frame, (logits, _) in frames.items():
            torch.testing.assert_close(theirs[number][frame], logits, atol=2e-4, rtol=1e-4)


def run_predictor(predictor: Any, folder: Path) -> dict[int, dict[int, torch.Tensor]]:
    """Meta's predictor on one object after the other: mask logits at the network's grid."""
    answers: dict[int, dict[int, torch.Tensor]] = {}
    for number, at in PROMPTS.items():
        state = predictor.init_state(str(folder))
        for frame, prompt in at.items():
            if isinstance(prompt, MaskPrompt):
                predictor.add_new_mask(state, frame, number, prompt.mask)
            elif isinstance(prompt, BoxPrompt):
                predictor.add_new_points_or_box(state, frame, number, box=np.array(prompt.box, np.float32))
            else:
                points = np.array([*prompt.on, *prompt.beside], np.float32)
                labels = np.array([1] * len(prompt.on) + [0] * len(prompt.beside), np.int32)
                predictor.add_new_points_or_box(state, frame, number, points=points, labels=labels)
        for _ in predictor.propagate_in_video(state):
            pass
        kept = state["output_dict_per_obj"][0]
        answers[number] = {
            frame: out["pred_masks"][0, 0]
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs")
            for frame, out in kept[kind].items()
        }
    return answers
