"""One flat description of a model's shapes and rules, read from a published `config.json`.

The published file is the only format: what we save is written the same way, with the same field names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tubelet.errors import ModelError

Paradigm = Literal["object_only", "vision_object"]

PARADIGMS: Mapping[str, Paradigm] = {
    "pixelreferlite_qwen2": "object_only",
    "pixelrefer_qwen2": "vision_object",
}
MODEL_TYPES: Mapping[Paradigm, str] = {paradigm: kind for kind, paradigm in PARADIGMS.items()}

PATCH_PX = 14
SIGLIP_HEAD_WIDTH = 72
"""Width of an attention head in every SigLIP So400m encoder; a checkpoint's shapes cannot tell it."""

MAX_IMAGE_PATCHES = 9477
"""Patches that the images of one request may have together when the config does not say."""

PICTURE_FIELDS: Mapping[str, str] = {
    "scene_px": "scene_image_size",
    "local_px": "local_image_size",
    "crop_padding_px": "crop_padding",
    "max_region_cells": "max_region_cells",
}
"""Our fields and their names in config.json, where a checkpoint says them."""


@dataclass(frozen=True, slots=True)
class PixelReferConfig:
    """Everything that decides shapes or results. Widths are features, counts begin with `num_`."""

    paradigm: Paradigm
    num_object_tokens: int

    vision_width: int
    vision_mlp_width: int
    num_vision_layers: int
    num_vision_heads: int

    width: int
    mlp_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    max_positions: int
    rope_theta: float = 1_000_000.0
    norm_eps: float = 1e-6
    tied_embeddings: bool = False
    stop_ids: tuple[int, ...] = ()

    spatial_merge_size: int = 2
    max_request_patches: int = MAX_IMAGE_PATCHES // 4
    min_image_px: int = 196
    pixel_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    pixel_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    scene_px: int = 336
    local_px: int = 224
    crop_padding_px: int = 28
    max_region_cells: int = 0
    """Sides of the scene and of the local picture, what a crop shows around its object, and the cells above
    which an object is shrunk (0: the paradigm's number). Published checkpoints do not say them: the code that
    they came with does, and those values are the defaults. A small model has its own in its config.json."""

    @property
    def is_lite(self) -> bool:
        """Object-only: the decoder sees no scene tokens; the scene reaches it folded into the object's."""
        return self.paradigm == "object_only"

    @property
    def num_cluster_rounds(self) -> int:
        """Most k-means rounds that the reference runs for this paradigm."""
        return 3 if self.is_lite else 5

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads


