"""`tubelet index stats | optimize | verify | migrate | remove`: keeping the index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import (
    EXIT_FAILED,
    AsJson,
    Config,
    Home,
    console,
    notice,
    print_json,
)
from tubelet.api.cli.index_group import index_app
from tubelet.index.exporting.timelines import find_videos
from tubelet.index.migrations import migrate_index
from tubelet.index.statistics import IndexStatistics, measure_index
from tubelet.index.verification import Verification
from tubelet.orchestration import keeping
from tubelet.orchestration.resources import open_index, s3_storage_options
from tubelet.settings import load_settings


@index_app.command("stats")
def stats_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """Show what the index holds and takes: rows, files, versions, indexes.

    Example: [bold]tubelet index stats[/]
    """
    found = measure_index(open_index(load_settings({"home": home}, config=config)))
    if as_json:
        print_json(asdict(found))
    else:
        _print_statistics(found)


@index_app.command("optimize")
def optimize_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """Compact files, delete old versions, build indexes. Others may index and search meanwhile.

    Example: [bold]tubelet index optimize[/]
    """
    done = open_index(load_settings({"home": home}, config=config)).optimize()
    if as_json:
        print_json(asdict(done))
        return
    console.print(f"{done.num_orphans} orphaned rows removed.", highlight=False)
    console.print(f"Indexes built: {', '.join(done.built) or 'none, all are there'}.", highlight=False)


@index_app.command("verify")
def verify_command(
    fix: Annotated[
        bool, typer.Option("--fix", help="Remove orphaned rows; nothing else is changed.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Check every row: ids, vectors, counts, masks. Exit code 1 when something is wrong.

    Example: [bold]tubelet index verify[/]
    """
    settings = load_settings({"home": home}, config=config)
    store = open_index(settings)
    removed = store.remove_orphans() if fix else None
    found = keeping.verify(store, settings)
    if as_json:
        print_json({"sound": found.is_sound, "orphans_removed": removed, **asdict(found)})
    else:
        if removed is not None:
            console.print(f"{removed} orphaned rows removed.", highlight=False)
        _print_verification(found)
    if not found.is_sound:
        raise typer.Exit(EXIT_FAILED)


@index_app.command("migrate")
def migrate_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """Bring an index that an older Tubelet made up to date. Rows and ids stay as they are.

    Example: [bold]tubelet index migrate[/]
    """
    settings = load_settings({"home": home}, config=config)
    done = migrate_index(settings.index_location, s3_storage_options(settings))
    if as_json:
        print_json({"index": settings.index_location, "done": list(done)})
        return
    for line in done:
        console.print(line, highlight=False)
    console.print("The index is up to date.", highlight=False)


@index_app.command("remove")
def remove_command(
    videos: Annotated[list[str], typer.Argument(help="Videos, by address or id.", metavar="VIDEO...")],
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Take videos out of the index, with their masks. The video files stay where they are.

    Example: [bold]tubelet index remove lobby.mp4[/]
    """
    settings = load_settings({"home": home}, config=config)
    store = open_index(settings)
    known = {name for video in store.list_videos() for name in (video.uri, video.video_id)}
    names = [video if video in known or "://" in video else str(Path(video).resolve()) for video in videos]
    removed = keeping.remove_videos(store, settings, find_videos(store, names))
    if as_json:
        print_json({"removed": removed})
        return
    console.print(f"{len(removed)} removed: {', '.join(removed)}", highlight=False, markup=False)


def _print_statistics(found: IndexStatistics) -> None:
    table = Table(title=escape(f"Index {found.location}, version {found.version}"), title_justify="left")
    for column in ("table", "rows", "orphans", "fragments", "size", "versions", "schema"):
        table.add_column(column, justify="left" if column == "table" else "right")
    for each in found.tables:
        numbers = (each.rows, each.orphans, each.fragments, f"{each.bytes / 1e6:.1f} MB", each.versions)
        table.add_row(each.name, *map(str, numbers), each.schema_version)
    console.print(table)
    indexes = Table(title="Indexes", title_justify="left")
    for column in ("column", "kind", "rows not in it"):
        indexes.add_column(column, justify="right" if column == "rows not in it" else "left")
    for each in found.tables:
        for index in each.indexes:
            indexes.add_row(f"{each.name}.{index.column}", index.kind, str(index.num_unindexed))
    console.print(indexes if indexes.row_count else "No index is built yet: tubelet index optimize")
    console.print(
        f"{found.counts.videos} videos, {found.counts.tubelets} objects, {found.counts.moments} moments; "
        f"text vectors of {found.text_dimensions} numbers, object vectors of {found.object_dimensions}.",
        highlight=False,
    )


def _print_verification(found: Verification) -> None:
    for finding in found.findings:
        notice(finding.kind, f"{finding.number}: {finding.about}", "bold red")
        for example in finding.examples:
            notice(" ", f"for example {example}", "")
    looked_at = f"{found.num_videos} videos, {found.num_objects} objects, {found.num_moments} moments"
    verdict = "all is well" if found.is_sound else f"{len(found.findings)} kinds of fault"
    console.print(f"{looked_at}: {verdict}.", highlight=False)
