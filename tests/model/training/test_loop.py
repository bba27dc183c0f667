"""The loop trains, is killed, goes on, and ends where it would have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.model.training import toy_run
from tests.model.training.toy_run import Toy, ToyBatches, evaluate, make_settings, save_weights
from tubelet.errors import ModelError, SettingsError
from tubelet.model.training.log import read_log
from tubelet.model.training.loop import train
from tubelet.model.training.saves import find_last_save


def load_saved(out: Path) -> dict[str, Tensor]:
    folder = find_last_save(out)
    assert folder is not None
    weights: dict[str, Tensor] = torch.load(folder / "pytorch_model.bin")
    return weights


def read_losses(out: Path) -> dict[int, dict[str, float]]:
    return {row["step"]: row["losses"] for row in read_log(out / "log.jsonl") if "losses" in row}


@pytest.mark.parametrize("mode", ["adamw", "muon"])
def test_killed_run_resumes_to_the_same_weights(tmp_path: Path, mode: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    toy_run.run(whole, mode=mode)
    kill_at = 2 * 24 + 1  # half way into step 25: after the save of 21 and the evaluation of 20
    command = [sys.executable, "-m", "tests.model.training.toy_run", str(cut), mode, str(kill_at)]
    root = Path(__file__).parents[3]
    killed = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    save = find_last_save(cut)
    assert save is not None
    assert save.name == "step-000000021"

    report = toy_run.run(cut, mode=mode)

    assert (report.step, report.reason) == (30, "done")
    resumed, expected = load_saved(cut), load_saved(whole)
    assert resumed.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(resumed[name], tensor), name
    for name, tensor in load_file(whole / "best" / "model.safetensors").items():
        assert torch.equal(load_file(cut / "best" / "model.safetensors")[name], tensor), name
    losses, kept = read_losses(whole), read_losses(cut)
    assert losses.keys() == kept.keys(), "every logged step once"
    assert all(kept[step] == losses[step] for step in losses if step != 22), "22 is averaged over fewer steps"


def test_loss_falls_and_best_weights_are_kept(tmp_path: Path) -> None:
    report = toy_run.run(tmp_path)
    losses = [row["loss"] for row in read_losses(tmp_path).values()]
    assert losses[-1] < 0.6 * losses[0]
    errors = {
        row["step"]: row["evaluation"]["error"]
        for row in read_log(tmp_path / "log.jsonl")
        if "evaluation" in row
    }
    assert list(errors) == [5, 10, 15, 20, 25, 30]
    assert report.best == min(errors.values()) == errors[report.best_step or 0]
    best = Toy()
    best.load_state_dict(load_file(tmp_path / "best" / "model.safetensors"))
    assert evaluate(best.eval())["error"] == pytest.approx(report.best)
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5


def test_averaged_weights_are_evaluated_and_training_goes_on_with_its_own(tmp_path: Path) -> None:
    toy_run.run(tmp_path)
    averaged = load_file(tmp_path / "best" / "model.safetensors")
    trained = load_saved(tmp_path)
    assert not any(torch.equal(averaged[name], tensor) for name, tensor in trained.items())


def go(out: Path, model: nn.Module | None = None, **values: Any) -> Toy:
    toy = model or Toy()
    train(toy, ToyBatches(), make_settings(**values), out, save_weights=save_weights, evaluate=evaluate)
    assert isinstance(toy, Toy)
    return toy


def test_batches_made_ahead_are_the_same(tmp_path: Path) -> None:
    here = go(tmp_path / "here").state_dict()
    ahead = go(tmp_path / "ahead", prefetch_workers=2, prefetch_depth=3).state_dict()
    assert all(torch.equal(ahead[name], tensor) for name, tensor in here.items())


def test_parts_have_rates_of_their_own_and_can_be_frozen(tmp_path: Path) -> None:
    before = Toy().state_dict()
    rules = [{"pattern": "first.*", "factor": 0.0}, {"pattern": "second.bias", "factor": 0.01}]
    after = go(tmp_path, parts=rules, average_decay=0.0, weight_decay=0.0).state_dict()
    moved = {name: float((after[name] - tensor).abs().max()) for name, tensor in before.items()}
    assert moved["first.weight"] == moved["first.bias"] == 0
    assert 0 < moved["second.bias"] < 0.02 * moved["second.weight"]


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    class Watching(Toy):
        def predict(self, given: Tensor) -> Tensor:
            answer = super().predict(given)
            seen.add(answer.dtype)
            return answer

    seen: set[torch.dtype] = set()
    trained = go(tmp_path, Watching(), precision="bfloat16")
    assert seen == {torch.bfloat16}
    assert {tensor.dtype for tensor in trained.state_dict().values()} == {torch.float32}
    losses = [row["loss"] for row in read_losses(tmp_path).values()]
    assert losses[-1] < 0.7 * losses[0]


def test_sigterm_stops_with_a_save_and_the_run_goes_on(tmp_path: Path) -> None:
    class Terminating(Toy):
        def forward(self, batch: toy_run.Pair) -> dict[str, Tensor]:
            nonlocal num_calls
            num_calls += 1
            if num_calls == 2 * 9:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch)

    num_calls = 0
    handler = signal.getsignal(signal.SIGTERM)
    report = train(Terminating(), ToyBatches(), make_settings(), tmp_path, save_weights=save_weights)
    assert (report.step, report.reason) == (9, "signal")
    assert signal.getsignal(signal.SIGTERM) is handler
    whole = tmp_path / "whole"
    go(whole)
    toy_run.run(tmp_path)
    assert all(torch.equal(load_saved(tmp_path)[name], tensor) for name, tensor in load_saved(whole).items())


def test_two_processes_share_the_batches_and_end_as_one_would(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "tests.model.training.toy_run", str(tmp_path / "two"), "no dropout", "-1"]
    root = Path(__file__).parents[3]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    toy_run.run(tmp_path / "one", mode="no dropout, twice the batches")
    one, two = (load_saved(tmp_path / name) for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)
    assert read_log(tmp_path / "two" / "log.jsonl")[-2]["batches"] == 120


def test_time_limit_stops_with_a_save(tmp_path: Path) -> None:
    report = train(Toy(), ToyBatches(), make_settings(time_limit_s=1e-6), tmp_path, save_weights=save_weights)
    assert (report.step, report.reason) == (1, "time limit")
    assert find_last_save(tmp_path) is not None


def test_losses_that_are_no_numbers_end_the_run(tmp_path: Path) -> None:
    class Broken(Toy):
        def forward(self, batch: toy_run.Pair) -> dict[str, Tensor]:
            return {"loss": super().forward(batch)["loss"] * float("nan")}

    with pytest.raises(ModelError, match=r"not finite in 10 steps.*lower the learning rate"):
        go(tmp_path, Broken())


def test_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    go(tmp_path)
    with pytest.raises(SettingsError, match="holds a training run already"):
        go(tmp_path)


def test_best_by_an_unknown_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="one of error"):
        go(tmp_path, best_by="accuracy")
