"""PixelRefer and PixelRefer-Lite: the whole network, top to bottom.

    pictures ── vision encoder ──► features ── SAOT ──► object tokens ── OCI (Lite) ── projection ──┐
                                      └────────── scene projection (PixelRefer) ───────────────────►│
    words ───── embedding ─────────────────────────────────────────────────────────────────────────►│
                                                                        decoder (Qwen2.5) ◄─────────┘

Letters after an underscore are a tensor's dimensions:

    R  region-frames: one object in one frame, of all objects and requests of a call
    K  object tokens of a region-frame (`num_object_tokens`: 32, in PixelRefer at most)
    M  cells of the largest region of the call, at least K
    N  cells of all regions of the call, one after another
    P  patches of all pictures of the call, packed in one sequence
    I  pictures of the call
    L  patches of a local picture (256 at 224 px)          G  patches of a scene (576 at 336 px)
    C  vision width (1152)                                 D  decoder width (1536 or 3584)
    B  prompts decoded together                            T  positions of a prompt

A *cell* is a place on an object's patch grid. Tensors arrive on the device and in the dtype that the caller
chose; nothing in here decides either.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Qwen2Config, Qwen2Model, VideoLlama3VisionConfig, VideoLlama3VisionModel
from transformers.models.video_llama_3.modeling_video_llama_3 import (
    VideoLlama3VisionAttention,
    apply_rotary_pos_emb_vision,
)
from transformers.vision_utils import get_vision_cu_seqlens, get_vision_position_ids

from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig

NUM_FUSION_HEADS = 8
CACHE_ARGUMENT = "cache" if "cache" in inspect.signature(Qwen2Model.forward).parameters else "past_key_values"
"""What the decoder calls its cache: `transformers` 5.24 renamed it."""

SETTLED_ABSOLUTE, SETTLED_RELATIVE = 1e-6, 1e-5
"""k-means stops when no centre moves further than this, as `torch.allclose` counts it."""


@dataclass(frozen=True, slots=True)
class RegionCells:
    """Where the cells of R regions come from, and where their clustering starts.

    `patch_N4` and `weight_N4`: a cell is the weighted sum of four rows of the packed crop features (a single
    row of weight 1, unless the crop was shrunk and its features must be spread over a finer grid).
    `position_P2`: place of every crop patch in its frame. `cell_RM`: the cells of each region, row-major;
    -1 past the last. `start_RK`: cells (0..M-1 of their region) that k-means starts from; read only where
    a region has more than K cells.
    """

    patch_N4: Tensor
    weight_N4: Tensor
    position_P2: Tensor
    cell_RM: Tensor
    start_RK: Tensor


@dataclass(frozen=True, slots=True)
class PictureBucket:
    """Pictures of about one size, whose patches attend to each other in one call.

    `row_IL`: rows of the packed sequence, one picture a line. Shorter pictures repeat their last row, which
    `inside_IL` marks as padding; it is None where there is none.
    """

    row_IL: Tensor
    inside_IL: Tensor | None


class PackedVisionAttention(VideoLlama3VisionAttention):
    """The encoder's attention with one call for each bucket of pictures instead of one for each picture."""

    def forward(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        buckets: Sequence[PictureBucket],
        **_: Any,
    ) -> tuple[Tensor, None]:
        """Called by the encoder's layers with packed patches (P, C); H heads of W features each."""
        shape_PHW = (len(hidden_states), self.num_heads, self.head_dim)
        query_PHW = self.q_proj(hidden_states).view(shape_PHW)
        key_PHW = self.k_proj(hidden_states).view(shape_PHW)
        value_PHW = self.v_proj(hidden_states).view(shape_PHW)
        query_PHW, key_PHW = apply_rotary_pos_emb_vision(query_PHW, key_PHW, *position_embeddings)
        seen_PHW = torch.empty_like(query_PHW)
        for bucket in buckets:
            row_IL, inside_IL = bucket.row_IL, bucket.inside_IL
            query_IHLW, key_IHLW, value_IHLW = (
                part_PHW[row_IL].transpose(1, 2) for part_PHW in (query_PHW, key_PHW, value_PHW)
            )
            mask_I11L = None if inside_IL is None else inside_IL[:, None, None]
            seen_IHLW = F.scaled_dot_product_attention(query_IHLW, key_IHLW, value_IHLW, mask_I11L)
            # A padded place is written with what its real row sees, so that order does not matter.
            seen_PHW[row_IL] = seen_IHLW.transpose(1, 2)
        return self.out_proj(seen_PHW.flatten(1)), None


