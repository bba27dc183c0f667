"""Names of SAM 2's weights in `transformers` and in Meta's own code, and the way from one to the other."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import torch
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.initialization import no_init_weights

from tubelet.errors import ModelError
from tubelet.model.tracking.sam2.weights import compare_names

POSITION_CODE = "prompt_encoder.shared_embedding.positional_embedding"
POSITION_CODE_COPY = "shared_image_embedding.positional_embedding"
POINTS, META_POINTS = "prompt_encoder.point_embed.weight", "sam_prompt_encoder.point_embeddings.{}.weight"

_MLP_OF_THREE = (
    (r"\.layers\.0\.", ".layers.1."),
    (r"\.proj_in\.", ".layers.0."),
    (r"\.proj_out\.", ".layers.2."),
)
_MLP_OF_TWO = ((r"\.proj_in\.", ".layers.0."), (r"\.proj_out\.", ".layers.1."))
_NORMS = ((r"layer_norm(\d?)\.", r"norm\1."), (r"layer_norm_final_attn", "norm_final_attn"))

# What a name of `transformers` begins with, what Meta's begins with, and what else differs, in this order.
_PARTS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "vision_encoder.backbone.",
        "image_encoder.trunk.",
        ((r"patch_embed\.projection", "patch_embed.proj"), *_NORMS, *_MLP_OF_TWO),
    ),
    ("vision_encoder.neck.", "image_encoder.neck.", ((r"convs\.(\d+)\.", r"convs.\1.conv."),)),
    (
        "prompt_encoder.",
        "sam_prompt_encoder.",
        (
            (r"shared_embedding\.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
            (r"mask_embed\.conv1", "mask_downscaling.0"),
            (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
            (r"mask_embed\.conv2", "mask_downscaling.3"),
            (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
            (r"mask_embed\.conv3", "mask_downscaling.6"),
        ),
    ),
    (
        "mask_decoder.transformer.",
        "sam_mask_decoder.transformer.",
        (*_NORMS, (r"\.o_proj", ".out_proj"), *_MLP_OF_TWO),
    ),
    (
        "mask_decoder.upscale_",
        "sam_mask_decoder.output_upscaling.",
        ((r"conv1", "0"), (r"layer_norm", "1"), (r"conv2", "3")),
    ),
    ("mask_decoder.output_hypernetworks_mlps", "sam_mask_decoder.output_hypernetworks_mlps", _MLP_OF_THREE),
    ("mask_decoder.iou_prediction_head", "sam_mask_decoder.iou_prediction_head", _MLP_OF_THREE),
    ("mask_decoder.pred_obj_score_head", "sam_mask_decoder.pred_obj_score_head", _MLP_OF_THREE),
    ("mask_decoder.", "sam_mask_decoder.", ()),
    ("memory_attention.", "memory_attention.", (*_NORMS, (r"\.o_proj", ".out_proj"))),
    (
        "memory_encoder.memory_fuser.",
        "memory_encoder.fuser.",
        (
            (r"depthwise_conv", "dwconv"),
            (r"pointwise_conv", "pwconv"),
            (r"layer_norm", "norm"),
            (r"scale$", "gamma"),
        ),
    ),
    (
        "memory_encoder.",
        "memory_encoder.",
        ((r"feature_projection", "pix_feat_proj"), (r"^projection", "out_proj")),
    ),
    ("object_pointer_proj", "obj_ptr_proj", _MLP_OF_THREE),
    ("temporal_positional_encoding_projection_layer", "obj_ptr_tpos_proj", ()),
    ("memory_temporal_positional_encoding", "maskmem_tpos_enc", ()),
    ("no_memory_embedding", "no_mem_embed", ()),
    ("no_memory_positional_encoding", "no_mem_pos_enc", ()),
    ("no_object_pointer", "no_obj_ptr", ()),
    ("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial", ()),
    ("mask_downsample.", "mask_downsample.", ()),
)
_DOWNSAMPLER = re.compile(
    r"memory_encoder\.mask_downsampler\.(?:layers\.(\d+)\.(conv|layer_norm)|final_conv)\.(.+)"
)


def name_for_meta(name: str, num_downsampler_layers: int = 4) -> str:
    """Meta's name of a tensor of `Sam2VideoModel`; point embeddings are one tensor here and four there."""
    if match := _DOWNSAMPLER.fullmatch(name):
        layer, kind, rest = match.groups()
        place = 3 * (num_downsampler_layers if layer is None else int(layer)) + (kind == "layer_norm")
        return f"memory_encoder.mask_downsampler.encoder.{place}.{rest}"
    for own, metas, changes in _PARTS:
        if name.startswith(own):
            rest = name.removeprefix(own)
            for pattern, replacement in changes:
                rest, num_changed = re.subn(pattern, replacement, rest)
                if num_changed and changes is _MLP_OF_THREE:
                    break
            return metas + rest
    raise AssertionError(f"{name} belongs to no part of SAM 2")


def to_meta(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a `Sam2VideoModel` under Meta's names."""
    renamed = {
        name_for_meta(name): tensor
        for name, tensor in weights.items()
        if name not in (POINTS, POSITION_CODE_COPY)
    }
    points = weights[POINTS]
    return renamed | {META_POINTS.format(place): points[place : place + 1] for place in range(len(points))}


def from_meta(meta_weights: dict[str, Tensor], config: Sam2VideoConfig) -> dict[str, Tensor]:
    """Meta's weights under the names of `Sam2VideoModel`. Raises ModelError unless both fit exactly."""
    with torch.device("meta"):
        model = Sam2VideoModel(config)
    left = dict(meta_weights)
    weights = {
        name: left.pop(name_for_meta(name))
        for name in model.state_dict()
        if name not in (POINTS, POSITION_CODE_COPY) and name_for_meta(name) in left
    }
    points = [left.pop(name) for place in range(4) if (name := META_POINTS.format(place)) in left]
    if points:
        weights[POINTS] = torch.cat(points)
    if POSITION_CODE in weights:
        weights[POSITION_CODE_COPY] = weights[POSITION_CODE]
    report = compare_names(model, {name: tuple(tensor.shape) for name, tensor in (weights | left).items()})
    if not report.is_clean:
        raise ModelError(
            f"These weights are not those of this SAM 2: {report}",
            expected="a checkpoint of Meta's SAM 2.1 and the configuration of its size",
            do="choose the configuration that belongs to the checkpoint",
        )
    return weights


def convert_meta_checkpoint(file: Path, config: Sam2VideoConfig) -> Sam2VideoModel:
    """Read one of Meta's own `sam2.1_hiera_*.pt` files; tensors only, nothing in it is run."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{file} cannot be read: {str(error).splitlines()[0]}",
            expected="a checkpoint file of Meta's SAM 2",
            do="copy it again",
        ) from error
    weights = from_meta(content.get("model", content), config)
    with no_init_weights():
        model = Sam2VideoModel(config)
    model.load_state_dict(weights, strict=True)
    return model
