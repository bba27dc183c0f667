"""`tubelet describe`: describe one object of one video, without an index."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tubelet.api.cli.app import AsJson, Config, Home, app, console, print_json
from tubelet.errors import InputError
from tubelet.model.marking import parse_box
from tubelet.orchestration.describing import describe_region
from tubelet.settings import load_settings


@app.command("describe")
def describe_command(
    video: Annotated[str, typer.Argument(help="A video: path or s3:// address.", metavar="VIDEO")],
    at_s: Annotated[float, typer.Option("--at", help="When it is there.", metavar="SECONDS", min=0)],
    box: Annotated[
        str | None, typer.Option("--box", help="The object's box, in pixels.", metavar="x0,y0,x1,y1")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", help="Or its mask: a PNG of the frame's size, not black on it.", metavar="FILE"
        ),
    ] = None,
    question: Annotated[str | None, typer.Option(help="Ask this instead of describing.")] = None,
    captioner: Annotated[str | None, typer.Option(help="What describes it.")] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Describe the object inside a box, or under a mask, at a moment of a video.

    Example: [bold]tubelet describe street.mp4 --box 380,120,460,260 --at 16.0[/]
    """
    settings = load_settings({"home": home, "captioner": captioner}, config=config)
    if (box is None) == (mask is None):
        raise InputError(
            "The object is not marked, or marked twice",
            expected="either --box or --mask",
            do="give one of them",
        )
    region = parse_box(box) if box is not None else mask
    assert region is not None
    with tempfile.TemporaryDirectory(prefix="tubelet-describe-") as temporary:
        answer = describe_region(
            video, region, at_s, question=question, settings=settings, folder=Path(temporary)
        )
    if as_json:
        print_json(asdict(answer))
    else:
        console.print(answer.text, highlight=False, soft_wrap=True, markup=False)