def bucket_pictures(lengths: Sequence[int], device: torch.device) -> list[PictureBucket]:
    """Group pictures by their number of patches, so that no bucket pads a picture by more than an eighth."""
    first_rows = list(accumulate(lengths, initial=0))
    by_length = sorted(range(len(lengths)), key=lambda picture: -lengths[picture])
    buckets = []
    while by_length:
        longest = lengths[by_length[0]]
        members = [picture for picture in by_length if 8 * lengths[picture] >= 7 * longest]
        by_length = by_length[len(members) :]
        length_I1 = torch.tensor([[lengths[picture]] for picture in members])
        place_L = torch.arange(longest)
        row_IL = torch.tensor([[first_rows[picture]] for picture in members]) + place_L.minimum(length_I1 - 1)
        inside_IL = place_L < length_I1
        is_padded = not bool(inside_IL.all())
        buckets.append(PictureBucket(row_IL.to(device), inside_IL.to(device) if is_padded else None))
    return buckets


class RegionEncoder(nn.Module):
    """Turns the features of regions into object tokens: SAOT, then OCI in Lite, then the projection.

    SAOT is the paper's Scale-Adaptive Object Tokenizer, OCI its Object-Centric Infusion. Attributes are named
    as in the published checkpoints.
    """

    def __init__(self, config: PixelReferConfig) -> None:
        super().__init__()
        self.num_tokens = config.num_object_tokens
        self.num_rounds = config.num_cluster_rounds
        width = config.vision_width
        self.pos_linear = nn.Linear(2, width)
        if config.is_lite:
            self.ln_local = nn.LayerNorm(width)
            self.ln_global = nn.LayerNorm(width)
            self.fusion_attention_local = nn.MultiheadAttention(width, NUM_FUSION_HEADS, batch_first=True)
            self.fusion_attention_global = nn.MultiheadAttention(width, NUM_FUSION_HEADS, batch_first=True)
        self.feat_linear = nn.Sequential(
            nn.Linear(width, config.width), nn.GELU(), nn.Linear(config.width, config.width)
        )

    def tokenize(self, features_PC: Tensor, regions: RegionCells) -> Tensor:
        """SAOT: (R, K, C). A region with fewer than K cells gets zero rows at the end."""
        placed_PC = features_PC + self.pos_linear(regions.position_P2.to(features_PC.dtype))
        weight_N41 = regions.weight_N4.to(features_PC.dtype)[..., None]
        cells_NC = (placed_PC[regions.patch_N4] * weight_N41).sum(dim=1)
        empty_1C = cells_NC.new_zeros(1, cells_NC.shape[1])  # what index -1 finds
        cells_RMC = torch.cat([cells_NC, empty_1C])[regions.cell_RM]
        inside_RM = regions.cell_RM >= 0
        clustered_RKC = cluster_cells(cells_RMC, inside_RM, regions.start_RK, self.num_rounds)
        crowded_R11 = (inside_RM.sum(dim=1) > self.num_tokens)[:, None, None]
        return torch.where(crowded_R11, clustered_RKC, cells_RMC[:, : self.num_tokens])

    def infuse(self, tokens_RKC: Tensor, local_RLC: Tensor, scene_RGC: Tensor) -> Tensor:
        """OCI: the tokens look at the object's surroundings, then at the whole scene: (R, K, C)."""
        for norm, attention, context in (
            (self.ln_local, self.fusion_attention_local, local_RLC),
            (self.ln_global, self.fusion_attention_global, scene_RGC),
        ):
            seen_RKC, _ = attention(norm(tokens_RKC), context, context, need_weights=False)
            tokens_RKC = tokens_RKC + seen_RKC
        return tokens_RKC

    def project(self, tokens: Tensor) -> Tensor:
        """(..., C) to (..., D)."""
        projected: Tensor = self.feat_linear(tokens)
        return projected


