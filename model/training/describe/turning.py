"""Teaching which way a path turns and what stands: traced clips, seen as a tracker would see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tubelet.errors import InputError
from tubelet.model.describing.turning import WAYS, TurnReader, Way
from tubelet.model.training.descent import descend
from tubelet.model.training.describe.path_noise import spoil_boxes, spoil_camera
from tubelet.model.training.describe.paths import ObjectPath, TraceClip, cut_path
from tubelet.model.training.describe.pool import PoolPlan
from tubelet.model.training.describe.rendered import MIN_MOVING_VIEWS
from tubelet.model.training.grammar.facts import MomentFacts, mirror_moment, tell_moment
from tubelet.model.training.world.tracing import TracedClip
from tubelet.model.trajectory import measure_motion
from tubelet.model.trajectory.shape import tell_shape
from tubelet.records import Box, CameraStep, Observation

MIN_STRETCH_S = 1.2
NUM_SPOILT = 2
"""So many times each stretch is seen with other errors."""

WIDTH, NUM_EPOCHS, BATCH, RATE, DROPOUT = 256, 30, 128, 4e-3, 0.2
NOISE = 0.02
"""Added to numbers of equal spread, so that no path is learnt by heart."""

Examples = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Numbers (N, F), as shapes are, and the places of their ways in WAYS (N,)."""

Layers = tuple[NDArray[np.float32], ...]


def gather_turns(plan: PoolPlan, trace: TraceClip) -> Examples:
    """Every object's whole path and a stretch of it, each spoilt as a tracker would, as it is and mirrored.

    Left out are stretches of which nobody can say how they turn. Raises InputError where nothing is left.
    """
    shapes, ways = [], []
    for number in range(plan.num_clips):
        seed = plan.first_seed + number
        clip = trace(seed, plan.specs[number % len(plan.specs)])
        generator = np.random.default_rng([seed, 0x5475726E])
        for path in _list_paths(clip):
            first_s, last_s = float(path.times_s[0]), float(path.times_s[-1])
            for stretch in draw_stretches(first_s, last_s, generator):
                for shape_F, way in _tell_stretch(path, stretch, clip, generator):
                    shapes.append(shape_F)
                    ways.append(WAYS.index(way))
    if not shapes:
        raise InputError("No object of the clips moves for long enough", expected="some", do="trace more")
    return np.array(shapes, np.float32), np.array(ways, np.int64)


def fit_turns(examples: Examples, *, seed: int) -> TurnReader:
    """A perceptron of three layers; the same examples and seed give the same one."""
    return TurnReader(*fit_ways(examples, (WIDTH, WIDTH), seed=seed))


