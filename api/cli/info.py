"""`tubelet info`: what the index holds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict

from rich.markup import escape
from rich.table import Table

from tubelet.api.cli.app import AsJson, Config, Home, app, console, format_time, notice, print_json
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.resources import open_index
from tubelet.settings import load_settings


@app.command("info")
def info_command(as_json: AsJson = False, home: Home = None, config: Config = None) -> None:
    """List the videos of the index, with their warnings, and those that failed."""
    settings = load_settings({"home": home}, config=config)
    index = open_index(settings)
    videos = list(index.list_videos())
    with closing(open_ledger(settings.ledger_location)) as ledger:
        dead = {entry.job_id: entry.error for entry in ledger.list_dead()}
        failed = [(job.uri, dead[job_id]) for job_id, job in ledger.get_jobs(dead).items()]
    counts = asdict(index.count_rows())
    if as_json:
        print_json(
            {
                "home": str(settings.home),
                "index": settings.index_location,
                "counts": counts,
                "videos": [asdict(video) for video in videos],
                "failed": [{"uri": uri, "error": error} for uri, error in failed],
            }
        )
        return
    table = Table(title=f"Index {settings.index_location}", title_justify="left")
    for column in ("video", "id", "length", "size", "codec", "rate"):
        table.add_column(column, no_wrap=column == "id")
    for video in videos:
        table.add_row(
            escape(video.uri),
            video.video_id,
            format_time(video.duration_s),
            f"{video.width}x{video.height}",
            video.codec,
            f"{video.frame_rate:.2f}{' variable' if video.variable_frame_rate else ''}",
        )
    console.print(table)
    console.print(", ".join(f"{number} {name}" for name, number in counts.items()), highlight=False)
    for video in videos:
        for warning in video.warnings:
            notice("warning", f"{video.uri}: {warning}", "yellow")
    for uri, error in failed:
        notice("failed", f"{uri}: {error}", "bold red")
