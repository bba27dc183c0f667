"""`tubelet count`: how many objects meet a query, in all and by time, colour and more."""

from __future__ import annotations

from typing import Annotated, cast

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, Home, app, console, print_json
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
from tubelet.index.searching.aggregating import COUNT_MIN_SCORE, Aggregate, By
from tubelet.index.searching.results import aggregate_to_json
from tubelet.orchestration.searching import count_index
from tubelet.settings import load_settings

_BAR = 40


@app.command("count")
def count_command(
    sentence: Annotated[str, typer.Argument(help='What to count, as in "red cars turning left".')] = "",
    by: Annotated[
        str,
        typer.Option(
            help="Group by time, day, hour, video, label, colour, size, turn, heading or state.",
            metavar="NAME",
        ),
    ] = "",
    bin_s: Annotated[float, typer.Option(min=0.1, help="Length of a stretch, by time.")] = 60.0,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Objects that reach this score count.")
    ] = COUNT_MIN_SCORE,
    region: Drawn = "",
    region_how: RegionHow = "centre",
    start: Start = "",
    end: End = "",
    videos: Videos = None,
    labels: Labels = None,
    colours: Colours = None,
    structured: Structured = "",
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Count distinct objects: how many there are, when, and of which kinds.

    Without a sentence, whatever the other options let through is counted.

    Example: [bold]tubelet count "red cars" --by time --bin-s 300[/]
    """
    settings = load_settings({"home": home}, config=config)
    query = read_request(sentence, structured, start=start, end=end, region=region, how=region_how)
    query, aggregate = count_index(
        query,
        settings=settings,
        by=cast(By, by),
        bin_s=bin_s,
        min_score=min_score,
        within=make_limits(videos, labels, colours),
    )
    if as_json:
        print_json({"query": sentence, "parsed": query.to_json(), **aggregate_to_json(aggregate)})
        return
    print_counts(aggregate, by)


def print_counts(aggregate: Aggregate, by: str) -> None:
    """Print the number of objects, and a bar for each group."""
    objects, moments = aggregate.num_objects, aggregate.num_moments
    console.print(f"[bold]{objects}[/] objects in {moments} moments", highlight=False)
    if aggregate.bins:
        table = Table(box=box.SIMPLE)
        table.add_column(by)
        table.add_column("objects", justify="right")
        table.add_column("")
        most = max(each.num_objects for each in aggregate.bins)
        for each in aggregate.bins:
            bar = "█" * max(1, round(_BAR * each.num_objects / most))
            table.add_row(escape(each.key), str(each.num_objects), bar)
        console.print(table)
    for note in aggregate.notes:
        console.print(f"[dim]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)
