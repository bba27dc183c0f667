"""`tubelet export`: object timelines as files for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tubelet.api.cli.app import Config, Home, app, notices
from tubelet.index.export import EXPORTERS, export_timelines
from tubelet.orchestration.resources import open_index
from tubelet.settings import load_settings


@app.command("export")
def export_command(
    format_name: Annotated[
        str, typer.Option("--format", help=f"One of: {', '.join(sorted(EXPORTERS))}.")
    ] = "jsonl",
    videos: Annotated[
        list[str] | None, typer.Option("--video", help="Only this video, by URI or id; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. [default: standard output]", metavar="FILE")
    ] = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Export timelines: what each object did, when and where.

    Example: [bold]tubelet export --format jsonl --video lobby.mp4 > lobby.jsonl[/]
    """
    settings = load_settings({"home": home}, config=config)
    chosen = [str(Path(video).resolve()) if Path(video).is_file() else video for video in videos or ()]
    lines = export_timelines(open_index(settings), format_name, chosen)
    if out is None:
        for line in lines:
            sys.stdout.write(line)
        return
    num_lines = 0
    with out.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line)
            num_lines += 1
    notices.print(f"{num_lines} objects written to {out}", highlight=False, soft_wrap=True, markup=False)