def read_config(
    published: Mapping[str, Any],
    *,
    preprocessor: Mapping[str, Any] | None = None,
    stop_ids: tuple[int, ...] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> PixelReferConfig:
    """Read a published `config.json`, with its `preprocessor_config.json` where there is one.

    `shapes` are the checkpoint's tensor shapes by published name: they give the vision encoder's sizes when
    the file leaves them out, and the vocabulary when the embedding was resized. Raises ModelError for an
    unknown kind of checkpoint or a missing field.
    """
    kind = str(published.get("model_type"))
    if kind not in PARADIGMS:
        raise ModelError(
            f"Unknown kind of checkpoint: model_type is {kind!r}",
            expected="one of: " + ", ".join(sorted(PARADIGMS)),
            do="name a PixelRefer or PixelRefer-Lite checkpoint",
        )
    shapes = shapes or {}
    vision = published.get("vision_encoder_config") or _infer_vision(shapes)
    merge_size = int(published.get("spatial_merge_size", 1))
    preprocessor = preprocessor or {}
    embedding = shapes.get("model.embed_tokens.weight")
    eos = published.get("eos_token_id")
    try:
        return PixelReferConfig(
            paradigm=PARADIGMS[kind],
            num_object_tokens=int(published.get("mask_num", 32)),
            vision_width=int(vision["hidden_size"]),
            vision_mlp_width=int(vision["intermediate_size"]),
            num_vision_layers=int(vision["num_hidden_layers"]),
            num_vision_heads=int(vision["num_attention_heads"]),
            width=int(published["hidden_size"]),
            mlp_width=int(published["intermediate_size"]),
            num_layers=int(published["num_hidden_layers"]),
            num_heads=int(published["num_attention_heads"]),
            num_kv_heads=int(published["num_key_value_heads"]),
            vocab_size=embedding[0] if embedding else int(published["vocab_size"]),
            max_positions=int(published.get("max_position_embeddings", 32768)),
            rope_theta=float(published.get("rope_theta", 1_000_000.0)),
            norm_eps=float(published.get("rms_norm_eps", 1e-6)),
            tied_embeddings=bool(published.get("tie_word_embeddings", False)),
            stop_ids=stop_ids if stop_ids is not None else _as_ids(eos),
            spatial_merge_size=merge_size,
            max_request_patches=int(published.get("mm_max_length", MAX_IMAGE_PATCHES // merge_size**2)),
            min_image_px=int(preprocessor.get("min_pixels", PATCH_PX**2)),
            pixel_mean=_as_rgb(preprocessor.get("image_mean", (0.5, 0.5, 0.5))),
            pixel_std=_as_rgb(preprocessor.get("image_std", (0.5, 0.5, 0.5))),
            **{
                field: _read_size(published, name)
                for field, name in PICTURE_FIELDS.items()
                if name in published
            },
        )
    except KeyError as error:
        raise ModelError(
            f"The checkpoint's config has no field {error.args[0]!r}",
            expected="a config.json as the published checkpoints have it",
            do="take the whole folder of the checkpoint, config.json included",
        ) from error


def write_config(config: PixelReferConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """`config.json` and `preprocessor_config.json` as published; `read_config` reads them back."""
    published: dict[str, Any] = {
        "model_type": MODEL_TYPES[config.paradigm],
        "mask_num": config.num_object_tokens,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_positions,
        "rope_theta": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied_embeddings,
        "eos_token_id": list(config.stop_ids),
        "spatial_merge_size": config.spatial_merge_size,
        "mm_max_length": config.max_request_patches,
        "mm_hidden_size": config.vision_width,
        **{name: getattr(config, field) for field, name in PICTURE_FIELDS.items()},
        "vision_encoder_config": {
            "hidden_size": config.vision_width,
            "intermediate_size": config.vision_mlp_width,
            "num_hidden_layers": config.num_vision_layers,
            "num_attention_heads": config.num_vision_heads,
            "patch_size": PATCH_PX,
        },
    }
    preprocessor = {
        "min_pixels": config.min_image_px,
        "image_mean": list(config.pixel_mean),
        "image_std": list(config.pixel_std),
    }
    return published, preprocessor


def _infer_vision(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The vision encoder's sizes from its tensors; the number of heads follows from SigLIP's head width."""
    stem = "model.vision_encoder.vision_encoder."
    try:
        vision_width = shapes[stem + "embeddings.patch_embedding.weight"][0]
        mlp_width = shapes[stem + "encoder.layers.0.mlp.fc1.weight"][0]
    except KeyError as error:
        raise ModelError(
            "The vision encoder's sizes are unknown: config.json has no vision_encoder_config, "
            f"and the weights have no {error.args[0]}",
            expected="either of the two",
            do="take the whole folder of the checkpoint",
        ) from error
    if vision_width % SIGLIP_HEAD_WIDTH:
        raise ModelError(
            f"The vision encoder is {vision_width} wide, and its number of heads cannot be told from shapes",
            expected=f"a multiple of {SIGLIP_HEAD_WIDTH}, the head width of SigLIP So400m",
            do="add vision_encoder_config.num_attention_heads to config.json",
        )
    layers = {
        int(name.removeprefix(stem + "encoder.layers.").split(".")[0])
        for name in shapes
        if name.startswith(stem + "encoder.layers.")
    }
    return {
        "hidden_size": vision_width,
        "intermediate_size": mlp_width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": vision_width // SIGLIP_HEAD_WIDTH,
    }


def _read_size(published: Mapping[str, Any], name: str) -> int:
    least = PATCH_PX if name.endswith("image_size") else 0
    value = published[name]
    if not isinstance(value, int) or value < least or (least and value % PATCH_PX):
        raise ModelError(
            f"The checkpoint's config says {name}: {value!r}",
            expected=f"a multiple of {PATCH_PX}, above 0" if least else "a whole number, 0 or more",
            do="correct config.json",
        )
    return value


def _as_ids(value: int | list[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _as_rgb(value: Any) -> tuple[float, float, float]:
    red, green, blue = (float(channel) for channel in value)
    return red, green, blue


_LITE_2B = PixelReferConfig(
    paradigm="object_only",
    num_object_tokens=32,
    vision_width=1152,
    vision_mlp_width=4304,
    num_vision_layers=27,
    num_vision_heads=16,
    width=1536,
    mlp_width=8960,
    num_layers=28,
    num_heads=12,
    num_kv_heads=2,
    vocab_size=151_936,
    max_positions=32_768,
    tied_embeddings=True,
)
_LITE_7B = dataclasses.replace(
    _LITE_2B,
    width=3584,
    mlp_width=18_944,
    num_heads=28,
    num_kv_heads=4,
    vocab_size=152_064,
    tied_embeddings=False,
)

PUBLISHED_SHAPES: Mapping[str, PixelReferConfig] = {
    "PixelRefer-Lite-2B": _LITE_2B,
    "PixelRefer-Lite-7B": _LITE_7B,
    "PixelRefer-2B": dataclasses.replace(_LITE_2B, paradigm="vision_object"),
    "PixelRefer-7B": dataclasses.replace(_LITE_7B, paradigm="vision_object"),
}
"""Shapes of the published models, from VL3-SigLIP-NaViT and the Qwen2.5-Instruct configs they start from."""
