"""How fast PixelRefer-Lite describes objects: one by one against batched, in the same run.

    python benchmarks/describe.py            what this machine can run
    python benchmarks/describe.py --objects 64 --frames 4

On the CPU it measures a small random model, and that batching changes no answer. On a GPU it also measures
the true 2B shape with random weights: captions a second, peak memory, and FLOP/s beside what a large matrix
product reaches on the same card. What cannot be run is said, never guessed.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from machine import print_table

from tubelet.model.pixelrefer import captioner as captioner_module
from tubelet.model.pixelrefer.captioner import PixelReferCaptioner, RegionRequest
from tubelet.model.pixelrefer.config import PUBLISHED_SHAPES, PixelReferConfig
from tubelet.model.pixelrefer.cost import measure_cost
from tubelet.model.pixelrefer.debug import DEBUG_CONFIG, make_debug_network, make_debug_tokenizer
from tubelet.model.pixelrefer.generate import Decoder
from tubelet.model.pixelrefer.network import PixelRefer, make_empty
from tubelet.model.pixelrefer.object_tokens import ObjectTokens

SMALL = dataclasses.replace(DEBUG_CONFIG, num_object_tokens=16, num_layers=8, width=64, mlp_width=176)
"""The debug model with a deeper decoder: in the published ones, too, it outweighs the encoder 4 to 1."""

NUM_NEW_TOKENS = 60
PROMPT = "<region>\nDescribe it."


def make_clip_requests(num_objects: int, num_frames: int) -> list[RegionRequest]:
    """Objects of 70 to 110 px wandering over the same frames of one 640 x 360 clip."""
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (360, 640, 3), dtype=np.uint8) for _ in range(num_frames)]
    requests = []
    for _ in range(num_objects):
        masks = []
        height, width = generator.integers(70, 110, size=2)
        for _ in range(num_frames):
            top, left = generator.integers(0, 360 - height), generator.integers(0, 640 - width)
            mask = np.zeros((360, 640), dtype=bool)
            mask[top : top + height, left : left + width] = True
            masks.append(mask)
        requests.append(RegionRequest.of(frames, masks, [0.5 * i for i in range(num_frames)], PROMPT))
    return requests


def make_captioner(network: PixelRefer) -> PixelReferCaptioner:
    """A captioner whose answers all have NUM_NEW_TOKENS tokens: random weights would end them at random."""
    captioner = PixelReferCaptioner(
        network, make_debug_tokenizer(), name="random@0", max_new_tokens=NUM_NEW_TOKENS
    )
    captioner._decoder = Decoder(network)
    return captioner


class StageClock:
    """Seconds spent in the stages of a request, waiting for the GPU after each."""

    STAGES = (
        (captioner_module, "prepare_views", "prepare pictures (CPU, summed over threads)"),
        (captioner_module, "encode_views", "vision, tokenizer, infusion"),
        (Decoder, "_prefill", "prefill"),
        (Decoder, "_grow", "decode steps"),
    )

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __enter__(self) -> StageClock:
        self._originals = [(owner, name, getattr(owner, name)) for owner, name, _ in self.STAGES]
        for (owner, name, label), (_, _, original) in zip(self.STAGES, self._originals, strict=True):
            setattr(owner, name, self._time(original, label))
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, original in self._originals:
            setattr(owner, name, original)

    def _time(self, run: Callable[..., Any], label: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = run(*args, **kwargs)
            synchronise()
            self.seconds[label] += time.perf_counter() - began
            return result

        return timed


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def time_run(run: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds and result."""
    synchronise()
    began = time.perf_counter()
    result = run()
    synchronise()
    return time.perf_counter() - began, result


def compare(
    title: str, captioner: PixelReferCaptioner, requests: Sequence[RegionRequest], num_alone: int
) -> tuple[float, float]:
    """Print captions a second one by one and batched; return the seconds an item of each."""
    captioner.describe(requests[:2])
    alone_s, alone = time_run(lambda: [captioner.describe([request])[0] for request in requests[:num_alone]])
    batch_s, batched = time_run(lambda: captioner.describe(requests))
    same = sum(one.token_ids == other.token_ids for one, other in zip(alone, batched, strict=False))
    alone_s, batch_s = alone_s / num_alone, batch_s / len(requests)
    print_table(
        title,
        ["", "ms an object", "objects a second"],
        [
            [f"one by one ({num_alone} objects)", f"{1000 * alone_s:.1f}", f"{1 / alone_s:.2f}"],
            [f"batched ({len(requests)} objects)", f"{1000 * batch_s:.1f}", f"{1 / batch_s:.2f}"],
            ["batched is faster by", "", f"{alone_s / batch_s:.2f} x"],
            ["same answers", "", f"{same} of {num_alone}"],
        ],
    )
    with StageClock() as clock:
        whole_s, _ = time_run(lambda: captioner.describe(requests))
    rows = [
        [label, f"{1000 * s / len(requests):.1f}", f"{s / whole_s:.0%}"] for label, s in clock.seconds.items()
    ]
    print_table(f"{title}: where a batch spends its time", ["stage", "ms an object", "of the whole"], rows)
    return alone_s, batch_s


