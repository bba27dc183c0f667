"""Small SAM 2 models with random weights, clips to run them on, and the library's own loop to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from tubelet.model.frame import Frame, Image
from tubelet.model.tracking.sam2.config import make_small_config
from tubelet.model.tracking.sam2.maps import IMAGE_MEAN, IMAGE_STD
from tubelet.model.tracking.sam2.prompts import MaskPrompt, Prompt, list_points

IMAGE_PX = 64


def make_model(seed: int = 7, *, image_px: int = IMAGE_PX, hidden: int = 128) -> Sam2VideoModel:
    """A SAM 2 of 2.7M parameters. Random, with no parameter left at zero, so that each has its effect."""
    config = make_small_config(
        image_px=image_px, hidden=hidden, embed=16, num_memory_layers=2, feed_forward=64
    )
    model = Sam2VideoModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            size = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            spread = 1.3 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.2
            parameter.copy_(size + spread * torch.randn(parameter.shape, generator=generator))
        # Stretched around what this head answers, so that objects go out of sight and come back.
        presence = model.mask_decoder.pred_obj_score_head.proj_out
        presence.weight *= 20
        presence.bias.copy_(20 * presence.bias + 12)
        for buffer in model.buffers():
            if buffer.ndim == 2 and buffer.shape[0] == 2:
                buffer.copy_(torch.randn(buffer.shape, generator=generator))
    # Both copies of the position code must agree, as they do in the published weights.
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(
        model.shared_image_embedding.positional_embedding
    )
    return model


def make_clip(num_frames: int, *, height: int = 48, width: int = 80, seed: int = 0) -> list[Image]:
    """Coloured squares that move over noise and leave the picture."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(60, 120, (height, width, 3), dtype=np.uint8)
    clip = []
    for time in range(num_frames):
        image = ground.copy()
        image[8:20, 4 + 3 * time : 18 + 3 * time] = (220, 40, 40)
        image[26:40, max(0, 60 - 4 * time) : max(0, 74 - 4 * time)] = (40, 60, 230)
        clip.append(image)
    return clip


def as_frames(clip: Sequence[Image], *, rate: float = 10.0) -> list[Frame]:
    """The pictures with times, as a tracker takes them."""
    return [Frame(place / rate, image, image.shape[1], image.shape[0]) for place, image in enumerate(clip)]


def run_library(
    model: Sam2VideoModel, clip: Sequence[Image], prompts: Mapping[int, Prompt]
) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
    """`Sam2VideoModel` itself on one object, unbounded: mask logits and presence logit by frame.

    `prompts` says on which frames the object is prompted; it is followed from the first of them.
    """
    height, width = clip[0].shape[:2]
    side = model.config.image_size
    session = Sam2VideoInferenceSession(video=None, video_height=height, video_width=width, dtype=model.dtype)
    place = session.obj_id_to_idx(1)
    answers = {}
    for frame in range(min(prompts), len(clip)):
        if frame in prompts:
            _prompt_library(session, place, frame, prompts[frame], side, (height, width))
        seen = model(inference_session=session, frame=_prepare(clip[frame], model), frame_idx=frame)
        answers[frame] = (
            seen.pred_masks.reshape(side // 4, side // 4),
            seen.object_score_logits.flatten()[0],
        )
    return answers


def _prompt_library(
    session: Sam2VideoInferenceSession,
    place: int,
    frame: int,
    prompt: Prompt,
    side: int,
    size: tuple[int, int],
) -> None:
    if isinstance(prompt, MaskPrompt):
        mask = torch.from_numpy(prompt.mask)[None, None].float()
        mask = torch.nn.functional.interpolate(
            mask, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
        session.add_mask_inputs(place, frame, (mask >= 0.5).float())
    else:
        points = list_points(prompt, *size)
        ratio = torch.tensor([side / size[1], side / size[0]])
        coordinates = torch.tensor([[[(point.x, point.y) for point in points]]]) * ratio
        labels = torch.tensor([[[point.label for point in points]]], dtype=torch.int32)
        session.add_point_inputs(place, frame, {"point_coords": coordinates, "point_labels": labels})
    session.obj_with_new_inputs.append(1)


def _prepare(image: Image, model: Sam2VideoModel) -> torch.Tensor:
    side = model.config.image_size
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None] / 255
    pixels = torch.nn.functional.interpolate(
        pixels, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return ((pixels - mean) / std).to(model.dtype)