def fit_ways(examples: Examples, widths: Sequence[int], *, seed: int) -> tuple[Layers, Layers]:
    """Weights (numbers in, numbers out) and biases of a perceptron from numbers to WAYS, hidden `widths`."""
    numbers_NF, ways_N = examples
    mean_F, spread_F = numbers_NF.mean(axis=0), np.maximum(numbers_NF.std(axis=0), 1e-3)
    even_NF = torch.from_numpy((numbers_NF - mean_F) / spread_F)
    wanted_N = torch.from_numpy(ways_N)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = pairwise((numbers_NF.shape[1], *widths, len(WAYS)))
        layers = nn.ModuleList(nn.Linear(*size) for size in sizes)
        optimizer = torch.optim.AdamW(layers.parameters(), lr=RATE, weight_decay=0.02)
        num_steps = NUM_EPOCHS * max(1, len(even_NF) // BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=num_steps)
        batches = draw_batches(len(even_NF), num_steps, BATCH)

        def measure_loss() -> Tensor:
            chosen = next(batches)
            seen = even_NF[chosen]
            numbers = seen + NOISE * torch.randn(seen.shape)
            for place, layer in enumerate(layers):
                numbers = layer(F.dropout(F.relu(numbers), DROPOUT) if place else numbers)
            return F.cross_entropy(numbers, wanted_N[chosen], label_smoothing=0.03)

        descend(measure_loss, optimizer, schedule, num_steps=num_steps, name="ways")
    weights = [layer.weight.detach().numpy().T for layer in layers]  # type: ignore[operator]
    biases = [layer.bias.detach().numpy() for layer in layers]  # type: ignore[operator]
    weights[0] = weights[0] / spread_F[:, None]
    biases[0] = biases[0] - mean_F @ weights[0]
    return tuple(weights), tuple(biases)


def draw_batches(num: int, num_steps: int, size: int) -> Iterator[Tensor]:
    """Places of so many batches of `num` examples, each example as often."""
    order = torch.empty(0, dtype=torch.int64)
    size = min(size, num)
    for _ in range(num_steps):
        if len(order) < size:
            order = torch.randperm(num)
        yield order[:size]
        order = order[size:]


def _tell_stretch(
    path: ObjectPath, stretch: tuple[float, float], clip: TracedClip, generator: np.random.Generator
) -> Iterator[tuple[NDArray[np.float32], Way]]:
    """The shapes of a stretch with errors of several draws, and what way it is; none where nobody can say."""
    start_s, end_s = stretch
    facts = tell_moment(path, path.truth, start_s, end_s)
    within = (path.times_s >= start_s) & (path.times_s <= end_s)
    if facts is None or within.sum() < MIN_MOVING_VIEWS:
        return
    for _ in range(NUM_SPOILT):
        boxes_N4 = spoil_boxes(path.boxes_N4[within], clip.frame_size, generator)
        seen = replace(clip, camera=spoil_camera(clip.camera, clip.frame_size, generator))
        for mirrored, told in ((False, facts), (True, mirror_moment(facts))):
            yield _tell(path.times_s[within], boxes_N4, seen, mirrored=mirrored), name_way(told)


def _list_paths(clip: TracedClip) -> Iterator[ObjectPath]:
    """The paths of all objects that are seen for long enough."""
    times_s = np.array(clip.times_s)
    for truth in clip.objects:
        boxes_T4 = clip.boxes[truth.number].astype(np.float32)
        path = cut_path(truth, clip.frame_size, times_s, boxes_T4)
        if len(path.times_s) >= MIN_MOVING_VIEWS:
            yield path


def name_way(facts: MomentFacts) -> Way:
    """What is to be read of a moment."""
    return "still" if set(facts.actions) == {"parked"} else facts.turn


def draw_stretches(
    first_s: float, last_s: float, generator: np.random.Generator, num_parts: int = 1
) -> list[tuple[float, float]]:
    """From the first to the last time, and parts of it where that is long enough."""
    stretches = [(first_s, last_s)]
    for _ in range(num_parts if last_s - first_s > MIN_STRETCH_S else 0):
        length_s = generator.uniform(MIN_STRETCH_S, last_s - first_s)
        start_s = generator.uniform(first_s, last_s - length_s)
        stretches.append((start_s, start_s + length_s))
    return stretches


def _tell(
    times_s: NDArray[np.float64], boxes_N4: NDArray[np.float64], clip: TracedClip, *, mirrored: bool
) -> NDArray[np.float32]:
    width, height = clip.frame_size
    camera = clip.camera
    if mirrored:
        boxes_N4 = np.column_stack(
            [width - boxes_N4[:, 2], boxes_N4[:, 1], width - boxes_N4[:, 0], boxes_N4[:, 3]]
        )
        camera = tuple(_mirror_step(step, width) for step in camera)
    observations = [
        Observation(float(time_s), Box(*box), 1.0)
        for time_s, box in zip(times_s, boxes_N4.tolist(), strict=True)
    ]
    motion = measure_motion(observations, camera, frame_width=width, frame_height=height)
    return tell_shape(observations, camera, motion, frame_width=width, frame_height=height)


def _mirror_step(step: CameraStep, width: int) -> CameraStep:
    """The step of a camera whose picture is mirrored: x becomes width - x, before and after."""
    a, b, c, d, e, f = step.matrix
    return replace(step, matrix=(a, -b, width - c - a * width, -d, e, f + d * width))
