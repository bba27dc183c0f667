"""`tubelet export`: object timelines as files for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tubelet.api.cli.app import Config, Home, app, notices
from tubelet.index.exporting.files import write_export
from tubelet.index.exporting.object_filter import ObjectFilter
from tubelet.index.exporting.registry import EXPORTERS, find_format, stream_export
from tubelet.index.exporting.timelines import find_videos
from tubelet.orchestration.exporting import open_timelines
from tubelet.orchestration.resources import open_index
from tubelet.settings import load_settings

_FORMATS = "; ".join(f"{name}: {each.about}" for name, each in EXPORTERS.items())


class BoxFrames(StrEnum):
    """In which frames an object gets a box."""

    MEASURED = "measured"
    EVERY = "every"


@app.command("export")
def export_command(
    format_name: Annotated[
        str, typer.Option("--format", help=f"What to write. {_FORMATS}.", metavar="NAME")
    ] = "jsonl",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="File to write, or folder for formats that make several. [default: standard output]",
            metavar="PATH",
        ),
    ] = None,
    videos: Annotated[
        list[str] | None, typer.Option("--video", help="Only this video, by URI or id; may be repeated.")
    ] = None,
    start_s: Annotated[float | None, typer.Option(help="Only what is seen from this second on.")] = None,
    end_s: Annotated[float | None, typer.Option(help="Only what is seen before this second.")] = None,
    categories: Annotated[
        list[str] | None,
        typer.Option("--category", help="Only this measured category or a kind of it; may be repeated."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="The same, for what captions name as well; may be repeated."),
    ] = None,
    colours: Annotated[
        list[str] | None, typer.Option("--colour", help="Only this colour; may be repeated.")
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Only objects tracked so surely.")] = 0.0,
    frames: Annotated[
        BoxFrames | None,
        typer.Option(
            help="Boxes in the measured frames, or in every frame, interpolated. [default: the format's]",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Export timelines: what each object did, when and where.

    A file is written whole or not at all; what was there before stays until then.

    Example: [bold]tubelet export --format cvat --video lobby.mp4 --out lobby.xml[/]
    """
    settings = load_settings({"home": home}, config=config)
    chosen_format = find_format(format_name)
    within = ObjectFilter(
        start_s=start_s,
        end_s=end_s,
        categories=tuple(categories or ()),
        labels=tuple(labels or ()),
        colours=tuple(colours or ()),
        min_score=min_score,
    )
    store = open_index(settings)
    names = [str(Path(video).resolve()) if Path(video).is_file() else video for video in videos or ()]
    within = within.narrow(find_videos(store, names))
    every_frame = None if frames is None else frames is BoxFrames.EVERY
    timelines = open_timelines(store, settings, within, every_frame=every_frame)
    if out is None:
        _print_pieces(stream_export(timelines, chosen_format.name))
        return
    written = write_export(timelines, chosen_format.name, out)
    what = "1 file" if len(written) == 1 else f"{len(written)} files"
    notices.print(f"{what} written to {out}", highlight=False, soft_wrap=True, markup=False)


def _print_pieces(pieces: Iterable[str | bytes]) -> None:
    """Write to standard output; a reader that has had enough, such as `head`, ends the export quietly."""
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                sys.stdout.buffer.write(piece)
            else:
                sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
