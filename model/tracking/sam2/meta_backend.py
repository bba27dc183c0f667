"""Meta's own SAM 2 code (package `sam2`) behind the same interface.

Optional: `sam2` asks pip for torchvision, which following masks does not need. Without it:
`pip install --no-deps sam2 hydra-core omegaconf iopath portalocker antlr4-python3-runtime==4.9.*`.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Sam2VideoConfig

from tubelet.errors import DependencyError
from tubelet.model.tracking.sam2.meta_names import to_meta
from tubelet.model.tracking.sam2.network import (
    DecodedMasks,
    ImageFeatures,
    LearnedVectors,
    NetworkShape,
    plan_shape,
)
from tubelet.model.tracking.sam2.weights import find_folder, load_model, read_config


def build_meta_model(configuration: Sam2VideoConfig) -> Any:
    """Meta's `SAM2VideoPredictor` of the same shape, with random weights."""
    config: Any = configuration  # its parts are typed as dictionaries, and are not
    parts = {
        name: _import(f"sam2.{name}")
        for name in (
            "sam2_video_predictor",
            "modeling.backbones.hieradet",
            "modeling.backbones.image_encoder",
            "modeling.memory_attention",
            "modeling.memory_encoder",
            "modeling.position_encoding",
            "modeling.sam.transformer",
        )
    }
    position = parts["modeling.position_encoding"].PositionEmbeddingSine
    vision, hiera = config.vision_config, config.vision_config.backbone_config
    hidden, memory = config.memory_attention_hidden_size, config.memory_encoder_output_channels
    encoder = parts["modeling.backbones.image_encoder"]
    image_encoder = encoder.ImageEncoder(
        scalp=1,
        trunk=parts["modeling.backbones.hieradet"].Hiera(
            embed_dim=hiera.hidden_size,
            num_heads=hiera.num_attention_heads,
            stages=tuple(hiera.blocks_per_stage),
            window_pos_embed_bkg_spatial_size=tuple(hiera.window_positional_embedding_background_size),
            window_spec=tuple(hiera.window_size_per_stage),
            global_att_blocks=tuple(hiera.global_attention_blocks),
        ),
        neck=encoder.FpnNeck(
            position_encoding=position(num_pos_feats=vision.fpn_hidden_size, normalize=True),
            d_model=vision.fpn_hidden_size,
            backbone_channel_list=vision.backbone_channel_list,
            fpn_top_down_levels=vision.fpn_top_down_levels,
            fpn_interp_model="nearest",
        ),
    )
    attention = parts["modeling.memory_attention"]
    rope = {"embedding_dim": hidden, "num_heads": 1, "downsample_rate": 1, "dropout": 0.0}
    rope_attention = parts["modeling.sam.transformer"].RoPEAttention
    sizes = tuple(config.memory_attention_rope_feat_sizes)
    memory_attention = attention.MemoryAttention(
        d_model=hidden,
        pos_enc_at_input=True,
        num_layers=config.memory_attention_num_layers,
        layer=attention.MemoryAttentionLayer(
            activation="relu",
            d_model=hidden,
            dim_feedforward=config.memory_attention_feed_forward_hidden_size,
            dropout=0.0,
            pos_enc_at_attn=False,
            pos_enc_at_cross_attn_keys=True,
            pos_enc_at_cross_attn_queries=False,
            self_attention=rope_attention(feat_sizes=sizes, **rope),
            cross_attention=rope_attention(feat_sizes=sizes, rope_k_repeat=True, kv_in_dim=memory, **rope),
        ),
    )
    encoding = parts["modeling.memory_encoder"]
    memory_encoder = encoding.MemoryEncoder(
        out_dim=memory,
        in_dim=hidden,
        position_encoding=position(num_pos_feats=memory, normalize=True),
        mask_downsampler=encoding.MaskDownSampler(embed_dim=hidden, kernel_size=3, stride=2, padding=1),
        fuser=encoding.Fuser(encoding.CXBlock(dim=hidden), num_layers=config.memory_fuser_num_layers),
    )
    model = parts["sam2_video_predictor"].SAM2VideoPredictor(
        image_encoder=image_encoder,
        memory_attention=memory_attention,
        memory_encoder=memory_encoder,
        num_maskmem=config.num_maskmem,
        image_size=config.image_size,
        max_obj_ptrs_in_encoder=config.max_object_pointers_in_encoder,
        max_cond_frames_in_attn=config.max_cond_frame_num,
        sigmoid_scale_for_mem_enc=config.sigmoid_scale_for_mem_enc,
        sigmoid_bias_for_mem_enc=config.sigmoid_bias_for_mem_enc,
        multimask_output_in_sam=config.multimask_output_in_sam,
        multimask_min_pt_num=config.multimask_min_pt_num,
        multimask_max_pt_num=config.multimask_max_pt_num,
        multimask_output_for_tracking=config.multimask_output_for_tracking,
        no_obj_embed_spatial=config.enable_occlusion_spatial_embedding,
        proj_tpos_enc_in_obj_ptrs=config.enable_temporal_pos_encoding_for_object_pointers,
        add_tpos_enc_to_obj_ptrs=config.enable_temporal_pos_encoding_for_object_pointers,
        use_signed_tpos_enc_to_obj_ptrs=config.enable_temporal_pos_encoding_for_object_pointers,
        # What all published configurations have in common.
        use_mask_input_as_output_without_sam=True,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        use_multimask_token_for_obj_ptr=True,
        use_mlp_for_obj_ptr_proj=True,
        binarize_mask_from_pts_for_mem_enc=True,
        sam_mask_decoder_extra_args={
            name: getattr(config.mask_decoder_config, name)
            for name in (
                "dynamic_multimask_via_stability",
                "dynamic_multimask_stability_delta",
                "dynamic_multimask_stability_thresh",
            )
        },
    )
    return model


