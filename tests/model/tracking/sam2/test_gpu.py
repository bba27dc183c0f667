"""The engine on a CUDA device: the masks of the processor, and bfloat16."""

from __future__ import annotations

import pytest
import torch

from tests.model.tracking.sam2.factories import make_clip, make_model
from tests.model.tracking.sam2.test_engine import PROMPTS, run_engine
from tubelet.model.tracking.sam2.network import TransformersNetwork

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.mark.parametrize(("dtype", "agreement"), [(torch.float32, 0.99), (torch.bfloat16, 0.9)])
def test_masks_are_those_of_the_processor(dtype: torch.dtype, agreement: float) -> None:
    clip = make_clip(6)
    expected = run_engine(TransformersNetwork(make_model()), clip, PROMPTS)
    on_gpu = TransformersNetwork(make_model().to(device="cuda", dtype=dtype))
    found = run_engine(on_gpu, clip, PROMPTS)
    for number, frames in expected.items():
        for frame, (logits, _) in frames.items():
            same = (found[number][frame][0].cpu() > 0) == (logits > 0)
            assert same.float().mean() >= agreement
