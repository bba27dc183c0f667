"""The losses of SAM 2 by small cases whose answers are known."""

from __future__ import annotations

import pytest
import torch

from tubelet.model.training.track.losses import LossWeights, add_up, measure_losses

TARGET = torch.zeros(2, 8, 8)
TARGET[0, 2:6, 2:6] = 1.0  # the second row is out of sight


def make_logits(*masks: torch.Tensor) -> torch.Tensor:
    """One row in sight with these masks, and one out of sight with whatever."""
    good = torch.stack([20 * (2 * mask - 1) for mask in masks])
    return torch.stack([good, torch.full_like(good, 20.0)])


def measure(
    logits: torch.Tensor, iou: list[list[float]], presence: list[float], **weights: float
) -> dict[str, torch.Tensor]:
    chosen = LossWeights.model_validate(weights)
    parts = measure_losses(
        logits, torch.tensor(iou), torch.tensor(presence), TARGET, torch.zeros_like(TARGET), chosen
    )
    return add_up([parts], chosen)


def test_right_answers_cost_nothing() -> None:
    losses = measure(make_logits(TARGET[0]), [[1.0], [0.0]], [30.0, -30.0])
    assert float(losses["loss"]) == pytest.approx(0.0, abs=1e-3)
    assert float(losses["mask iou"]) == 1.0


def test_only_the_best_of_several_masks_is_taught_and_all_guesses_are() -> None:
    half = TARGET[0].clone()
    half[4:] = 0
    logits = make_logits(half, TARGET[0], 1 - TARGET[0]).requires_grad_()
    losses = measure(logits, [[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]], [30.0, -30.0], runners_up=0.0)
    assert float(losses["loss"].detach()) == pytest.approx(0.0, abs=1e-3)
    wrong = measure(logits, [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]], [30.0, -30.0], runners_up=0.0)
    assert float(wrong["iou guess"].detach()) == pytest.approx((0.25 + 0 + 1) / 3 / 2)
    losses["loss"].backward()
    assert logits.grad is not None
    assert not logits.grad[0, [0, 2]].any()


def test_masks_of_what_is_out_of_sight_do_not_count_but_its_presence_does() -> None:
    right = measure(make_logits(TARGET[0]), [[1.0], [0.0]], [30.0, -30.0])
    seen = measure(make_logits(TARGET[0]), [[1.0], [0.0]], [30.0, 3.0])
    assert float(seen["focal"]) == float(right["focal"])
    assert float(seen["presence"]) == pytest.approx(3.05 / 2, abs=0.01)


def test_a_guess_of_quality_where_nothing_is_should_be_zero() -> None:
    losses = measure(make_logits(TARGET[0]), [[1.0], [0.9]], [30.0, -30.0])
    assert float(losses["iou guess"]) == pytest.approx(0.405)


def test_balance_makes_a_missed_object_cost_as_much_as_a_missed_background() -> None:
    small = torch.zeros(1, 20, 20)
    small[0, :2, :2] = 1
    costs = {}
    for name, value in (("nothing", -3.0), ("everything", 3.0)):
        for balance in (0.0, 1.0):
            weights = LossWeights(gamma=0.0, balance=balance)
            logits = torch.full((1, 1, 20, 20), value)
            parts = measure_losses(
                logits, torch.zeros(1, 1), torch.zeros(1), small, torch.zeros_like(small), weights
            )
            costs[name, balance] = float(parts.focal)
    assert costs["nothing", 0.0] < 0.05 * costs["everything", 0.0]
    assert costs["nothing", 1.0] == pytest.approx(costs["everything", 1.0], rel=1e-3)


def test_coarse_masks_are_compared_on_the_finer_grid() -> None:
    coarse = torch.full((2, 1, 4, 4), -20.0)
    coarse[0, 0, 1:3, 1:3] = 20.0
    losses = measure(coarse, [[1.0], [0.0]], [30.0, -30.0])
    assert float(losses["mask iou"]) > 0.9


def test_balance_makes_another_object_in_the_mask_cost_more_than_as_much_background() -> None:
    target, other = torch.zeros(1, 20, 20), torch.zeros(1, 20, 20)
    target[0, :4, :4], other[0, 16:, 16:] = 1, 1
    costs = {}
    for name, rows in (("other", slice(16, 20)), ("ground", slice(8, 12))):
        logits = torch.where(target > 0, 3.0, -3.0)[:, None]
        logits[0, 0, rows, 16:] = 3.0
        weights = LossWeights(gamma=0.0, balance=1.0)
        parts = measure_losses(logits, torch.zeros(1, 1), torch.zeros(1), target, other, weights)
        costs[name] = float(parts.focal)
    assert costs["other"] > 5 * costs["ground"]
