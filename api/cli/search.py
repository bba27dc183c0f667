"""`tubelet search`: find objects by a sentence."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, Home, Server, app, console, format_time, print_json
from tubelet.api.cli.asking import (
    Colours,
    Drawn,
    End,
    Labels,
    RegionHow,
    Start,
    Structured,
    Videos,
    make_limits,
    read_request,
)
from tubelet.api.cli.remote import json_to_result, open_client
from tubelet.errors import InputError, QueryError
from tubelet.index.query import parse_query
from tubelet.index.searching.results import result_to_json
from tubelet.index.searching.verifying import DEFAULT_SECONDS, MAX_VERIFIED
from tubelet.index.structured_query import Query, SearchFilter
from tubelet.model.marking import parse_box
from tubelet.orchestration.looking import look_at_picture
from tubelet.orchestration.searching import Verification, search_index
from tubelet.records import SearchResult
from tubelet.settings import load_settings


@app.command("search")
def search_command(
    sentence: Annotated[str, typer.Argument(help='What to find, as in "red car turning left".')] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many objects.")] = 10,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Only hits at least so good.")] = 0.0,
    cursor: Annotated[str, typer.Option(help="The page after this cursor.", metavar="CURSOR")] = "",
    like: Annotated[
        str, typer.Option(help="Objects that look like this one, by its id.", metavar="OBJECT")
    ] = "",
    image: Annotated[
        Path | None, typer.Option(help="Objects that look like what this picture shows.", metavar="FILE")
    ] = None,
    crop: Annotated[
        str, typer.Option(help="Where in the picture it is, in pixels.", metavar="x0,y0,x1,y1")
    ] = "",
    mask: Annotated[
        Path | None,
        typer.Option(help="Or its mask: a PNG of the picture's size, not black on it.", metavar="FILE"),
    ] = None,
    region: Drawn = "",
    region_how: RegionHow = "centre",
    start: Start = "",
    end: End = "",
    videos: Videos = None,
    labels: Labels = None,
    colours: Colours = None,
    structured: Structured = "",
    verify: Annotated[
        int, typer.Option(min=0, max=MAX_VERIFIED, help="Let the captioner check so many of the best hits.")
    ] = 0,
    verify_seconds: Annotated[
        float, typer.Option(min=0.1, help="Begin no check after so many seconds.")
    ] = DEFAULT_SECONDS,
    thumbnails: Annotated[
        Path | None,
        typer.Option(help="Folder for pictures of the hits. [default: HOME/hits]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    home: Home = None,
    config: Config = None,
) -> None:
    """Find objects by a sentence, by how they look, or by time and place alone.

    Colour, kind, motion, order, place, time and other objects beside them are understood. Each hit says why
    it matched. Pictures of the hits, with a box on the object, are saved to a folder.

    Example: [bold]tubelet search "red car turning left"[/]
    """
    settings = load_settings({"home": home, "server": server}, config=config)
    query = read_request(sentence, structured, start=start, end=end, region=region, how=region_how)
    within = make_limits(videos, labels, colours)
    if like:
        query = dataclasses.replace(query, like=like)
    if image is None and (crop or mask is not None):
        raise InputError("A crop or mask is given without a picture", expected="--image FILE", do="name it")
    place = parse_box(crop) if crop else mask
    if image is not None and not settings.server:
        query = dataclasses.replace(query, object_vector=look_at_picture(image, place, settings))
    if query == Query() and within == SearchFilter() and image is None:
        raise QueryError(
            "Nothing was asked",
            expected='a sentence, such as "red car turning left", or one of the options',
            do="say what to look for",
        )
    if settings.server:
        if isinstance(place, Path) or thumbnails is not None:
            raise InputError(
                "--mask or --thumbnails is given with a service",
                expected="a search of hits alone, by a picture with --crop",
                do="leave it out",
            )
        is_plain = bool(sentence) and query == parse_query(sentence)  # then the service reads it
        with open_client(settings) as client:
            told = client.search(
                sentence if is_plain else "",
                structured=None if is_plain or query == Query() else query.to_json(),
                image=_read_picture(image) if image is not None else b"",
                crop=place or (),
                filters={
                    name: value
                    for name, value in dataclasses.asdict(within).items()
                    if value not in ((), None)
                },
                limit=limit,
                min_score=min_score,
                cursor=cursor,
                verify=verify,
                verify_seconds=verify_seconds,
            )
        page = {**told, "query": sentence or told["query"]}
        if as_json:
            print_json(page)
        else:
            _print_page(json_to_result(page))
        return
    result = dataclasses.replace(
        search_index(
            query,
            settings=settings,
            limit=limit,
            min_score=min_score,
            within=within,
            cursor=cursor,
            verification=Verification(verify, verify_seconds),
        ),
        query=sentence or query.text,
    )
    if as_json:
        print_json(result_to_json(result))
        if thumbnails is not None:
            save_thumbnails(result, thumbnails)
        return
    folder = thumbnails or settings.home / "hits" / _slug(result.query)
    if result.hits:
        save_thumbnails(result, folder, replace=thumbnails is None)
    _print_page(result, folder if result.hits else None)


def _print_page(result: SearchResult, pictures: Path | None = None) -> None:
    print_hits(result)
    if pictures is not None:
        console.print(escape(f"Pictures: {pictures}"), highlight=False, soft_wrap=True)
    for note in result.notes:
        console.print(f"[dim]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    if result.next_cursor:
        console.print(f"[dim]Next page:[/] --cursor {result.next_cursor}", highlight=False, soft_wrap=True)


def _read_picture(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The picture {path} cannot be read: {error.strerror}",
            expected="a JPEG or PNG",
            do="check its path",
        ) from None


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
