"""`tubelet index`: make videos searchable."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

import tubelet
from tubelet.api.cli.app import (
    EXIT_SOME_FAILED,
    AsJson,
    Config,
    Home,
    console,
    notice,
    print_json,
    start_logging,
)
from tubelet.api.cli.index_group import INDEXING, index_app
from tubelet.api.cli.progress import IndexProgress
from tubelet.records import IndexReport
from tubelet.settings import load_settings

_KEEPING = (
    "[bold]tubelet index stats | optimize | verify | migrate | remove[/] keep the index; each has --help. "
    "A file of such a name is ./stats."
)


@index_app.command(INDEXING, hidden=True, epilog=_KEEPING)
def index_command(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, s3://bucket/key or s3://bucket/prefix/.")
    ],
    profile: Annotated[
        str | None, typer.Option(help="A named set of models. [default: bundled]", show_default=False)
    ] = None,
    tracker: Annotated[str | None, typer.Option(help="What finds and follows objects.")] = None,
    captioner: Annotated[str | None, typer.Option(help="What describes them.")] = None,
    sample_fps: Annotated[
        float | None, typer.Option(help="Frames looked at in a second. [default: 6]")
    ] = None,
    chunk_s: Annotated[float | None, typer.Option(help="Seconds in a chunk. [default: 60]")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes. [default: half the cores]")] = None,
    s3_endpoint_url: Annotated[str | None, typer.Option(help="S3 endpoint other than Amazon's.")] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Index videos: find, follow and describe every object in them.

    What is indexed already and unchanged is skipped, and a run that was stopped goes on where it was.
    Exit code 3 when some sources failed; the others are indexed all the same.

    Example: [bold]tubelet index ~/footage 's3://archive/2026/**/*.mp4'[/]
    """
    settings = load_settings(
        {
            "home": home,
            "profile": profile,
            "tracker": tracker,
            "captioner": captioner,
            "sample_fps": sample_fps,
            "chunk_s": chunk_s,
            "workers": workers,
            "s3_endpoint_url": s3_endpoint_url,
        },
        config=config,
    )
    start_logging(settings)
    with IndexProgress() as progress:
        report = tubelet.index(sources, settings=settings, observer=progress)
    if as_json:
        print_json(report_to_json(report))
    else:
        _print_report(report)
    if report.failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def report_to_json(report: IndexReport) -> dict[str, Any]:
    """The report as a JSON document: totals, then every source."""
    return {
        "indexed": report.count("indexed"),
        "skipped": report.count("skipped"),
        "failed": report.count("failed"),
        "deleted": list(report.deleted),
        "videos": [asdict(video) for video in report.videos],
    }


def _print_report(report: IndexReport) -> None:
    for video in report.videos:
        for warning in video.warnings:
            notice("warning", f"{video.uri}: {warning}", "yellow")
    for video in report.failed:
        notice("failed", f"{video.uri}: {video.reason}", "bold red")
    for uri in report.deleted:
        notice("deleted", f"{uri} is indexed, and no longer there; tubelet index remove drops it", "yellow")
    num_objects = sum(video.num_objects for video in report.videos)
    console.print(
        f"{report.count('indexed')} indexed ({num_objects} objects), "
        f"{report.count('skipped')} skipped, {report.count('failed')} failed.",
        highlight=False,
    )
