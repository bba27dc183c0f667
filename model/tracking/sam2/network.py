"""What the engine asks of a SAM 2 network, and `transformers`' `Sam2VideoModel` behind it.

Shapes, as suffixes of names throughout this package:

    B  objects in one pass        S     side of the square picture the network sees
    P  points of a prompt         H, W  coarse feature grid, S / 16 a side
    K  masks for one prompt       h, w  mask grid, S / 4 a side
    C  image channels             N     H x W
    M  memory channels (64)       T     memory tokens of one object, L  time steps
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What the image encoder saw in one frame: two fine maps for the mask decoder, and the coarse one."""

    fine: Tensor  # (1, C / 8, h, w)
    middle: Tensor  # (1, C / 4, h / 2, w / 2)
    coarse_1CHW: Tensor
    position_1CHW: Tensor


@dataclass(frozen=True, slots=True)
class DecodedMasks:
    """What the mask decoder answers. `presence_B` is a logit: above 0 the object is in sight."""

    logits_BKhw: Tensor
    iou_BK: Tensor
    tokens_BKC: Tensor
    presence_B: Tensor


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The numbers of a network that the engine plans with."""

    image_px: int
    num_spatial_memories: int
    num_pointers: int
    max_conditioning: int
    multimask_points: range
    multimask_when_following: bool
    memory_mask_scale: float
    memory_mask_bias: float
    mask_prompts: Literal["transformers", "meta"]
    """How a mask prompt becomes memory. `transformers` takes its object pointer from the best of three
    mask tokens and its memory from the mask itself; Meta's predictor from the single-mask token and from the
    mask on the coarser grid. Each network says what its own library does, so that the engine repeats it."""


@dataclass(frozen=True, slots=True)
class LearnedVectors:
    """Parameters that the engine adds by itself. `occlusion_M` is None in networks without it."""

    no_memory_C: Tensor
    no_pointer_C: Tensor
    occlusion_M: Tensor | None
    memory_age_LM: Tensor


class Sam2Network(Protocol):
    """The parts of a SAM 2, each over a batch of objects. Weights lie on `device` in `dtype`."""

    @property
    def shape(self) -> NetworkShape: ...
    @property
    def learned(self) -> LearnedVectors: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def dtype(self) -> torch.dtype: ...

    def encode_image(self, pixels_13SS: Tensor) -> ImageFeatures:
        """Image features, once a frame for all objects."""

    def attend_memory(
        self, features: ImageFeatures, memory_BTM: Tensor, position_BTM: Tensor, num_pointer_tokens: int
    ) -> Tensor:
        """Coarse features as each object's memory colours them, (B, C, H, W). Pointer tokens come last."""

    def decode_masks(
        self,
        features: ImageFeatures,
        coarse_BCHW: Tensor,
        points_BP2: Tensor,
        labels_BP: Tensor,
        masks_B1hw: Tensor | None,
        *,
        multimask: bool,
    ) -> DecodedMasks:
        """Masks for one prompt an object, K = 3 with `multimask`, otherwise 1.

        Points are pixels of the square picture; labels are 1 object, 0 background, 2 and 3 the corners of a
        box, -1 no point.
        """

    def encode_memory(self, features: ImageFeatures, masks_B1SS: Tensor) -> Tensor:
        """A memory of the masks, already scaled, on this frame: (B, N, M)."""

    def locate_memory(self) -> Tensor:
        """The position code of a memory's cells, (N, M)."""

    def project_pointer(self, tokens_BC: Tensor) -> Tensor:
        """Mask tokens to object pointers."""

    def project_age(self, code_LC: Tensor) -> Tensor:
        """The sine code of a pointer's age to the channels of memory, (L, M)."""

    def shrink_mask(self, masks_B1SS: Tensor) -> Tensor:
        """A mask prompt on the mask grid, (B, 1, h, w), with a learned kernel."""


def plan_shape(config: Sam2VideoConfig, *, mask_prompts: Literal["transformers", "meta"]) -> NetworkShape:
    """What the engine needs to know of a configuration."""
    assert isinstance(config.image_size, int), "SAM 2 sees square pictures"
    low, high = config.multimask_min_pt_num, config.multimask_max_pt_num
    return NetworkShape(
        image_px=config.image_size,
        num_spatial_memories=config.num_maskmem - 1,
        num_pointers=config.max_object_pointers_in_encoder - 1,
        max_conditioning=config.max_cond_frame_num,
        multimask_points=range(low, high + 1) if config.multimask_output_in_sam else range(0),
        multimask_when_following=config.multimask_output_in_sam
        and config.multimask_output_for_tracking
        and low <= 0,
        memory_mask_scale=config.sigmoid_scale_for_mem_enc,
        memory_mask_bias=config.sigmoid_bias_for_mem_enc,
        mask_prompts=mask_prompts,
    )


