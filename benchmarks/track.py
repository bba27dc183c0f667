"""SAM 2 tracking, measured: time by number of objects, memory over half an hour, accuracy, published shapes.

python benchmarks/track.py objects                            # against transformers' loop over the objects
python benchmarks/track.py parts                              # what frames and key frames cost here
python benchmarks/track.py memory --minutes 30                # a clip, looped through the whole tracker
python benchmarks/track.py davis FOLDER [--checkpoint NAME]   # J&F; without a checkpoint, only `motion`
python benchmarks/track.py shapes                             # published sizes at 1024 px; wants a GPU

FOLDER holds JPEGImages/480p/NAME and Annotations/480p/NAME, as DAVIS does. A checkpoint is a folder or a name
such as sam2.1-hiera-small, pulled before.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import psutil
import torch
from machine import print_table
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from tubelet.model.frame import Frame, Image
from tubelet.model.masks import decode_mask, encode_mask
from tubelet.model.tracking.base import Tracker
from tubelet.model.tracking.measures import measure_masks
from tubelet.model.tracking.motion import MotionTracker
from tubelet.model.tracking.sam2.config import make_bundled_config, make_published_config, make_small_config
from tubelet.model.tracking.sam2.discovery import DiscoverySettings, discover
from tubelet.model.tracking.sam2.engine import Sam2Session
from tubelet.model.tracking.sam2.maps import IMAGE_MEAN, IMAGE_STD
from tubelet.model.tracking.sam2.network import Sam2Network, TransformersNetwork
from tubelet.model.tracking.sam2.prompts import MaskPrompt
from tubelet.model.tracking.sam2.settings import TrackerSettings
from tubelet.model.tracking.sam2.tracker import Sam2Tracker, make_tracker
from tubelet.model.tracking.truth import read_mask_folder
from tubelet.orchestration.evaluation.following import load_follower
from tubelet.records import Rle

WARM_UP_FRAMES = 17
"""After so many frames every memory has its full length."""


def make_clip(num_frames: int, *, height: int = 180, width: int = 320) -> list[Image]:
    """Coloured squares that go round before noise, so that a clip can be repeated without a jump."""
    generator = np.random.default_rng(0)
    ground = generator.integers(70, 130, (height, width, 3), dtype=np.uint8)
    clip = []
    for place in range(num_frames):
        image = ground.copy()
        for thing in range(4):
            angle = 2 * np.pi * (place / num_frames + thing / 4)
            x, y = int(width * (0.5 + 0.35 * np.cos(angle))), int(height * (0.5 + 0.35 * np.sin(angle)))
            image[y - 14 : y + 14, x - 18 : x + 18] = (230 - 60 * thing, 40 + 60 * thing, 40 + 50 * thing)
        clip.append(image)
    return clip


def make_masks(count: int, height: int, width: int) -> list[np.ndarray]:
    """As many squares, spread over the frame."""
    masks = []
    for place in range(count):
        mask = np.zeros((height, width), bool)
        top, left = (place * 37) % (height - 30), (place * 61) % (width - 30)
        mask[top : top + 28, left : left + 28] = True
        masks.append(mask)
    return masks


def time_engine(network: Sam2Network, clip: list[Image], num_objects: int) -> float:
    """Median seconds of a frame once all memories are full: following, and masks on the network's grid."""
    session = Sam2Session(network)
    session.advance(clip[0])
    masks = make_masks(num_objects, *clip[0].shape[:2])
    session.add({number: MaskPrompt(mask) for number, mask in enumerate(masks)})
    return _time_steps(clip, session.advance)


def time_library(model: Sam2VideoModel, clip: list[Image], num_objects: int, *, together: bool) -> float:
    """The same through `Sam2VideoModel`: called once an object, or once for all, which loops inside.

    Called once for all it computes image features once a frame.
    """
    side = model.config.image_size
    masks = make_masks(num_objects, *clip[0].shape[:2])
    groups = [masks] if together else [[mask] for mask in masks]
    sessions = [_open_library_session(model, group) for group in groups]
    frame = 0

    def step(image: Image) -> None:
        nonlocal frame
        pixels = _prepare(image, side)
        for session in sessions:
            model(inference_session=session, frame=pixels, frame_idx=frame)
        frame += 1

    step(clip[0])
    return _time_steps(clip, step)


def _open_library_session(model: Sam2VideoModel, masks: list[np.ndarray]) -> Sam2VideoInferenceSession:
    height, width = masks[0].shape
    side = model.config.image_size
    session = Sam2VideoInferenceSession(video=None, video_height=height, video_width=width, dtype=model.dtype)
    for number, mask in enumerate(masks):
        large = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None].float(), (side, side))
        session.add_mask_inputs(session.obj_id_to_idx(number), 0, large)
        session.obj_with_new_inputs.append(number)
    return session