def cluster_cells(cells_RMC: Tensor, inside_RM: Tensor, start_RK: Tensor, num_rounds: int) -> Tensor:
    """k-means in every region at once, for a fixed number of rounds: the centres, (R, K, C).

    Squared Euclidean distance; an empty cluster keeps its centre; a region whose centres have settled keeps
    the ones it had before the round that showed it, as the reference does. Distances come from differences,
    one centre at a time: the expanded square would lose them to rounding, the whole product to memory.
    """
    num_clusters = start_RK.shape[1]
    number_1K1 = torch.arange(num_clusters, device=cells_RMC.device)[None, :, None]
    centre_RKC = cells_RMC.gather(1, start_RK[..., None].expand(-1, -1, cells_RMC.shape[2]))
    settled_R = torch.zeros_like(start_RK[:, 0], dtype=torch.bool)
    for _ in range(num_rounds):
        distance_RMK = torch.stack(
            [
                (cells_RMC - centre_R1C).square().sum(dim=-1)
                for centre_R1C in torch.split(centre_RKC, 1, dim=1)
            ],
            dim=-1,
        )
        nearest_RM = distance_RMK.argmin(dim=-1)
        member_RKM = (nearest_RM[:, None] == number_1K1) & inside_RM[:, None]
        size_RK1 = member_RKM.sum(dim=-1, keepdim=True)
        # Sizes are divided by as float32: bfloat16 counts no further than 256.
        mean_RKC = (member_RKM.to(cells_RMC.dtype) @ cells_RMC) / size_RK1.clamp(min=1).float()
        moved_RKC = torch.where(size_RK1 > 0, mean_RKC.to(cells_RMC.dtype), centre_RKC)
        step_RKC = (moved_RKC - centre_RKC).abs() - SETTLED_RELATIVE * moved_RKC.abs()
        settled_R = settled_R | (step_RKC <= SETTLED_ABSOLUTE).flatten(1).all(dim=1)
        centre_RKC = torch.where(settled_R[:, None, None], centre_RKC, moved_RKC)
    return centre_RKC


