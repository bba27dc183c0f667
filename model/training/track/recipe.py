"""Recipes: the stages in which a SAM 2 is trained, each with its pictures, its rates and its length."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tubelet.errors import SettingsError, UnknownNameError
from tubelet.model.training.schedule import LoopSettings, parse_settings
from tubelet.model.training.track.evaluation import EvaluationSettings
from tubelet.model.training.track.judging import JudgeSettings
from tubelet.model.training.track.losses import LossWeights
from tubelet.model.training.track.matching import MatcherSettings
from tubelet.model.training.track.outlining import OutlinerSettings
from tubelet.model.training.track.proposing import ProposerSettings
from tubelet.model.training.track.samples import SampleSettings


class Stage(BaseModel):
    """One run of the training loop. It begins with the best weights of the stage before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    loop: LoopSettings
    samples: SampleSettings
    pictures: SampleSettings | None = None
    """Single pictures that are mixed in, so that what was learnt of them is not forgotten."""
    picture_share: float = Field(default=0.5, ge=0, lt=1)
    """Of the batches, where there are such pictures."""
    start_memory: bool = False
    """Begin memory attention anew, from what the network knows of pictures."""
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    losses: LossWeights = Field(default_factory=LossWeights)
    source_px: int = Field(default=0, ge=0)
    """Short side of rendered clips; 0 takes the network's."""
    photographs: float = Field(default=0.0, ge=0, le=1)
    """The share of rendered clips with photographs as grounds and walls (extra `train`)."""