def _prepare(image: Image, side: int) -> torch.Tensor:
    pixels = torch.from_numpy(cv2.resize(image, (side, side))).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return (pixels - mean) / std


def _time_steps(clip: list[Image], step: Callable[[Image], object]) -> float:
    """Median over the frames after the warm-up; on a processor, its own time, so that others do not count."""
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    seconds = []
    for place, image in enumerate(clip[1:]):
        started = clock()
        step(image)
        if on_gpu:
            torch.cuda.synchronize()
        if place >= WARM_UP_FRAMES:
            seconds.append(clock() - started)
    return statistics.median(seconds)


def compare_objects(num_frames: int) -> None:
    torch.manual_seed(0)
    model = Sam2VideoModel(make_small_config()).eval()
    clip = make_clip(WARM_UP_FRAMES + num_frames)
    rows = []
    first: tuple[float, ...] = ()
    for count in (1, 2, 4, 8, 16):
        seconds = (
            time_engine(TransformersNetwork(model), clip, count),
            time_library(model, clip, count, together=True),
            time_library(model, clip, count, together=False),
        )
        first = first or seconds
        growth = [(now - then) / max(1, count - 1) for now, then in zip(seconds, first, strict=True)]
        rows.append([str(count), *(f"{1000 * value:.0f}" for value in (*seconds, *growth))])
    print_table(
        f"Processor ms a frame and ms for each further object, 256 px, {torch.get_num_threads()} thread(s)",
        [
            "objects",
            "engine",
            "one session",
            "once an object",
            "engine +",
            "one session +",
            "once an object +",
        ],
        rows,
    )


def time_parts(num_frames: int) -> None:
    """What a frame costs with the shape that ships, and what the search of a key frame adds."""
    torch.manual_seed(0)
    network = TransformersNetwork(Sam2VideoModel(make_bundled_config()).eval())
    clip = make_clip(WARM_UP_FRAMES + num_frames)
    rows = [[f"following {count}", time_engine(network, clip, count)] for count in (1, 4, 8)]
    session = Sam2Session(network)
    session.advance(clip[0])
    for name, settings, turn in (
        ("searching the whole grid, 16 x 16", DiscoverySettings(), None),
        ("searching it in a turn", DiscoverySettings(), 0),
        ("searching a grid of 12 x 12 in a turn", DiscoverySettings(points_per_side=12), 0),
    ):
        seconds = _time_calls(lambda settings=settings, turn=turn: discover(session, settings, turn=turn))
        rows.append([name, seconds])
    print_table(
        f"Processor ms, the shape that ships, random weights, {torch.get_num_threads()} thread(s)",
        ["what", "ms"],
        [[name, f"{1000 * seconds:.0f}"] for name, seconds in rows],
    )


def _time_calls(call: Callable[[], object], num: int = 5) -> float:
    call()
    seconds = []
    for _ in range(num):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def watch_memory(minutes: int, rate: float) -> None:
    """Run the whole tracker over a looped clip; report resident memory by minute of video."""
    torch.manual_seed(0)
    model = Sam2VideoModel(make_small_config(image_px=128, embed=16, num_memory_layers=1, feed_forward=64))
    tracker = Sam2Tracker(
        TransformersNetwork(model),
        settings=TrackerSettings(
            max_num_objects=8,
            max_absent_s=2.0,
            discovery=DiscoverySettings(points_per_side=4, min_iou=0.0, min_stability=0.0),
        ),
    )
    process = psutil.Process()
    clip = make_clip(round(20 * rate), height=90, width=160)
    resident: dict[int, list[float]] = {}
    seen: set[int] = set()
    started = time.monotonic()
    for tracked in tracker.track(_loop(clip, minutes, rate), []):
        seen.update(item.number for item in tracked.objects)
        minute = int(tracked.frame.time_s // 60) + 1
        resident.setdefault(minute, []).append(process.memory_info().rss / 2**20)
    rows = [
        [str(minute), f"{statistics.mean(values):.0f}"]
        for minute, values in resident.items()
        if minute in (1, 2, 5) or minute % 10 == 0 or minute == minutes
    ]
    print_table(
        f"{minutes} min at {rate:g} frames/s, {len(seen)} objects, {time.monotonic() - started:.0f} s",
        ["minute of the video", "mean resident memory, MiB"],
        rows,
    )


def _loop(clip: list[Image], minutes: int, rate: float) -> Iterator[Frame]:
    for place in range(round(60 * minutes * rate)):
        image = clip[place % len(clip)]
        yield Frame(place / rate, image, image.shape[1], image.shape[0])


def evaluate(folder: Path, checkpoint: str | None) -> None:
    """J&F of one DAVIS video: found by the tracker itself, and with the first mask given."""
    (pictures,) = (folder / "JPEGImages" / "480p").iterdir()
    truth = read_mask_folder(folder / "Annotations" / "480p" / pictures.name)
    frames = []
    for place, file in enumerate(sorted(pictures.glob("*.jpg"))):
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB).astype(np.uint8)
        frames.append(Frame(place / 24, image, image.shape[1], image.shape[0]))
    rows = [_score("motion", "none", truth, _run_tracker(MotionTracker(), frames))]
    if checkpoint is not None:
        rows.append(_score(checkpoint, "none", truth, _run_tracker(make_tracker(checkpoint), frames)))
        given = _run_given(checkpoint, frames, truth[0])
        rows.append(_score(checkpoint, "first mask", truth, given))
    print_table(
        f"{pictures.name}, {len(frames)} frames",
        ["tracker", "given", "J&F", "J", "F", "seconds a frame"],
        rows,
    )