def load_meta_network(checkpoint: str | Path, *, device: torch.device | str = "cpu") -> MetaNetwork:
    """The checkpoint, as `weights.load_network` names it, run by Meta's code, in float32."""
    folder = find_folder(checkpoint)
    model = build_meta_model(read_config(folder))
    model.load_state_dict(to_meta(load_model(folder).state_dict()), strict=True)
    return MetaNetwork(model.to(device), read_config(folder))


class MetaNetwork:
    """Meta's `SAM2Base`, called part by part."""

    def __init__(self, model: Any, config: Sam2VideoConfig) -> None:
        self.model = model
        model.train(False)
        self.shape: NetworkShape = plan_shape(config, mask_prompts="meta")
        occlusion = self.model.no_obj_embed_spatial
        self.learned = LearnedVectors(
            no_memory_C=self.model.no_mem_embed.flatten(),
            no_pointer_C=self.model.no_obj_ptr.flatten(),
            occlusion_M=None if occlusion is None else occlusion.flatten(),
            memory_age_LM=self.model.maskmem_tpos_enc.flatten(1),
        )
        self.dtype = torch.float32

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    def encode_image(self, pixels_13SS: Tensor) -> ImageFeatures:
        seen = self.model.forward_image(pixels_13SS)
        fine, middle, coarse = seen["backbone_fpn"]
        return ImageFeatures(fine, middle, coarse, seen["vision_pos_enc"][-1])

    def attend_memory(
        self, features: ImageFeatures, memory_BTM: Tensor, position_BTM: Tensor, num_pointer_tokens: int
    ) -> Tensor:
        num_objects = memory_BTM.shape[0]
        coarse_NBC, position_NBC = (
            map_1CHW.flatten(2).permute(2, 0, 1).expand(-1, num_objects, -1)
            for map_1CHW in (features.coarse_1CHW, features.position_1CHW)
        )
        fused_NBC: Tensor = self.model.memory_attention(
            curr=coarse_NBC,
            curr_pos=position_NBC,
            memory=memory_BTM.transpose(0, 1),
            memory_pos=position_BTM.transpose(0, 1),
            num_obj_ptr_tokens=num_pointer_tokens,
        )
        return fused_NBC.permute(1, 2, 0).view(num_objects, *features.coarse_1CHW.shape[1:])

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
        sparse, dense = self.model.sam_prompt_encoder(
            points=(points_BP2, labels_BP), boxes=None, masks=masks_B1hw
        )
        logits, iou, tokens, presence = self.model.sam_mask_decoder(
            image_embeddings=coarse_BCHW,
            image_pe=self.model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=[
                fine.expand(num_objects, -1, -1, -1) for fine in (features.fine, features.middle)
            ],
        )
        return DecodedMasks(logits, iou, tokens, presence[:, 0])

    def encode_memory(self, features: ImageFeatures, masks_B1SS: Tensor) -> Tensor:
        coarse = features.coarse_1CHW.expand(masks_B1SS.shape[0], -1, -1, -1)
        encoded = self.model.memory_encoder(coarse, masks_B1SS, skip_mask_sigmoid=True)
        memory_BMHW: Tensor = encoded["vision_features"]
        return memory_BMHW.flatten(2).transpose(1, 2)

    def locate_memory(self) -> Tensor:
        side = self.shape.image_px // 16
        blank = torch.zeros(1, self.model.mem_dim, side, side, device=self.device)
        position_1MHW: Tensor = self.model.memory_encoder.position_encoding(blank)
        return position_1MHW[0].flatten(1).T

    def project_pointer(self, tokens_BC: Tensor) -> Tensor:
        pointer: Tensor = self.model.obj_ptr_proj(tokens_BC)
        return pointer

    def project_age(self, code_LC: Tensor) -> Tensor:
        if not self.model.add_tpos_enc_to_obj_ptrs:
            return code_LC.new_zeros(code_LC.shape[0], self.model.mem_dim)
        age: Tensor = self.model.obj_ptr_tpos_proj(code_LC)
        return age

    def shrink_mask(self, masks_B1SS: Tensor) -> Tensor:
        small: Tensor = self.model.mask_downsample(masks_B1SS)
        return small


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"Meta's SAM 2 code cannot be imported: {error}",
            expected="the package `sam2`",
            do="install it: the first lines of tubelet/model/tracking/sam2/meta_backend.py say how; "
            "or use the backend `transformers`, which needs nothing more",
        ) from error
