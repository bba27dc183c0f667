"""Counted FLOPs against arithmetic on paper."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from tubelet.model.pixelrefer.config import PUBLISHED_SHAPES
from tubelet.model.pixelrefer.cost import measure_cost
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG

LITE_2B = PUBLISHED_SHAPES["PixelRefer-Lite-2B"]


def test_vision_and_prefill_of_the_2b_model_agree_with_arithmetic() -> None:
    """Two FLOPs a weight and token, and 4 * width * tokens a token for attention; one frame."""
    cost = measure_cost(LITE_2B, num_frames=1)
    own, scene = 9 * 10 + 16 * 16, 24 * 24
    weights = 27 * (4 * 1152**2 + 2 * 1152 * 4304) + 588 * 1152
    attention = 27 * 4 * 1152
    assert cost.crops == pytest.approx(2 * weights * own + attention * (90**2 + 256**2), rel=0.01)
    assert cost.scene == pytest.approx(2 * weights * scene + attention * scene**2, rel=0.01)
    tokens = cost.num_prompt_tokens
    layers = 28 * (1536 * (1536 + 2 * 256) + 1536**2 + 3 * 1536 * 8960)
    head = 1536 * 151_936
    assert cost.prefill == pytest.approx(2 * (layers * tokens + head) + 28 * 4 * 1536 * tokens**2, rel=0.02)
    assert cost.decode == pytest.approx(2 * 59 * (layers + head), rel=0.03)


def test_scenes_are_shared_by_the_objects_of_a_frame() -> None:
    cost = measure_cost(DEBUG_CONFIG, num_frames=2)
    assert cost.total(1) - cost.total(4) == pytest.approx(0.75 * cost.scene)


def test_pixelrefer_pays_for_scene_tokens_in_the_prefill() -> None:
    lite = measure_cost(DEBUG_CONFIG, num_frames=4)
    full = measure_cost(dataclasses.replace(DEBUG_CONFIG, paradigm="vision_object"), num_frames=4)
    assert full.num_prompt_tokens > 10 * lite.num_prompt_tokens
    assert full.prefill > 10 * lite.prefill
    assert full.infusion == 0 < lite.infusion


@pytest.mark.parametrize(("model", "num_frames"), [("PixelRefer-Lite-2B", 8), ("PixelRefer-7B", 1)])
def test_the_documented_table_is_what_is_counted(model: str, num_frames: int) -> None:
    document = (Path(__file__).resolve().parents[3] / "docs" / "pixelrefer-cost.md").read_text()
    (row,) = re.findall(rf"^\| {model} \| {num_frames} \| (.*) \|$", document, re.MULTILINE)
    cost = measure_cost(PUBLISHED_SHAPES[model], num_frames=num_frames)
    counted = (cost.crops, cost.scene, cost.tokenizer, cost.infusion, cost.prefill, cost.decode)
    num_prompt_tokens, *documented = row.split(" | ")
    assert int(num_prompt_tokens) == cost.num_prompt_tokens
    for written, flops in zip(documented, (*counted, cost.total(1), cost.total(8)), strict=True):
        assert float(written) == pytest.approx(flops / 1e12, abs=0.0051)