def compare_stored(captioner: PixelReferCaptioner, requests: Sequence[RegionRequest]) -> None:
    """Print how many answers from stored tokens are those from the video."""
    fresh = captioner.describe(requests)
    rows = []
    for precision in ("float16", "int8"):
        packed = [answer.objects[0].to_bytes(precision) for answer in fresh]
        again = captioner.describe(
            [RegionRequest((ObjectTokens.from_bytes(part),), PROMPT) for part in packed]
        )
        same = sum(one.token_ids == other.token_ids for one, other in zip(fresh, again, strict=True))
        first = sum(one.token_ids[:8] == other.token_ids[:8] for one, other in zip(fresh, again, strict=True))
        rows.append(
            [precision, f"{len(packed[0]) / 1000:.1f}", f"{same} of {len(fresh)}", f"{first} of {len(fresh)}"]
        )
    columns = ["stored as", "kB an object", f"same {NUM_NEW_TOKENS} tokens", "same first 8 tokens"]
    print_table("Answers from stored tokens (random weights: every token is a close call)", columns, rows)


def measure_gpu(config: PixelReferConfig, num_objects: int, num_frames: int) -> None:
    """The true shape in bfloat16 with random weights."""
    device = torch.device("cuda")
    network = make_empty(config, device)
    weights = {
        name: torch.randn(weight.shape, dtype=torch.bfloat16, device=device) * 0.02
        for name, weight in network.state_dict().items()
    }
    network.load_state_dict(weights, assign=True)
    del weights
    weight_bytes = torch.cuda.memory_allocated()
    captioner = make_captioner(network)
    requests = make_clip_requests(num_objects, num_frames)
    torch.cuda.reset_peak_memory_stats()
    _, batch_s = compare(
        "PixelRefer-Lite-2B shape, random weights", captioner, requests, min(16, num_objects)
    )
    flops = measure_cost(config, num_frames=num_frames, num_new_tokens=NUM_NEW_TOKENS).total(num_objects)
    card = measure_matmul_rate(device)
    print_table(
        "Memory and arithmetic",
        ["", ""],
        [
            ["weights, GB", f"{weight_bytes / 1e9:.2f}"],
            ["peak, GB", f"{torch.cuda.max_memory_allocated() / 1e9:.2f}"],
            ["achieved TFLOP/s", f"{flops / batch_s / 1e12:.1f}"],
            ["a large bfloat16 product on this card, TFLOP/s", f"{card / 1e12:.1f}"],
            ["share of the card", f"{flops / batch_s / card:.1%}"],
        ],
    )


def measure_matmul_rate(device: torch.device, size: int = 8192, repeats: int = 20) -> float:
    """FLOP/s of a square bfloat16 product: what the card gives to the friendliest code."""
    factor = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    factor @ factor
    seconds, _ = time_run(lambda: [factor @ factor for _ in range(repeats)])
    return 2 * size**3 * repeats / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--objects", type=int, default=64, help="objects of one clip")
    parser.add_argument("--frames", type=int, default=4, help="frames of an object on the CPU; 8 on a GPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    captioner = make_captioner(make_debug_network(config=SMALL))
    requests = make_clip_requests(arguments.objects, arguments.frames)
    title = f"Small random model on one CPU thread, {arguments.frames} frames, {NUM_NEW_TOKENS} tokens"
    compare(title, captioner, requests, arguments.objects)
    compare_stored(captioner, requests)
    if torch.cuda.is_available():
        measure_gpu(PUBLISHED_SHAPES["PixelRefer-Lite-2B"], arguments.objects, 8)
    else:
        print("Not run: the true 2B shape. It needs a CUDA device, and this machine has none.")


if __name__ == "__main__":
    main()
