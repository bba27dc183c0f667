"""Checkpoints that ship: found by name, described from their headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tubelet.errors import ModelError, UnknownNameError
from tubelet.model.checkpoints import bundled
from tubelet.model.checkpoints.bundled import BUNDLED, describe_folder, find_bundled, has_bundled
from tubelet.model.pixelrefer.catalogue import find_checkpoint
from tubelet.model.tracking.sam2.weights import find_folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that holds one of the checkpoints, with weights of two parts."""
    folder = tmp_path / "sam2-small"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2_video"}))
    tensors = {"eye.weight": torch.zeros(2, 3, dtype=torch.float16), "hand.bias": torch.zeros(4)}
    save_file(tensors, folder / "model.safetensors")
    monkeypatch.setattr(bundled, "_find_root", lambda: tmp_path)
    return tmp_path


def test_a_bundled_name_is_found_by_both_networks(root: Path) -> None:
    assert find_checkpoint("sam2-small") == find_folder("sam2-small") == root / "sam2-small"
    assert has_bundled("sam2-small")


def test_a_folder_of_the_same_name_does_not_hide_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = root / "elsewhere"
    (here / "sam2-small").mkdir(parents=True)
    monkeypatch.chdir(here)
    assert find_checkpoint("sam2-small") == root / "sam2-small"


def test_one_that_this_installation_lacks_says_what_to_do(root: Path) -> None:
    assert not has_bundled("pixelrefer-lite-small")
    with pytest.raises(ModelError, match="profile `measured`"):
        find_checkpoint("pixelrefer-lite-small")


def test_an_unknown_name_lists_those_that_ship() -> None:
    with pytest.raises(UnknownNameError, match="sam2-small"):
        find_checkpoint("nonsense")


def test_a_folder_is_told_from_its_headers(root: Path) -> None:
    info = describe_folder("sam2-small", root / "sam2-small")
    assert info.parameters == {"eye": 6, "hand": 4}
    assert (info.num_parameters, info.num_bytes) == (10, 6 * 2 + 4 * 4)
    assert info.dtypes == ("float16", "float32")
    assert info.model_card is None
    (root / "sam2-small" / "README.md").write_text("# Card")
    assert info.model_card == root / "sam2-small" / "README.md"


@pytest.mark.parametrize("name", BUNDLED)
def test_what_ships_is_whole(name: str) -> None:
    """Of each checkpoint that is there: a model card, and weights of less than 16 MB."""
    if not has_bundled(name):
        pytest.skip(f"{name} is not in this tree")
    info = describe_folder(name, find_bundled(name))
    assert info.model_card is not None
    assert 0 < info.num_bytes < 16_000_000
