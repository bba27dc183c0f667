"""What a request costs, counted by torch on the true shapes: no weights, no arithmetic, no device.

The network runs on the meta device under torch's FLOP counter, which counts a multiply-add as two and looks
at matrix products, convolutions and attention; norms, activations and rotations are left out (under 1 %).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tubelet.model.pixelrefer.cache import RowCache
from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig
from tubelet.model.pixelrefer.encoding import PreparedView, collect_cells
from tubelet.model.pixelrefer.network import PixelRefer, make_empty
from tubelet.model.pixelrefer.regions import fit_size

CROP_GRID = (9, 10)
"""Patches of a typical crop: 32..50 cells of an object and two patches of padding around them."""

CELLS = 40
NUM_WORDS = 40
"""Prompt tokens that are neither an object's nor a scene's, for one frame; each frame's time adds some."""

WORDS_A_FRAME = 7


@dataclass(frozen=True, slots=True)
class RequestCost:
    """FLOPs of one request by stage. `scene` is what objects in the same frames share (Lite: encoding the
    scene images; PixelRefer: encoding and projecting whole frames)."""

    num_frames: int
    num_prompt_tokens: int
    num_new_tokens: int
    crops: int
    scene: int
    tokenizer: int
    infusion: int
    prefill: int
    decode: int

    def total(self, objects_a_frame: int = 1) -> float:
        """FLOPs of a request when `objects_a_frame` share each scene."""
        own = self.crops + self.tokenizer + self.infusion + self.prefill + self.decode
        return own + self.scene / objects_a_frame


def measure_cost(
    config: PixelReferConfig,
    *,
    num_frames: int = 8,
    num_new_tokens: int = 60,
    frame_size: tuple[int, int] = (1280, 720),
) -> RequestCost:
    """Count one request about one typical object; `frame_size` (width, height) matters to PixelRefer only.

    Every layer of a stack costs the same, so networks of one and of two layers tell what all cost.
    """
    shallow, deeper = (
        _count_request(
            dataclasses.replace(config, num_layers=depth, num_vision_layers=depth),
            num_frames,
            num_new_tokens,
            frame_size,
        )
        for depth in (1, 2)
    )

    def extend(stage: str, num_layers: int) -> int:
        first, second = getattr(shallow, stage), getattr(deeper, stage)
        return int(first + (num_layers - 1) * (second - first))

    return dataclasses.replace(
        shallow,
        crops=extend("crops", config.num_vision_layers),
        scene=extend("scene", config.num_vision_layers),
        prefill=extend("prefill", config.num_layers),
        decode=extend("decode", config.num_layers),
    )


def _count_request(
    config: PixelReferConfig, num_frames: int, num_new_tokens: int, frame_size: tuple[int, int]
) -> RequestCost:
    meta = torch.device("meta")
    network = make_empty(config, meta)
    crop = _fit(config, (CROP_GRID[0] * PATCH_PX, CROP_GRID[1] * PATCH_PX), num_frames)
    local = _fit(config, (config.local_px, config.local_px), num_frames)
    scene = _fit(config, (config.scene_px, config.scene_px), num_frames)
    merge_size = 1
    if not config.is_lite:
        merge_size = config.spatial_merge_size if num_frames > 1 else 1
        scene = _fit(config, frame_size[::-1], num_frames, merge_size)
    own_grids = [crop] * num_frames + ([local] * num_frames if config.is_lite else [])
    num_object_tokens = config.num_object_tokens
    num_scene_tokens = 0 if config.is_lite else scene[0] * scene[1] // merge_size**2
    num_prompt = NUM_WORDS + num_frames * (num_object_tokens + num_scene_tokens + WORDS_A_FRAME)

    cells = collect_cells([_typical_view(crop)] * num_frames, num_object_tokens, meta)
    width = config.vision_width
    tokens_RKC = torch.empty(num_frames, num_object_tokens, width, device=meta)

    def tokenize() -> None:
        network.region_encoder.tokenize(
            torch.empty(num_frames * crop[0] * crop[1], width, device=meta), cells
        )
        network.region_encoder.project(tokens_RKC)

    def infuse() -> None:
        if config.is_lite:
            network.region_encoder.infuse(
                tokens_RKC,
                torch.empty(num_frames, local[0] * local[1], width, device=meta),
                torch.empty(num_frames, scene[0] * scene[1], width, device=meta),
            )

    def encode_scenes() -> None:
        _encode(network, [scene] * num_frames, merge_size)
        if not config.is_lite:
            network.project_scene(torch.empty(num_frames * num_scene_tokens, width, device=meta))

    return RequestCost(
        num_frames=num_frames,
        num_prompt_tokens=num_prompt,
        num_new_tokens=num_new_tokens,
        crops=count_flops(lambda: _encode(network, own_grids, 1)),
        scene=count_flops(encode_scenes),
        tokenizer=count_flops(tokenize),
        infusion=count_flops(infuse),
        prefill=count_flops(lambda: _prefill(network, num_prompt)),
        # Steps differ only in attention, which is linear in the length: the middle one stands for all.
        decode=count_flops(lambda: _decode_one(network, num_prompt + num_new_tokens // 2))
        * (num_new_tokens - 1),
    )


@torch.inference_mode()
def count_flops(run: Callable[[], object]) -> int:
    """FLOPs of what `run` does."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def _encode(network: PixelRefer, grids: list[tuple[int, int]], merge_size: int) -> None:
    num_patches = sum(rows * columns for rows, columns in grids)
    network.encode_pictures(
        torch.empty(num_patches, 3 * PATCH_PX**2, device="meta"),
        torch.tensor([(1, rows, columns) for rows, columns in grids]),
        torch.full((len(grids),), merge_size),
    )


def _prefill(network: PixelRefer, num_prompt: int) -> None:
    embedded_BTD = torch.empty(1, num_prompt, network.config.width, device="meta")
    hidden_BTD = network.decode(embedded_BTD, torch.arange(num_prompt, device="meta")[None])
    network.score_words(hidden_BTD[:, -1])


def _decode_one(network: PixelRefer, position: int) -> None:
    cache = RowCache(network, 1, position + 1)
    position_B1 = torch.full((1, 1), position, device="meta")
    cache.open(slice(0, 1), position_B1, position + 1)
    embedded_B1D = torch.empty(1, 1, network.config.width, device="meta")
    hidden_B1D = network.decode(embedded_B1D, position_B1, cache=cache)
    network.score_words(hidden_B1D[:, 0])


def _typical_view(grid: tuple[int, int]) -> PreparedView:
    picture = np.zeros((PATCH_PX, PATCH_PX, 3), np.uint8)
    return PreparedView(
        crop=picture,
        local=picture,
        scene=picture,
        scene_key=b"",
        places=np.zeros((grid[0] * grid[1], 2), np.float32),
        patches=np.zeros((CELLS, 4), np.int64),
        weights=np.zeros((CELLS, 4), np.float32),
        starts=np.empty(0, np.int64),
    )


def _fit(
    config: PixelReferConfig, size: tuple[int, int], num_frames: int, merge_size: int = 1
) -> tuple[int, int]:
    """Rows and columns of patches of a picture (height, width) in a request of so many frames."""
    height, width = fit_size(
        *size,
        factor=PATCH_PX * merge_size,
        min_px=config.min_image_px,
        max_px=config.max_request_patches * merge_size**2 * PATCH_PX**2 // num_frames,
    )
    return height // PATCH_PX, width // PATCH_PX