class TransformersNetwork:
    """`Sam2VideoModel`, called part by part so that objects share a pass. Move the model before, not after.

    Its own `forward` loops over the objects; everything it computes is done here or in the engine, and
    `tests/model/tracking/sam2/test_engine.py` holds the two together.
    """

    def __init__(
        self, model: Sam2VideoModel, *, mask_prompts: Literal["transformers", "meta"] = "transformers"
    ) -> None:
        self.model = model
        model.train(False)
        self.shape = plan_shape(model.config, mask_prompts=mask_prompts)
        occlusion = model.occlusion_spatial_embedding_parameter
        self.learned = LearnedVectors(
            no_memory_C=model.no_memory_embedding.flatten(),
            no_pointer_C=model.no_object_pointer.flatten(),
            occlusion_M=None if occlusion is None else occlusion.flatten(),
            memory_age_LM=model.memory_temporal_positional_encoding.flatten(1),
        )

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.model.dtype
        return dtype

    def encode_image(self, pixels_13SS: Tensor) -> ImageFeatures:
        seen = self.model.get_image_features(pixels_13SS, return_dict=True)
        maps = [
            flat.permute(1, 2, 0).unflatten(2, tuple(size))
            for flat, size in zip(
                (*seen.fpn_hidden_states, seen.fpn_position_encoding[-1]),
                (*self.model.backbone_feature_sizes, self.model.backbone_feature_sizes[-1]),
                strict=True,
            )
        ]
        return ImageFeatures(*maps)

    def attend_memory(
        self, features: ImageFeatures, memory_BTM: Tensor, position_BTM: Tensor, num_pointer_tokens: int
    ) -> Tensor:
        num_objects = memory_BTM.shape[0]
        coarse_NBC, position_NBC = (
            map_1CHW.flatten(2).permute(2, 0, 1).expand(-1, num_objects, -1)
            for map_1CHW in (features.coarse_1CHW, features.position_1CHW)
        )
        fused_1BNC = self.model.memory_attention(
            current_vision_features=coarse_NBC,
            current_vision_position_embeddings=position_NBC,
            memory=memory_BTM.transpose(0, 1),
            memory_posision_embeddings=position_BTM.transpose(0, 1),
            num_object_pointer_tokens=num_pointer_tokens,
        )
        fused: Tensor = fused_1BNC[0].transpose(1, 2).unflatten(2, features.coarse_1CHW.shape[-2:])
        return fused

    def decode_masks(
        self,
        features: ImageFeatures,
        coarse_BCHW: Tensor,
        points_BP2: Tensor,
        labels_BP: Tensor,
        masks_B1hw: Tensor | None,
        *,
        multimask: bool,
    ) -> DecodedMasks:
        num_objects = coarse_BCHW.shape[0]
        image_position_1CHW = self.model.get_image_wide_positional_embeddings()
        sparse, dense = self.model.prompt_encoder(
            input_points=points_BP2.unsqueeze(1),
            input_labels=labels_BP.unsqueeze(1),
            input_boxes=None,
            input_masks=masks_B1hw,
        )
        logits, iou, tokens, presence = self.model.mask_decoder(
            image_embeddings=coarse_BCHW,
            image_positional_embeddings=image_position_1CHW.expand(num_objects, -1, -1, -1),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=[
                fine.expand(num_objects, -1, -1, -1) for fine in (features.fine, features.middle)
            ],
        )
        return DecodedMasks(logits[:, 0], iou[:, 0], tokens[:, 0], presence[:, 0, 0])

    def encode_memory(self, features: ImageFeatures, masks_B1SS: Tensor) -> Tensor:
        coarse = features.coarse_1CHW.expand(masks_B1SS.shape[0], -1, -1, -1)
        memory_BMHW, _ = self.model.memory_encoder(coarse, masks_B1SS)
        memory: Tensor = memory_BMHW.flatten(2).transpose(1, 2)
        return memory

    def locate_memory(self) -> Tensor:
        height, width = self.model.backbone_feature_sizes[-1]
        shape = torch.Size((1, self.model.mem_dim, height, width))
        position_1MHW = self.model.memory_encoder.position_encoding(shape, self.device, self.dtype)
        position: Tensor = position_1MHW[0].flatten(1).T
        return position

    def project_pointer(self, tokens_BC: Tensor) -> Tensor:
        pointer: Tensor = self.model.object_pointer_proj(tokens_BC)
        return pointer

    def project_age(self, code_LC: Tensor) -> Tensor:
        if not self.model.config.enable_temporal_pos_encoding_for_object_pointers:
            return code_LC.new_zeros(code_LC.shape[0], self.model.mem_dim)
        age: Tensor = self.model.temporal_positional_encoding_projection_layer(code_LC)
        return age

    def shrink_mask(self, masks_B1SS: Tensor) -> Tensor:
        small: Tensor = self.model.mask_downsample(masks_B1SS)
        return small
