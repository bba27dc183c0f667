"""`tubelet describe`: describe one object of one video, without an index."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tubelet.api.cli.app import AsJson, Config, Home, app, console, print_json
from tubelet.errors import InputError
from tubelet.orchestration.describing import describe_region
from tubelet.records import Box
from tubelet.settings import load_settings


@app.command("describe")
def describe_command(
    video: Annotated[str, typer.Argument(help="A video: path or s3:// address.", metavar="VIDEO")],
    box: Annotated[str, typer.Option("--box", help="The object, in pixels.", metavar="x0,y0,x1,y1")],
    at_s: Annotated[float, typer.Option("--at", help="When it is there.", metavar="SECONDS", min=0)],
    question: Annotated[str | None, typer.Option(help="Ask this instead of describing.")] = None,
    captioner: Annotated[str | None, typer.Option(help="What describes it.")] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Describe the object inside a box at a moment of a video.

    Example: [bold]tubelet describe street.mp4 --box 380,120,460,260 --at 16.0[/]
    """
    settings = load_settings({"home": home, "captioner": captioner}, config=config)
    with tempfile.TemporaryDirectory(prefix="tubelet-describe-") as temporary:
        answer = describe_region(
            video, _parse_box(box), at_s, question=question, settings=settings, folder=Path(temporary)
        )
    if as_json:
        print_json(asdict(answer))
    else:
        console.print(answer.text, highlight=False, soft_wrap=True, markup=False)


def _parse_box(text: str) -> Box:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        x0 = y0 = x1 = y1 = float("nan")
    if not (x0 < x1 and y0 < y1):
        raise InputError(
            f"--box is {text!r}",
            expected="four numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1, in pixels",
            do="correct the box",
        )
    return Box(x0, y0, x1, y1)
