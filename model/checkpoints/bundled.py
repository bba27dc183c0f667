"""Finding the checkpoints that ship inside the package, and telling what any checkpoint is made of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from tubelet.errors import ModelError
from tubelet.model.weight_files import find_weight_files, iterate_headers

BUNDLED: Mapping[str, str] = {
    "sam2-small": "tracker, SAM 2, small; ships, trained on rendered scenes",
    "pixelrefer-lite-small": "captioner, PixelRefer-Lite, small; ships, trained on rendered scenes",
}
"""Name of each checkpoint that ships -> what it is. The name is also that of its folder."""

MODEL_CARD = "README.md"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint holds, from its headers alone: parameters by part, types, bytes as stored."""

    name: str
    folder: Path
    parameters: Mapping[str, int]
    dtypes: tuple[str, ...]
    num_bytes: int

    @property
    def num_parameters(self) -> int:
        return sum(self.parameters.values())

    @property
    def model_card(self) -> Path | None:
        """Where the model card is; None where there is none."""
        card = self.folder / MODEL_CARD
        return card if card.is_file() else None


def is_bundled(name: str | Path) -> bool:
    """Whether a name is that of a checkpoint that ships."""
    return str(name) in BUNDLED


def find_bundled(name: str) -> Path:
    """The folder of a checkpoint that ships.

    Raises ModelError where this installation lacks it, as one from an older wheel does.
    """
    assert name in BUNDLED, f"{name} is no bundled checkpoint"
    folder = _find_root() / name
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The checkpoint {name} is not in this installation",
            expected=f"the folder {folder} with config.json and weights",
            do="reinstall Tubelet, or use the profile `measured`, which needs no checkpoint",
        )
    return folder


def has_bundled(name: str) -> bool:
    """Whether a checkpoint that ships is in this installation."""
    return (_find_root() / name / "config.json").is_file()


def describe_folder(name: str, folder: Path) -> CheckpointInfo:
    """What a folder of weights holds; parts are the tensors' first names."""
    parameters: dict[str, int] = defaultdict(int)
    dtypes: set[str] = set()
    num_bytes = 0
    for file in find_weight_files(folder):
        for tensor, shape, dtype in iterate_headers(file):
            count = 1
            for length in shape:
                count *= length
            parameters[tensor.split(".")[0]] += count
            dtypes.add(str(dtype).removeprefix("torch."))
            num_bytes += count * dtype.itemsize
    return CheckpointInfo(name, folder, dict(parameters), tuple(sorted(dtypes)), num_bytes)


def _find_root() -> Path:
    root = files("tubelet.model.checkpoints")
    assert isinstance(root, Path), "the package is installed as files"
    return root
