"""Steps are those of `torch.optim.Muon` but for its rounding, and matrices come out nearly orthogonal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tubelet.model.training.muon import Muon, orthogonalise

SHAPES = ((24, 40), (40, 24), (24, 40), (16, 16))


def make_matrices(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (16, 28)])
def test_singular_values_end_near_one_and_directions_stay(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    matrices = torch.randn((4, *shape), generator=generator) * torch.tensor([1e-3, 1, 10, 1e4])[:, None, None]
    turned = orthogonalise(matrices)
    values = torch.linalg.svdvals(turned)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    diagonal = left.mT @ turned @ right.mT
    off = diagonal - torch.diag_embed(torch.diagonal(diagonal, dim1=1, dim2=2))
    assert float(off.abs().max()) < 1e-4


def test_nothing_stays_nothing() -> None:
    assert not orthogonalise(torch.zeros(1, 4, 6)).any()


def test_steps_are_those_of_torch_but_for_rounding() -> None:
    ours, theirs = ([torch.nn.Parameter(matrix) for matrix in make_matrices(1)] for _ in range(2))
    groups = [[{"params": params, "lr": 0.02, "weight_decay": 0.1}] for params in (ours, theirs)]
    own = Muon(groups[0])
    known = torch.optim.Muon(groups[1], adjust_lr_fn="match_rms_adamw")
    for seed in range(5):
        for params in (ours, theirs):
            for parameter, grad in zip(params, make_matrices(10 + seed), strict=True):
                parameter.grad = grad
        own.step()
        known.step()
    for start, mine, other in zip(make_matrices(1), ours, theirs, strict=True):
        moved, apart = float((other.detach() - start).norm()), float((mine - other).detach().norm())
        assert 0 < apart < 0.02 * moved, "bfloat16 has 8 bits"


def test_what_has_no_gradient_stays() -> None:
    moved, still = (torch.nn.Parameter(matrix.clone()) for matrix in make_matrices(2)[:2])
    moved.grad = torch.ones_like(moved)
    optimizer = Muon([{"params": [moved, still]}], lr=0.1)
    optimizer.step()
    assert torch.equal(still, make_matrices(2)[1])
    assert not torch.equal(moved, make_matrices(2)[0])


def test_an_optimizer_goes_on_from_its_state() -> None:
    ends = []
    for is_stopped in (False, True):
        (parameter, *_) = [torch.nn.Parameter(matrix) for matrix in make_matrices(1)]
        optimizer = Muon([{"params": [parameter]}], lr=0.1)
        for seed in range(4):
            if is_stopped and seed == 2:
                state = optimizer.state_dict()
                optimizer = Muon([{"params": [parameter]}], lr=0.1)
                optimizer.load_state_dict(state)
            parameter.grad = make_matrices(seed)[0]
            optimizer.step()
        ends.append(parameter.detach())
    assert torch.equal(*ends)
