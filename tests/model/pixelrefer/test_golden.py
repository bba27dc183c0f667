"""Every stage against recordings of the reference implementation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tubelet.errors import InputError
from tubelet.model.pixelrefer.golden import list_golden_cases, run_golden_case

TESTS = Path(__file__).resolve().parents[2]
COMMITTED = TESTS / "data" / "golden"
SHARED = TESTS.parents[1] / "shared" / "golden"


def _folders() -> Iterator[Path]:
    yield COMMITTED / "mask8"
    if SHARED.is_dir():
        yield from (folder for folder in sorted(SHARED.iterdir()) if folder.name != "mask8")
    named = os.environ.get("PIXELREFER_GOLDEN", "")
    yield from (Path(folder) for folder in named.split(":") if folder)


@pytest.mark.parametrize(
    ("folder", "case"),
    [
        pytest.param(folder, case, id=f"{folder.name}-{case}")
        for folder in _folders()
        for case in list_golden_cases(folder)
    ],
)
def test_replay_agrees_with_the_reference(folder: Path, case: str) -> None:
    report = run_golden_case(folder, case)
    assert report.passes, str(report)


def test_a_changed_weight_is_noticed() -> None:
    """The comparison can fail: one weight of the last projection moved by 0.01 shows in the tokens."""
    from tubelet.model.pixelrefer.weights import load_network

    network = load_network(COMMITTED / "mask8", device="cpu", dtype=torch.float32)
    network.region_encoder.feat_linear[2].bias[0] += 0.01
    report = run_golden_case(COMMITTED / "mask8", "image_small_object", network)
    assert not report.passes
    assert report.differences["object tokens"] > 0.005
    assert report.differences["features"] < 1e-5


def test_an_unknown_case_lists_the_known() -> None:
    with pytest.raises(InputError, match="video_two_frames"):
        run_golden_case(COMMITTED / "mask8", "no_such_case")