Result = tuple[list[dict[int, Rle]], float]


def _run_tracker(tracker: Tracker, frames: list[Frame]) -> Result:
    started = time.perf_counter()
    result = [
        {item.number: item.observation.mask for item in tracked.objects if item.observation.mask is not None}
        for tracked in tracker.track(frames, frames[:: max(1, len(frames) // 20)])
    ]
    height, width = frames[0].image.shape[:2]
    return [_enlarge(found, height, width) for found in result], (time.perf_counter() - started) / len(frames)


def _run_given(checkpoint: str, frames: list[Frame], first: dict[int, Rle]) -> Result:
    follower = load_follower(checkpoint)
    started = time.perf_counter()
    prompts = {0: {number: decode_mask(mask) for number, mask in first.items()}}
    return follower.follow(frames, [], prompts), (time.perf_counter() - started) / len(frames)


def _enlarge(found: dict[int, Rle], height: int, width: int) -> dict[int, Rle]:
    """Masks on the grid of the truth."""
    return {
        number: mask
        if (mask.height, mask.width) == (height, width)
        else encode_mask(
            cv2.resize(decode_mask(mask).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        )
        for number, mask in found.items()
    }


def _score(tracker: str, given: str, truth: list[dict[int, Rle]], result: Result) -> list[str]:
    scores = measure_masks(truth, result[0], skip_ends=given != "none")
    values = (scores.both, scores.region, scores.contour, result[1])
    return [tracker, given, *(f"{value:.3f}" for value in values)]


def time_shapes(sizes: list[str], counts: list[int], image_px: int, num_frames: int) -> None:
    """Frames a second and memory of the published shapes, random weights."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    clip = make_clip(WARM_UP_FRAMES + num_frames, height=720, width=1280)
    rows = []
    for size in sizes:
        torch.manual_seed(0)
        model = Sam2VideoModel(make_published_config(size, image_px=image_px)).to(device=device, dtype=dtype)
        network = TransformersNetwork(model)
        for count in counts:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = time_engine(network, clip, count)
            memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
            rows.append([size, str(count), f"{1 / seconds:.2f}", f"{memory:.1f}"])
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    print_table(
        f"Published shapes at {image_px} px, random weights, {dtype}, {name}",
        ["size", "objects", "frames/s", "GPU memory, GiB"],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=0, help="processor threads; 0 leaves torch's choice")
    what = parser.add_subparsers(dest="what", required=True)
    objects = what.add_parser("objects")
    objects.add_argument("--frames", type=int, default=12)
    parts = what.add_parser("parts")
    parts.add_argument("--frames", type=int, default=12)
    memory = what.add_parser("memory")
    memory.add_argument("--minutes", type=int, default=30)
    memory.add_argument("--rate", type=float, default=6.0)
    davis = what.add_parser("davis")
    davis.add_argument("folder", type=Path)
    davis.add_argument("--checkpoint")
    shapes = what.add_parser("shapes")
    shapes.add_argument("--sizes", nargs="+", default=["small", "large"])
    shapes.add_argument("--objects", type=int, nargs="+", default=[1, 8, 32])
    shapes.add_argument("--image-px", type=int, default=1024)
    shapes.add_argument("--frames", type=int, default=12)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    with torch.inference_mode():
        if options.what == "objects":
            compare_objects(options.frames)
        elif options.what == "parts":
            time_parts(options.frames)
        elif options.what == "memory":
            watch_memory(options.minutes, options.rate)
        elif options.what == "davis":
            evaluate(options.folder, options.checkpoint)
        else:
            time_shapes(options.sizes, options.objects, options.image_px, options.frames)


if __name__ == "__main__":
    main()
