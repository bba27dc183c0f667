"""Shapes of SAM 2 networks: the four that were published, and small ones of our own."""

from __future__ import annotations

from transformers import Sam2VideoConfig

from tubelet.errors import SettingsError

MEMORY_CHANNELS = 64
"""Channels of a memory; the memory attention of `transformers` takes no other number."""

PUBLISHED = {
    "tiny": {"embed": 96, "blocks": (1, 2, 7, 2), "heads": 1, "global_blocks": (5, 7, 9)},
    "small": {"embed": 96, "blocks": (1, 2, 11, 2), "heads": 1, "global_blocks": (7, 10, 13)},
    "base-plus": {"embed": 112, "blocks": (2, 3, 16, 3), "heads": 2, "global_blocks": (12, 16, 20)},
    "large": {"embed": 144, "blocks": (2, 6, 36, 4), "heads": 2, "global_blocks": (23, 33, 43)},
}
"""What tells the four `facebook/sam2.1-hiera-*` checkpoints apart."""

_WINDOWS = {"large": (8, 4, 16, 8)}
_BACKGROUND_WINDOWS = {"base-plus": (14, 14), "large": (7, 7)}


def make_published_config(size: str, *, image_px: int = 1024) -> Sam2VideoConfig:
    """The configuration of `facebook/sam2.1-hiera-SIZE`, for random weights of the published shape."""
    if size not in PUBLISHED:
        raise SettingsError(f"There is no SAM 2 of size {size!r}", expected=f"one of {', '.join(PUBLISHED)}")
    return _make_config(
        image_px=image_px,
        hidden=256,
        num_memory_layers=4,
        feed_forward=2048,
        windows=_WINDOWS.get(size, (8, 4, 14, 7)),
        background_window=_BACKGROUND_WINDOWS.get(size, (7, 7)),
        **PUBLISHED[size],  # type: ignore[arg-type]
    )


def make_small_config(
    *,
    image_px: int = 256,
    hidden: int = 128,
    embed: int = 48,
    blocks: tuple[int, int, int, int] = (1, 1, 2, 1),
    num_memory_layers: int = 2,
    feed_forward: int = 512,
    decoder_feed_forward: int = 2048,
    num_memories: int = 7,
    num_pointers: int = 16,
    several_masks_when_following: bool = True,
    num_fuser_layers: int = 2,
) -> Sam2VideoConfig:
    """A SAM 2 small enough for a processor: 5.7M parameters at the defaults.

    `image_px` is the side of the square picture the network sees, a multiple of 32; `hidden` the channels
    of image features, 128 or 256; `embed` the channels of the first of the four stages, doubled at each;
    `num_memories` and `num_pointers` how many frames, the prompted one among them, are remembered whole and
    as a pointer. Without `several_masks_when_following` one mask is decoded for an object that is followed
    or boxed, always by the token that was trained for it.
    """
    if image_px < 64 or image_px % 32:
        raise SettingsError(f"image_px is {image_px}", expected="a multiple of 32, 64 or more")
    if hidden not in (128, 256):
        raise SettingsError(f"hidden is {hidden}", expected="128 or 256")
    last_of_third_stage = sum(blocks[:3]) - 1
    return _make_config(
        image_px=image_px,
        hidden=hidden,
        embed=embed,
        blocks=blocks,
        heads=1,
        global_blocks=(last_of_third_stage,) if blocks[2] > 1 else (),
        num_memory_layers=num_memory_layers,
        feed_forward=feed_forward,
        windows=(8, 4, 8, 4),
        background_window=(7, 7),
        decoder_feed_forward=decoder_feed_forward,
        num_memories=num_memories,
        num_pointers=num_pointers,
        several_masks_when_following=several_masks_when_following,
        num_fuser_layers=num_fuser_layers,
    )


def make_bundled_config(*, image_px: int = 256) -> Sam2VideoConfig:
    """The shape of the SAM 2 that ships, `sam2-small`: 3.9M parameters, and little that is remembered.

    One core follows four objects at six frames a second with it. The weights do not depend on `image_px`, so
    that it can be trained on smaller pictures than it is run on.
    """
    return make_small_config(
        image_px=image_px,
        embed=40,
        blocks=(1, 1, 3, 1),
        feed_forward=256,
        decoder_feed_forward=512,
        num_memories=3,
        num_pointers=8,
        several_masks_when_following=False,
        num_fuser_layers=1,
    )


def _make_config(
    *,
    image_px: int,
    hidden: int,
    embed: int,
    blocks: tuple[int, ...],
    heads: int,
    global_blocks: tuple[int, ...],
    num_memory_layers: int,
    feed_forward: int,
    windows: tuple[int, ...],
    background_window: tuple[int, int],
    decoder_feed_forward: int = 2048,
    num_memories: int = 7,
    num_pointers: int = 16,
    several_masks_when_following: bool = True,
    num_fuser_layers: int = 2,
) -> Sam2VideoConfig:
    """Spell out every place in which `transformers` wants these numbers."""
    channels = [embed * 2**stage for stage in range(4)]
    sides = [image_px // stride for stride in (4, 8, 16)]
    return Sam2VideoConfig(
        image_size=image_px,
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": embed,
                "num_attention_heads": heads,
                "image_size": [image_px, image_px],
                "blocks_per_stage": list(blocks),
                "embed_dim_per_stage": channels,
                "num_attention_heads_per_stage": [heads * 2**stage for stage in range(4)],
                "window_size_per_stage": list(windows),
                "global_attention_blocks": list(global_blocks),
                "window_positional_embedding_background_size": list(background_window),
            },
            "backbone_channel_list": channels[::-1],
            "backbone_feature_sizes": [[side, side] for side in sides],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden, "image_size": image_px},
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": decoder_feed_forward,
            "dynamic_multimask_via_stability": several_masks_when_following,
        },
        num_maskmem=num_memories,
        max_object_pointers_in_encoder=num_pointers,
        multimask_output_for_tracking=several_masks_when_following,
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=num_memory_layers,
        memory_attention_feed_forward_hidden_size=feed_forward,
        memory_attention_rope_feat_sizes=[sides[2], sides[2]],
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=MEMORY_CHANNELS,
        mask_downsampler_embed_dim=hidden,
        memory_fuser_embed_dim=hidden,
        memory_fuser_intermediate_dim=4 * hidden,
        memory_fuser_num_layers=num_fuser_layers,
    )
