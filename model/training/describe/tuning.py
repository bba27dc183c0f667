"""Train a checkpoint further on data in the published format: what `tubelet train describe --data FILE` does.

The defaults are the published schedules. Stage 1 is object perception: the vision encoder is frozen, the
decoder and the scene projector learn at 1e-5, the region encoder at 1e-3. Stage 2, instruction, is described
with the same data form and no other rates, so it has the same. Both: cosine, 3 % warm-up, 256 samples a step,
one epoch, bfloat16.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tubelet.errors import InputError, ModelError
from tubelet.model.pixelrefer.catalogue import find_checkpoint
from tubelet.model.pixelrefer.network import PixelRefer
from tubelet.model.pixelrefer.prompts import PromptTokenizer
from tubelet.model.pixelrefer.weights import load_checkpoint, save_checkpoint
from tubelet.model.training.describe.answering import AnswerModel
from tubelet.model.training.describe.published import (
    PublishedBatches,
    PublishedData,
    ReadFrames,
    ReadPicture,
    load_sample,
)
from tubelet.model.training.describe.recipe import PART_PATTERNS, Part
from tubelet.model.training.describe.samples import prepare_sample
from tubelet.model.training.loop import SaveWeights, TrainReport, train
from tubelet.model.training.schedule import LoopSettings, PartRate

logger = logging.getLogger(__name__)

BASE_RATE = 1e-5
PART_RATES: Mapping[Part, float] = {
    "vision": 0.0,
    "projector": 1e-5,
    "region-encoder": 1e-3,
    "decoder": 1e-5,
}
GLOBAL_BATCH = 256
WARMUP_SHARE = 0.03


def make_settings(
    num_samples: int,
    *,
    batch_size: int,
    global_batch: int = GLOBAL_BATCH,
    epochs: float = 1.0,
    steps: int | None = None,
    rates: Mapping[Part, float] | None = None,
    seed: int = 0,
    precision: str = "bfloat16",
    num_processes: int = 1,
    evaluate: bool = False,
) -> LoopSettings:
    """The published schedule over so many samples; `rates` replaces those of single parts, 0 freezes."""
    accumulate = max(1, round(global_batch / (batch_size * num_processes)))
    seen_a_step = accumulate * batch_size * num_processes
    total = steps or max(1, math.ceil(epochs * num_samples / seen_a_step))
    return LoopSettings.model_validate(
        {
            "steps": total,
            "seed": seed,
            "learning_rate": BASE_RATE,
            "parts": list_part_rates({**PART_RATES, **(rates or {})}),
            "warmup_steps": math.ceil(WARMUP_SHARE * total),
            "final_factor": 0.0,
            "weight_decay": 0.0,
            "accumulate": accumulate,
            "precision": precision,
            "log_every": max(1, min(20, total // 10)),
            "evaluate_every": max(1, total // 10),
            "save_every": max(1, min(200, total // 5)),
            "best_by": "loss" if evaluate else "",
            "best_is": "lowest",
        }
    )


def list_part_rates(rates: Mapping[Part, float]) -> tuple[PartRate, ...]:
    """Rules for the loop, the narrow patterns before the wide."""
    return tuple(
        PartRate(pattern=pattern, factor=rates[part] / BASE_RATE)
        for part, patterns in PART_PATTERNS.items()
        for pattern in patterns
    )


def tune(
    data: PublishedData,
    init: str | Path,
    out: Path,
    settings: LoopSettings,
    *,
    batch_size: int,
    read_frames: ReadFrames,
    read_picture: ReadPicture,
    held_out: PublishedData | None = None,
    resume: bool = False,
) -> TrainReport:
    """Train the checkpoint `init` on `data` and write the result to `out`; the run's files are in `out/run`.

    With `held_out` samples the best weights by their loss are kept, else the last. Raises ModelError for a
    checkpoint that is not PixelRefer-Lite: the other paradigm's scene tokens are not trained here.
    """
    network, tokenizer = load_checkpoint(find_checkpoint(init), device="cpu", dtype=torch.float32)
    if not network.config.is_lite:
        raise ModelError(
            "This checkpoint is PixelRefer with scene tokens",
            expected="PixelRefer-Lite, which sees objects only",
            do="name a Lite checkpoint",
        )
    for fault in data.faults[:20]:
        logger.warning("sample %d is left out: %s", fault.number, fault.reason)
    if data.faults:
        logger.warning(
            "%d of %d samples are left out", len(data.faults), len(data.faults) + len(data.samples)
        )
    batches = PublishedBatches(data, network.config, read_frames, read_picture, batch_size, settings.seed)
    settings = settings.model_copy(update={"parts": keep_matching(network, settings.parts)})
    judged = [] if held_out is None else list(held_out.samples)

    def evaluate(trained: nn.Module) -> Mapping[str, float]:
        losses: list[Tensor] = []
        for sample in judged:
            prepared = prepare_sample(load_sample(sample, read_frames, read_picture), network.config)
            losses.append(trained([prepared])["loss"])
        return {"loss": float(torch.stack(losses).mean())}

    report = train(
        AnswerModel(network.requires_grad_(True), tokenizer),
        batches,
        settings,
        out / "run",
        save_weights=save_into(network, tokenizer),
        evaluate=evaluate if judged else _count_nothing,
        resume=resume,
    )
    if report.reason != "signal":
        trained, _ = load_checkpoint(out / "run" / "best", device="cpu", dtype=torch.float32)
        save_checkpoint(out, trained, tokenizer)
    return report


def keep_matching(network: PixelRefer, parts: Sequence[PartRate]) -> tuple[PartRate, ...]:
    """The rules that some parameter of this network follows: Lite has no scene projector, say."""
    from fnmatch import fnmatchcase

    names = [f"network.{name}" for name, _ in network.named_parameters()]
    kept = []
    for rule in parts:
        matching = [name for name in names if fnmatchcase(name, rule.pattern)]
        if matching:
            kept.append(rule)
            names = [name for name in names if name not in matching]
    if not kept:
        raise InputError("No rule of learning rates fits this network", expected="one at least")
    return tuple(kept)


def save_into(network: PixelRefer, tokenizer: PromptTokenizer) -> SaveWeights:
    """Writes the state of a model that holds `network` as a checkpoint of its own."""

    def save(folder: Path, state: Mapping[str, Tensor]) -> None:
        copied = PixelRefer(network.config)
        copied.load_state_dict(
            {
                name.removeprefix("network."): tensor
                for name, tensor in state.items()
                if name.startswith("network.")
            }
        )
        save_checkpoint(folder, copied, tokenizer)

    return save


def _count_nothing(_: nn.Module) -> Mapping[str, float]:
    """Nothing is held out: the loop then keeps the last weights."""
    return {}
