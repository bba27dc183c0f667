"""Every stage against recordings of the reference implementation."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tubelet.errors import InputError
from tubelet.model.pixelrefer.generate import Decoder
from tubelet.model.pixelrefer.golden import list_golden_cases, run_golden_case
from tubelet.model.pixelrefer.object_tokens import ObjectTokens, Precision
from tubelet.model.pixelrefer.prompts import PLACEHOLDER, Prompt
from tubelet.model.pixelrefer.weights import load_network

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
    network = load_network(COMMITTED / "mask8", device="cpu", dtype=torch.float32)
    network.region_encoder.feat_linear[2].bias[0] += 0.01
    report = run_golden_case(COMMITTED / "mask8", "image_small_object", network)
    assert not report.passes
    assert report.differences["object tokens"] > 0.005
    assert report.differences["features"] < 1e-5


@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("case", list_golden_cases(COMMITTED / "mask8"))
def test_stored_tokens_give_the_recorded_answers(case: str, precision: Precision) -> None:
    """The recorded object tokens, packed and unpacked, lead to the recorded ids."""
    recorded = load_file(COMMITTED / "mask8" / f"{case}.safetensors")
    region_id = json.loads((COMMITTED / "mask8" / "config.json").read_text())["region_token_index"]
    ids = tuple(PLACEHOLDER if i == region_id else i for i in recorded["input_ids"][0].tolist())
    stored = ObjectTokens((recorded["object_tokens"],), None, "golden").to_bytes(precision)
    prompt = Prompt(ids, ObjectTokens.from_bytes(stored).rows[0])
    network = load_network(COMMITTED / "mask8", device="cpu", dtype=torch.float32)
    wanted = recorded["generated_ids"].tolist()
    steps = Decoder(network).generate([prompt], max_new_tokens=len(wanted), num_rows=1)
    assert [step.token_id for step in steps] == wanted


def test_an_unknown_case_lists_the_known() -> None:
    with pytest.raises(InputError, match="video_two_frames"):
        run_golden_case(COMMITTED / "mask8", "no_such_case")