class TrackRecipe(BaseModel):
    """All stages. `image_px` is the size that the finished network runs at, and 0 the initial one's.

    `half` stores the finished weights as float16: half the file, read back as float32. With `judge`, a judge
    of masks is taught for the finished network, with `matcher` a matcher of objects, with `proposer` a
    proposer of boxes, and with `outliner` an outliner of masks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = ""
    image_px: int = Field(default=0, ge=0)
    half: bool = False
    judge: JudgeSettings | None = None
    matcher: MatcherSettings | None = None
    proposer: ProposerSettings | None = None
    outliner: OutlinerSettings | None = None
    stages: tuple[Stage, ...] = Field(min_length=1)

    def override(self, *, steps: int | None = None, image_px: int | None = None) -> TrackRecipe:
        """The recipe with every stage as long, or its pictures as large, as asked."""
        values = self.model_dump()
        for stage in values["stages"]:
            if steps is not None:
                stage["loop"]["steps"] = steps
            for samples in (stage["samples"], stage["pictures"]) if image_px is not None else ():
                if samples is not None:
                    samples["image_px"] = image_px
        if image_px is not None:
            values["image_px"] = image_px
        return parse_settings(TrackRecipe, values)


def load_recipe(name: str) -> TrackRecipe:
    """A recipe by its name. Raises UnknownNameError."""
    if name not in RECIPES:
        raise UnknownNameError("training recipe", name, RECIPES)
    return parse_settings(TrackRecipe, RECIPES[name])


def read_recipe(file: Path) -> TrackRecipe:
    """A recipe from a TOML file with the fields of `TrackRecipe`. Raises SettingsError."""
    try:
        return parse_settings(TrackRecipe, tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"{file} cannot be read as a recipe: {error}", expected="a TOML file with [[stages]]"
        ) from error


_CLIP_PROMPTS = {"mask": 0.5, "box": 0.3, "point": 0.2}

_SMALL_LOOP = {
    "learning_rate": 1e-3,
    "schedule": "constant",
    "warmup_steps": 100,
    "average_decay": 0.998,
    "evaluate_every": 500,
    "save_every": 250,
    "best_by": "score",
    "prefetch_workers": 1,
    "prefetch_depth": 8,
}

_SMALL_MUON = {
    **_SMALL_LOOP,
    "optimizer": "muon",
    "learning_rate": 6e-4,
    "betas": (0.9, 0.98),
    "schedule": "cosine",
    "average_decay": 0.99,
    "parts": [{"pattern": "network.*layers.*weight", "factor": 2.0}],
    "evaluate_every": 200,
    "save_every": 100,
    "prefetch_workers": 0,
}
"""Muon goes on from what AdamW learnt."""

_SMALL_PICTURES = {"min_crop": 0.35, "whole": 0.4, "prompts": {"box": 1.0, "point": 0.7}}
_SMALL_ROUGH = {
    **_SMALL_PICTURES,
    "prompts": {"box": 0.6, "point": 0.6, "rough": 1.0},
    "background_roughs": 1,
}

RECIPES: Mapping[str, Mapping[str, Any]] = {
    "small": {
        "about": "the bundled sam2-small, from random weights, on rendered scenes: hours on two cores",
        "image_px": 256,
        "half": True,
        "judge": {"seed": 31, "num_pictures": 1600},
        "matcher": {"seed": 37, "num_clips": 900},
        "proposer": {"seed": 41, "num_pictures": 5000, "steps": 3000},
        "outliner": {"seed": 43},
        "stages": [
            {
                "name": "pictures-96",
                "loop": {**_SMALL_LOOP, "steps": 2000, "seed": 1, "best_by": ""},
                "samples": {**_SMALL_PICTURES, "image_px": 96, "clips_per_batch": 6},
                "source_px": 256,
                "losses": {"focal": 2.0, "gamma": 0.0, "balance": 1.0},
            },
            {
                "name": "pictures-96-fine",
                "loop": {**_SMALL_LOOP, "steps": 1000, "seed": 2, "learning_rate": 6e-4, "best_by": ""},
                "samples": {**_SMALL_PICTURES, "image_px": 96, "clips_per_batch": 6},
                "source_px": 256,
                "losses": {"focal": 4.0, "gamma": 1.0, "balance": 0.7},
            },
            {
                "name": "pictures-128",
                "loop": {**_SMALL_LOOP, "steps": 6000, "seed": 3, "learning_rate": 8e-4},
                "samples": {**_SMALL_ROUGH, "image_px": 128, "clips_per_batch": 6},
                "source_px": 256,
                "losses": {"focal": 5.0, "gamma": 1.0, "balance": 0.6, "iou": 3.0},
            },
            {
                "name": "pictures-256",
                "loop": {
                    **_SMALL_LOOP,
                    "steps": 3000,
                    "seed": 4,
                    "learning_rate": 5e-4,
                    "schedule": "cosine",
                    "save_every": 100,
                },
                "samples": {**_SMALL_ROUGH, "image_px": 256, "clips_per_batch": 3},
                "source_px": 320,
                "losses": {"focal": 8.0, "gamma": 1.0, "balance": 0.3, "iou": 4.0},
            },
            {
                "name": "muon-128",
                "loop": {**_SMALL_MUON, "steps": 2600, "seed": 11, "final_factor": 0.3, "warmup_steps": 60},
                "samples": {**_SMALL_ROUGH, "image_px": 128, "clips_per_batch": 6},
                "source_px": 256,
                "losses": {"focal": 5.0, "gamma": 1.0, "balance": 0.6, "iou": 3.0},
            },
            *(
                {
                    "name": name,
                    "loop": {
                        **_SMALL_MUON,
                        "steps": steps,
                        "seed": seed,
                        "final_factor": 0.03,
                        "warmup_steps": 40,
                    },
                    "samples": {
                        **_SMALL_ROUGH,
                        "image_px": 256,
                        "clips_per_batch": 4,
                        "whole": 0.6,
                        "prompts": {"box": 0.6, "point": point, "rough": 0.8},
                    },
                    "source_px": 320,
                    "photographs": photographs,
                    "losses": {"focal": 8.0, "gamma": 1.0, "balance": 0.3, "iou": 4.0},
                }
                for name, steps, seed, point, photographs in (
                    ("muon-256", 2200, 12, 0.8, 0.0),
                    ("muon-256-more", 2600, 13, 0.8, 0.0),
                    ("muon-256-photographs", 4400, 14, 0.9, 0.35),
                )
            ),
        ],
    },
    "fine-tune": {
        "about": "a published SAM 2.1, on clips of 8 frames; the image encoder slower than the rest",
        "stages": [
            {
                "name": "clips",
                "loop": {
                    "steps": 2000,
                    "learning_rate": 5e-6,
                    "parts": [{"pattern": "network.vision_encoder.*", "factor": 0.6}],
                    "warmup_steps": 50,
                    "weight_decay": 0.1,
                    "clip_norm": 0.1,
                    "evaluate_every": 200,
                    "save_every": 100,
                    "best_by": "score",
                    "accumulate": 2,
                    "prefetch_workers": 2,
                },
                "samples": {
                    "image_px": 1024,
                    "clips_per_batch": 1,
                    "crops_per_clip": 1,
                    "num_frames": 8,
                    "max_objects": 3,
                    "min_area_share": 0.0005,
                    "whole": 0.8,
                    "prompts": _CLIP_PROMPTS,
                    "loss_scale": 4,
                },
                "evaluation": {"num_pictures": 8, "num_clips": 6},
            },
        ],
    },
}
