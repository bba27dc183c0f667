"""The published models: what they are, where they are, what they weigh, and how to get them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from tubelet.errors import ModelError, UnknownNameError
from tubelet.model.checkpoints.bundled import BUNDLED, find_bundled, is_bundled
from tubelet.model.pixelrefer.config import PUBLISHED_SHAPES, PixelReferConfig
from tubelet.model.pixelrefer.cost import RequestCost, measure_cost
from tubelet.model.pixelrefer.network import make_empty
from tubelet.model.pixelrefer.weights import read_folder_config
from tubelet.model.weight_files import find_weight_files, iterate_headers, read_shapes

HUB_OWNER = "Alibaba-DAMO-Academy"

KNOWN_MODELS: Mapping[str, str] = {
    "PixelRefer-Lite-2B": "object tokens only, Qwen2.5-1.5B: the default on a GPU",
    "PixelRefer-Lite-7B": "object tokens only, Qwen2.5-7B",
    "PixelRefer-2B": "object and scene tokens, Qwen2.5-1.5B",
    "PixelRefer-7B": "object and scene tokens, Qwen2.5-7B",
}

CHECKPOINT_FILES = ["*.json", "*.safetensors", "pytorch_model*.bin", "merges.txt"]
"""What a checkpoint is read from; nothing else is fetched, least of all code."""

PART_NAMES = {
    "vision": "vision encoder",
    "region_encoder": "object tokenizer and infusion",
    "scene_projector": "scene projector",
    "decoder": "decoder",
    "lm_head": "output head",
}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model is made of. `folder` is None for a published model that is not on this machine.

    `parameters` count by part; `num_bytes` and `dtypes` are the weights as stored (published models that are
    not here: as they would be in bfloat16). `cost` is one request of 8 frames and 60 tokens of answer.
    """

    name: str
    folder: Path | None
    config: PixelReferConfig
    parameters: Mapping[str, int]
    dtypes: tuple[str, ...]
    num_bytes: int
    cost: RequestCost

    @property
    def num_parameters(self) -> int:
        return sum(self.parameters.values())


def find_checkpoint(name_or_folder: str | Path) -> Path:
    """The folder of a checkpoint: one that ships, a folder itself, or where a hub name was pulled to.

    Fetches nothing. Raises ModelError when there is none of these, naming what would work.
    """
    if is_bundled(name_or_folder):
        return find_bundled(str(name_or_folder))
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder
    repository = find_repository(str(name_or_folder))
    try:
        return Path(snapshot_download(repository, local_files_only=True, allow_patterns=CHECKPOINT_FILES))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"{name_or_folder} is not on this machine",
            expected="a folder with config.json and weights, or a model pulled before",
            do=f"run `tubelet models pull {name_or_folder}` where there is network, or name a folder",
        ) from error


def find_repository(name: str) -> str:
    """The hub repository of a known model's short name; a name with an owner stays as it is."""
    if "/" in name:
        return name
    if name not in KNOWN_MODELS:
        raise UnknownNameError("model", name, [*BUNDLED, *KNOWN_MODELS, "a folder", "OWNER/NAME on the hub"])
    return f"{HUB_OWNER}/{name}"


def is_pulled(name: str) -> bool:
    """Whether a published model is on this machine."""
    try:
        find_checkpoint(name)
    except ModelError:
        return False
    return True


def pull_model(name: str, *, say: Callable[[str], None]) -> Path:
    """Fetch a published model into the hub's cache, saying first what and how large, and return its folder.

    Files that are there already are not fetched again. Raises ModelError when the hub cannot be reached.
    """
    repository = find_repository(name)
    try:
        facts = HfApi().model_info(repository, files_metadata=True)
        sizes = [file.size or 0 for file in facts.siblings or [] if _is_wanted(file.rfilename)]
        say(f"Fetching {repository} at {facts.sha}: {len(sizes)} files, {sum(sizes) / 1e9:.1f} GB")
        folder = snapshot_download(repository, revision=facts.sha, allow_patterns=CHECKPOINT_FILES)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise ModelError(
            f"{repository} cannot be fetched: {str(error).splitlines()[0]}",
            expected="a reachable model hub and an existing repository",
            do="check the network and the name, copy the folder from another machine and pass its path, "
            "or use the profile `bundled`, which needs no download",
        ) from error
    say(f"Stored in {folder}")
    return Path(folder)


def describe_model(name_or_folder: str | Path) -> ModelInfo:
    """What a checkpoint is made of, from its headers alone, or what a published model would be."""
    name = str(name_or_folder)
    short_name = name.removeprefix(f"{HUB_OWNER}/")
    if short_name in PUBLISHED_SHAPES and not is_pulled(name):
        config = PUBLISHED_SHAPES[short_name]
        parameters = count_parameters(config)
        return ModelInfo(
            name=short_name,
            folder=None,
            config=config,
            parameters=parameters,
            dtypes=("bfloat16",),
            num_bytes=2 * sum(parameters.values()),
            cost=measure_cost(config),
        )
    folder = find_checkpoint(name_or_folder)
    files = find_weight_files(folder)
    config = read_folder_config(folder, read_shapes(files))
    headers = [header for file in files for header in iterate_headers(file)]
    return ModelInfo(
        name=name,
        folder=folder,
        config=config,
        parameters=count_parameters(config),
        dtypes=tuple(sorted({str(dtype).removeprefix("torch.") for _, _, dtype in headers})),
        num_bytes=sum(torch.Size(shape).numel() * dtype.itemsize for _, shape, dtype in headers),
        cost=measure_cost(config),
    )


def count_parameters(config: PixelReferConfig) -> dict[str, int]:
    """Parameters of each part that the forward pass reads."""
    counts: dict[str, int] = defaultdict(int)
    for name, weight in make_empty(config, torch.device("meta")).named_parameters():
        counts[PART_NAMES[name.split(".")[0]]] += weight.numel()
    return dict(counts)


def _is_wanted(file: str) -> bool:
    return any(Path(file).match(pattern) for pattern in CHECKPOINT_FILES)
