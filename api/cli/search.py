"""`tubelet search`: find objects by a sentence."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, Home, app, console, format_time, print_json
from tubelet.errors import QueryError
from tubelet.index.export import hit_to_json
from tubelet.index.query_checks import read_query
from tubelet.index.structured_query import Query
from tubelet.orchestration.searching import search_index
from tubelet.records import SearchResult
from tubelet.settings import load_settings


@app.command("search")
def search_command(
    sentence: Annotated[str, typer.Argument(help='What to find, as in "red car turning left".')] = "",
    structured: Annotated[
        str, typer.Option(help="Read a structured query from this JSON file, or - for input.", metavar="FILE")
    ] = "",
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
    request = read_request(sentence, structured)
    result = search_index(request, limit=limit, min_score=min_score, settings=settings)
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
        folder = thumbnails or settings.home / "hits" / _slug(result.query)
        save_thumbnails(result, folder, replace=thumbnails is None)
        console.print(escape(f"Pictures: {folder}"), highlight=False, soft_wrap=True)


def read_request(sentence: str, structured: str) -> str | Query:
    """The sentence, or the structured query of a file or of the standard input. One of them must be given."""
    if bool(sentence) == bool(structured):
        raise QueryError(
            "A sentence and a structured query were given" if sentence else "Nothing was asked",
            expected='either a sentence, such as "red car turning left", or --structured FILE',
            do="give one of them",
        )
    if sentence:
        return sentence
    try:
        text = sys.stdin.read() if structured == "-" else Path(structured).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(
            f"The structured query {structured} cannot be read: {error}",
            expected="a file of JSON",
            do="correct the path",
        ) from error
    return read_query(text)


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
