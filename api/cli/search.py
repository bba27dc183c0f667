"""`tubelet search`: find objects by a sentence."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

import tubelet
from tubelet.api.cli.app import AsJson, Config, Home, app, console, format_time, print_json
from tubelet.index.export import hit_to_json
from tubelet.records import SearchResult
from tubelet.settings import load_settings


@app.command("search")
def search_command(
    sentence: Annotated[str, typer.Argument(help='What to find, as in "red car turning left".')],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many objects.")] = 10,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Only hits at least so good.")] = 0.0,
    thumbnails: Annotated[
        Path | None,
        typer.Option(help="Folder for pictures of the hits. [default: HOME/hits]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Find objects by a sentence: colour, kind, motion, place and time are understood.

    Each hit says why it matched. Pictures of the hits, with a box on the object, are saved to a folder.

    Example: [bold]tubelet search "red car turning left"[/]
    """
    settings = load_settings({"home": home}, config=config)
    result = tubelet.search(sentence, limit=limit, min_score=min_score, settings=settings)
    if as_json:
        print_json(
            {
                "query": result.query,
                "parsed": result.parsed,
                "hits": [hit_to_json(hit) for hit in result.hits],
            }
        )
        if thumbnails is not None:
            save_thumbnails(result, thumbnails)
        return
    print_hits(result)
    if result.hits:
        folder = thumbnails or settings.home / "hits" / _slug(sentence)
        save_thumbnails(result, folder, replace=thumbnails is None)
        console.print(escape(f"Pictures: {folder}"), highlight=False, soft_wrap=True)


def print_hits(result: SearchResult) -> None:
    """Print the hits as a table, best first."""
    if not result.hits:
        console.print("Nothing found. Index something first, or ask for less.")
        return
    table = Table(title=result.query, title_justify="left", show_lines=True, box=box.HORIZONTALS)
    table.add_column("#", justify="right")
    table.add_column("score", justify="right")
    table.add_column("object, when, where", no_wrap=True)
    table.add_column("what, and [dim]why[/]")
    for place, hit in enumerate(result.hits, 1):
        table.add_row(
            str(place),
            f"{hit.score:.2f}",
            f"[bold]{hit.object_id}[/]\n{format_time(hit.start_s)} to {format_time(hit.end_s)}\n"
            f"{escape(Path(hit.uri).name)}",
            f"{escape(hit.caption)}\n[dim]{escape('; '.join(hit.why))}[/]",
        )
    console.print(table)


def save_thumbnails(result: SearchResult, folder: Path, *, replace: bool = False) -> None:
    """Write one JPEG a hit, named by rank and object; `replace` empties our own folder first."""
    if replace:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for place, hit in enumerate(result.hits, 1):
        if hit.thumbnail:
            (folder / f"{place:02d}-{hit.object_id}.jpg").write_bytes(hit.thumbnail)


def _slug(sentence: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", sentence.lower()).strip("-")[:60] or "query"
