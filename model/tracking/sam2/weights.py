"""SAM 2 checkpoints: folders in the layout of `facebook/sam2.1-hiera-*`, read strictly.

A folder holds `config.json` and `model.safetensors`. Names and shapes must match both ways: a network with
some random weights would track, badly, and nobody would know.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.initialization import no_init_weights

from tubelet.errors import ModelError
from tubelet.model.pixelrefer.catalogue import find_checkpoint
from tubelet.model.tracking.sam2.assistants import ASSISTANT_FILES
from tubelet.model.tracking.sam2.config import PUBLISHED
from tubelet.model.tracking.sam2.network import TransformersNetwork
from tubelet.model.tracking.sam2.settings import SETTINGS_FILE
from tubelet.model.weight_files import (
    NameReport,
    compare_shapes,
    find_weight_files,
    iterate_tensors,
    read_shapes,
)

MODEL_TYPE = "sam2_video"

KNOWN_CHECKPOINTS = {f"sam2.1-hiera-{size}": f"facebook/sam2.1-hiera-{size}" for size in PUBLISHED}
"""Short names of the published checkpoints, and where the hub keeps them."""


def load_network(
    checkpoint: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> TransformersNetwork:
    """Load a folder, a short name such as `sam2.1-hiera-small`, or an OWNER/NAME pulled from the hub before.

    Nothing is fetched. Raises ModelError when the folder is missing, of another kind, or does not match.
    """
    model = load_model(find_folder(checkpoint))
    torch.nn.Module.to(model, device=device, dtype=dtype)
    return TransformersNetwork(model)


def find_folder(checkpoint: str | Path) -> Path:
    """The folder of a checkpoint on this machine."""
    return find_checkpoint(KNOWN_CHECKPOINTS.get(str(checkpoint), checkpoint))


def load_model(folder: Path) -> Sam2VideoModel:
    """Read a folder into a `Sam2VideoModel`, in evaluation mode and without gradients."""
    config = read_config(folder)
    with no_init_weights():
        model = Sam2VideoModel(config)
    files = find_weight_files(folder)
    report = compare_names(model, read_shapes(files))
    if not report.is_clean:
        raise ModelError(
            f"The weights in {folder} do not fit their config.json: {report}",
            expected=f"exactly the {len(model.state_dict())} tensors of this SAM 2",
            do="take config.json and model.safetensors from the same checkpoint",
        )
    model.load_state_dict(dict(iterate_tensors(files)), strict=True)
    model.requires_grad_(False)
    model.train(False)
    return model


def save_model(folder: Path, model: Sam2VideoModel) -> None:
    """Write a folder that `load_model` reads, in the layout of the published checkpoints."""
    model.save_pretrained(folder)


def name_checkpoint(folder: Path) -> str:
    """`sam2-FOLDER@DIGEST`, with one sam2: what rows say of the tracker. The digest is the weights', and
    the assistants' and settings' where there are any."""
    digest = hashlib.blake2b(digest_size=4)
    names = (*ASSISTANT_FILES, SETTINGS_FILE)
    beside = [file for name in names if (file := folder / name).exists()]
    for file in (*find_weight_files(folder), *beside):
        with file.open("rb") as opened:
            while block := opened.read(1 << 24):
                digest.update(block)
    # In the hub's cache the folder is a revision; the checkpoint's name stands two levels above it.
    name = folder.parents[1].name.rpartition("--")[2] if folder.parent.name == "snapshots" else folder.name
    return f"{name if name.startswith('sam2') else f'sam2-{name}'}@{digest.hexdigest()}"


def read_config(folder: Path) -> Sam2VideoConfig:
    """The configuration of a checkpoint folder."""
    file = folder / "config.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{file} cannot be read: {error}",
            expected="the folder of a SAM 2 checkpoint, with config.json and model.safetensors",
            do="name the folder that holds config.json",
        ) from error
    if not isinstance(content, dict) or content.get("model_type") != MODEL_TYPE:
        found = content.get("model_type") if isinstance(content, dict) else None
        raise ModelError(
            f"{file} describes a model of type {found!r}",
            expected=f"model_type {MODEL_TYPE!r}",
            do="name a folder of facebook/sam2.1-hiera-*, or one written by `save_model`",
        )
    try:
        return Sam2VideoConfig.from_dict(content)
    except (StrictDataclassError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{file} is not a configuration of SAM 2: {str(error).splitlines()[0]}",
            expected="the config.json of the checkpoint, unchanged",
            do="copy it again",
        ) from error


def compare_names(model: Sam2VideoModel, shapes: dict[str, tuple[int, ...]]) -> NameReport:
    """Compare a model's tensors with a checkpoint's, both ways."""
    own: dict[str, Tensor] = model.state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in own.items()}
    return compare_shapes(wanted, shapes)
