"""Parity with recorded runs of the reference: the same inputs, every stage compared.

A folder of recordings holds `config.json`, `model.safetensors`, `cases.json` and one `.safetensors` file a
case. `run_golden_case` replays one; the tests replay all of `tests/data/golden`, of `../shared/golden` and
of every folder named in the environment variable PIXELREFER_GOLDEN (separated by colons).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from tubelet.errors import InputError
from tubelet.model.pixelrefer.config import PATCH_PX, PixelReferConfig
from tubelet.model.pixelrefer.encoding import (
    PreparedView,
    ScenePool,
    encode_pictures,
    encode_views,
    normalise_patches,
    prepare_views,
)
from tubelet.model.pixelrefer.generate import Decoder
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import PLACEHOLDER, Prompt, RegionRows, embed_prompts, write_region
from tubelet.model.pixelrefer.regions import RegionView, cut_region, cut_scene, split_patches
from tubelet.model.pixelrefer.weights import load_network

TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """How one replay compares: what must be equal, and the largest difference of what must be close."""

    case: str
    equal: Mapping[str, bool]
    differences: Mapping[str, float]

    @property
    def passes(self) -> bool:
        return all(self.equal.values()) and all(part <= TOLERANCE for part in self.differences.values())

    def __str__(self) -> str:
        wrong = [name for name, same in self.equal.items() if not same]
        far = ", ".join(f"{name} {distance:.1e}" for name, distance in self.differences.items())
        return f"{self.case}: {'not equal: ' + ', '.join(wrong) if wrong else 'all equal'}; {far}"


def list_golden_cases(folder: Path) -> list[str]:
    """Names of the cases recorded in a folder."""
    return [case["name"] for case in json.loads((folder / "cases.json").read_text(encoding="utf-8"))]


def run_golden_case(folder: Path, name: str, network: PixelRefer | None = None) -> GoldenReport:
    """Replay one case in float32 on the CPU, with the recorded k-means starts, and compare every stage."""
    cases = {case["name"]: case for case in json.loads((folder / "cases.json").read_text(encoding="utf-8"))}
    if name not in cases:
        raise InputError(f"There is no case {name!r} in {folder}", expected=", ".join(cases), do="choose one")
    case = cases[name]
    recorded = load_file(folder / f"{name}.safetensors")
    network = network or load_network(folder, device="cpu", dtype=torch.float32)
    region_id = json.loads((folder / "config.json").read_text(encoding="utf-8"))["region_token_index"]
    views = [
        RegionView(recorded[f"frame_{frame}"].numpy(), recorded[f"mask_{index}"].numpy())
        for index, frame in enumerate(case["mask_frame"])
    ]
    permutations = [recorded[f"kmeans_perm_{index}"].numpy() for index in range(case["n_perms"])]
    prepared = prepare_views(views, network.config, ScenePool(network.config), permutations=permutations)
    equal = _compare_pictures(case, recorded, views, prepared, network.config)
    with torch.inference_mode():
        features = torch.cat(encode_pictures(network, [view.crop for view in prepared]))
        rows = [view.tokens_KD for view in encode_views(network, prepared)]
        ids = recorded["input_ids"][0].tolist()
        prompt = Prompt(tuple(PLACEHOLDER if i == region_id else i for i in ids), torch.cat(rows))
        embedded_BTD = embed_prompts(network, [prompt])
        hidden_BTD = network.decode(embedded_BTD, torch.arange(len(ids))[None])
        logits = network.score_words(hidden_BTD[0, -1])
    equal["region prompts"] = _write_prompts(case, rows) == case["region_prompt"]
    equal["generated ids"] = _is_same_answer(network, prompt, recorded["generated_ids"].tolist())
    patches = torch.from_numpy(split_patches(prepared[0].crop))
    return GoldenReport(
        case=name,
        equal=equal,
        differences={
            "patches": _distance(normalise_patches(patches, network.config), recorded["crop_patches_0"]),
            "features": _distance(features, recorded["crop_features"]),
            "object tokens": _distance(prompt.rows, recorded["object_tokens"]),
            "logits": _distance(logits, recorded["logits_last"]),
        },
    )


def _compare_pictures(
    case: Mapping[str, Any],
    recorded: Mapping[str, Tensor],
    views: list[RegionView],
    prepared: list[PreparedView],
    config: PixelReferConfig,
) -> dict[str, bool]:
    equal = dict.fromkeys(("crops", "masks", "boxes", "scenes", "locals", "grids"), True)
    for index, (view, ready) in enumerate(zip(views, prepared, strict=True)):
        cut = cut_region(view, config.num_object_tokens)
        box, height, width = case["boxes"][index]
        equal["crops"] &= np.array_equal(cut.crop, recorded[f"crop_{index}"])
        equal["masks"] &= np.array_equal(cut.grid, recorded[f"crop_mask_{index}"])
        equal["boxes"] &= (*cut.box, cut.frame_height, cut.frame_width) == (*box, height, width)
        equal["scenes"] &= np.array_equal(cut_scene(view), recorded[f"global_{index}"])
        equal["locals"] &= np.array_equal(cut.local, recorded[f"local_{index}"])
        for kind, picture in (("crop", ready.crop), ("global", ready.scene), ("local", ready.local)):
            equal["grids"] &= _grid(picture) == recorded[f"{kind}_thw_{index}"][0].tolist()
    return equal


def _write_prompts(case: Mapping[str, Any], rows: list[Tensor]) -> list[str]:
    """What each object's `<region>` becomes in the text."""
    times_s = case["timestamps"] if case["modality"] == "video" else None
    prompts = []
    for masks in case["objects"]:
        frames = [case["mask_frame"][mask] for mask in masks]
        times = None if times_s is None else tuple(times_s[frame] for frame in frames)
        prompts.append(write_region(RegionRows(tuple(rows[mask] for mask in masks), times)))
    return prompts


def _is_same_answer(network: PixelRefer, prompt: Prompt, recorded_ids: list[int]) -> bool:
    stop_ids = network.config.stop_ids
    stops = [index for index, token in enumerate(recorded_ids) if token in stop_ids]
    wanted = recorded_ids[: stops[0] + 1] if stops else recorded_ids
    decoder = Decoder(network, stop_ids=stop_ids)
    steps = decoder.generate([prompt], max_new_tokens=len(wanted), num_rows=1)
    return [step.token_id for step in steps] == wanted


def _grid(picture: NDArray[np.uint8]) -> list[int]:
    return [1, picture.shape[0] // PATCH_PX, picture.shape[1] // PATCH_PX]


def _distance(found: Tensor, recorded: Tensor) -> float:
    return float((found - recorded).abs().max()) if found.shape == recorded.shape else float("inf")
