"""`tubelet render`: made street and park scenes, with everything that is true of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import track

from tubelet.api.cli.app import AsJson, app, console, notice, notices, print_json
from tubelet.errors import InputError


@app.command("render")
def render_command(
    out: Annotated[Path, typer.Argument(help="The clip to write, a name ending in .mp4.", metavar="OUT.mp4")],
    seed: Annotated[
        int, typer.Option(help="Another number, another scene; the same one, the same scene.")
    ] = 0,
    seconds: Annotated[float, typer.Option(help="Length of the clip.", min=0.1, max=3600)] = 10.0,
    size: Annotated[
        str, typer.Option(help="Width and height in pixels, both even.", metavar="WxH")
    ] = "640x360",
    fps: Annotated[float, typer.Option(help="Frames a second.", min=1, max=120)] = 25.0,
    theme: Annotated[
        Literal["traffic", "park", "mixed"],
        typer.Option(help="Roads with vehicles, open places with people, dogs and things, or either."),
    ] = "mixed",
    objects: Annotated[int, typer.Option(help="Most objects at any one time.", min=1, max=40)] = 6,
    truth: Annotated[bool, typer.Option("--truth", help="Write what is true of the clip beside it.")] = False,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Camera poses that the bundled models never saw in training.")
    ] = False,
    clean: Annotated[bool, typer.Option("--clean", help="No noise, blur, rain or odd light.")] = False,
    as_json: AsJson = False,
) -> None:
    """Render a clip of moving vehicles, people, dogs and things, for demos and tests.

    With --truth, three more are written: OUT.json (objects with colours, actions, turns and boxes,
    relations, the camera), OUT-masks/ (a PNG of object numbers a frame, as in DAVIS) and OUT-boxes.txt
    (MOTChallenge). Either of the last two is what `tubelet eval track --truth` reads.

    Example: tubelet render street.mp4 --theme traffic --seconds 60 --truth
    """
    from tubelet.model.training.world.spec import ClipSpec
    from tubelet.model.training.world.truth_files import TruthRecorder
    from tubelet.workers.video_writer import VideoWriter

    width, height = _parse_size(size)
    if out.suffix.lower() != ".mp4":
        raise InputError(f"{out} does not end in .mp4", expected="a name such as street.mp4")
    spec = ClipSpec(
        num_frames=max(1, round(seconds * fps)),
        frame_rate=fps,
        width=width,
        height=height,
        split="held-out" if held_out else "train",
        theme=theme,
        max_objects=objects,
        degrade=not clean,
    )
    recorder = TruthRecorder(seed, spec)
    out.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(out, width=width, height=height, frame_rate=fps) as writer:
        frames = track(recorder.render(), "Rendering", total=spec.num_frames, console=notices, transient=True)
        for image in frames:
            writer.write(image)
    written: dict[str, str | int] = {"video": str(out)}
    if truth:
        places = {
            "document": out.with_suffix(".json"),
            "masks": out.with_name(f"{out.stem}-masks"),
            "boxes": out.with_name(f"{out.stem}-boxes.txt"),
        }
        written["objects"] = recorder.write(**places)
        written |= {name: str(path) for name, path in places.items()}
        if not written["objects"]:
            notice("Note:", "nothing comes into view in this clip; another --seed shows more.", "yellow")
    if as_json:
        print_json(written)
        return
    for name, value in written.items():
        console.print(f"{name.capitalize()}: {value}", highlight=False, soft_wrap=True)


def _parse_size(text: str) -> tuple[int, int]:
    """Width and height of WxH; raises InputError for anything else and for odd numbers."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()) or int(width) % 2 or int(height) % 2:
        raise InputError(f"--size is {text!r}", expected="two even numbers as in 640x360")
    return int(width), int(height)