class PixelRefer(nn.Module):
    """Vision encoder, region encoder and decoder; in PixelRefer also the scene's projection.

    Parts are called one by one, because each wants a batch of its own: pictures are packed, regions grouped
    and prompts decoded by different callers (`encoding.py`, `generate.py`).
    """

    def __init__(self, config: PixelReferConfig, *, attention: str = "sdpa") -> None:
        """`attention` is a name that `transformers` knows: sdpa, eager, flash_attention_2.

        With sdpa the vision encoder attends in buckets; `transformers` would call once for each picture.
        """
        super().__init__()
        self.config = config
        self.vision = VideoLlama3VisionModel(_vision_config(config, attention))
        self._packs_attention = attention == "sdpa"
        if self._packs_attention:
            for layer in self.vision.encoder.layers:
                layer.self_attn = PackedVisionAttention(self.vision.config)  # type: ignore[no-untyped-call]
        self.region_encoder = RegionEncoder(config)
        if not config.is_lite:
            self.scene_projector = nn.Sequential(
                nn.Linear(config.vision_width, config.width), nn.GELU(), nn.Linear(config.width, config.width)
            )
        self.decoder = Qwen2Model(_decoder_config(config, attention))
        if not config.tied_embeddings:
            self.lm_head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.eval()

    @property
    def device(self) -> torch.device:
        return self.decoder.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.decoder.embed_tokens.weight.dtype

    def encode_pictures(self, patches_PX: Tensor, grid_I3: Tensor, merge_I: Tensor) -> Tensor:
        """Features after the last norm, (P, C), or fewer rows where `merge_I` is above 1.

        `patches_PX` are normalised patches (X = 3 * 14 * 14, channel-major), row-major, or row-major blocks
        of merge x merge. `grid_I3` (1, height, width in patches) and `merge_I` stay on the CPU: they steer
        Python loops, and reading them from a GPU would stop it in every layer.
        """
        position_P2 = get_vision_position_ids(grid_I3, merge_I).to(patches_PX.device)
        if self._packs_attention:
            lengths = grid_I3.prod(dim=1).tolist()
            attention: dict[str, Any] = {"buckets": bucket_pictures(lengths, patches_PX.device)}
        else:
            attention = {"cu_seqlens": get_vision_cu_seqlens(grid_I3).to(patches_PX.device)}
        features: Tensor = self.vision(
            patches_PX,
            grid_thw=grid_I3,
            merge_sizes=merge_I,
            position_ids=position_P2,
            **attention,
        ).last_hidden_state
        return features

    def project_scene(self, features_PC: Tensor) -> Tensor:
        """Scene tokens of PixelRefer: (P, D)."""
        projected: Tensor = self.scene_projector(features_PC)
        return projected

    def embed_words(self, token_ids: Tensor) -> Tensor:
        """(...) to (..., D)."""
        embedded: Tensor = self.decoder.embed_tokens(token_ids)
        return embedded

    def decode(
        self,
        embedded_BTD: Tensor,
        position_BT: Tensor,
        *,
        cache: Any = None,
        seen_BTS: Tensor | None = None,
    ) -> Tensor:
        """Hidden states after the last norm, (B, T, D).

        `cache` stores keys and values and returns those to attend to (see `cache.py`); `seen_BTS` says which
        of these S each position sees. Without it attention is plainly causal over the T new positions.
        """
        hidden_BTD: Tensor = self.decoder(
            inputs_embeds=embedded_BTD,
            position_ids=position_BT,
            attention_mask={"full_attention": None if seen_BTS is None else seen_BTS[:, None]},
            use_cache=cache is not None,
            **({} if cache is None else {CACHE_ARGUMENT: cache}),
        ).last_hidden_state
        return hidden_BTD

    def score_words(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary: (..., D) to (..., vocabulary)."""
        tied = self.config.tied_embeddings
        return F.linear(hidden, self.decoder.embed_tokens.weight if tied else self.lm_head.weight)


def make_empty(config: PixelReferConfig, device: torch.device, *, attention: str = "sdpa") -> PixelRefer:
    """A network whose weights take no memory yet, for `load_state_dict(..., assign=True)`.

    The tables of rotary positions are no weights: they are computed on `device`, in float32.
    """
    with torch.device("meta"):
        network = PixelRefer(config, attention=attention)
    with torch.device(device):
        network.vision.rotary_pos_emb = type(network.vision.rotary_pos_emb)(network.vision.config)
        network.decoder.rotary_emb = type(network.decoder.rotary_emb)(network.decoder.config)
    return network


def _vision_config(config: PixelReferConfig, attention: str) -> VideoLlama3VisionConfig:
    vision = VideoLlama3VisionConfig(
        hidden_size=config.vision_width,
        intermediate_size=config.vision_mlp_width,
        num_hidden_layers=config.num_vision_layers,
        num_attention_heads=config.num_vision_heads,
        patch_size=PATCH_PX,
    )
    vision._attn_implementation = attention
    return vision


def _decoder_config(config: PixelReferConfig, attention: str) -> Qwen2Config:
    decoder = Qwen2Config(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.mlp_width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )
    decoder._attn_implementation = attention
    return decoder
