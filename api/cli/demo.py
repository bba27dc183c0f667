"""`tubelet demo`: the whole way from a video to answers, in one command."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

import tubelet
from tubelet.api.cli.app import EXIT_SOME_FAILED, Config, Home, app, console, notice
from tubelet.api.cli.progress import IndexProgress
from tubelet.api.cli.search import print_hits, save_thumbnails
from tubelet.api.cli.show import write_pictures
from tubelet.api.demo_scene import render_scene
from tubelet.index.export import export_timelines
from tubelet.orchestration.resources import open_index
from tubelet.records import Hit
from tubelet.settings import Settings, load_settings

QUESTIONS = ("red car turning left", "a blue car that turns right", "yellow car that stops")


@app.command("demo")
def demo_command(
    path: Annotated[
        Path | None, typer.Argument(help="A video of your own. [default: a rendered junction]")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for all that the demo makes.", metavar="DIR")
    ] = Path("demo-output"),
    home: Home = None,
    config: Config = None,
) -> None:
    """Index a video, ask three questions of it, and write pictures and a timeline.

    Needs no download: without a PATH it renders a junction seen from above and encodes it as H.264.
    """
    if home is None:
        shutil.rmtree(out / "home", ignore_errors=True)  # the last demo's
    settings = load_settings({"home": home or out / "home"}, config=config)
    out.mkdir(parents=True, exist_ok=True)
    source = path or out / "junction.mp4"
    if path is None:
        console.print("[bold]1.[/] Rendering a junction seen from above")
        render_scene(source)
    console.print(f"[bold]2.[/] Indexing {escape(str(source))}", highlight=False)
    with IndexProgress() as progress:
        report = tubelet.index(str(source), settings=settings, observer=progress)
    for video in report.failed:
        notice("failed", f"{video.uri}: {video.reason}", "bold red")
        raise typer.Exit(EXIT_SOME_FAILED)
    found = report.videos[0]
    console.print(f"   {found.num_objects} objects, {found.num_moments} moments", highlight=False)
    console.print("[bold]3.[/] Asking three questions")
    best: Hit | None = None
    for number, question in enumerate(QUESTIONS, 1):
        result = tubelet.search(question, limit=3, settings=settings)
        print_hits(result)
        save_thumbnails(result, out / f"hits-{number}", replace=True)
        best = best or next(iter(result.hits), None)
    if best is not None:
        _write_results(best, settings, out)
    console.print(
        f"\nEverything is in [bold]{out}[/]; ask more of it with\n"
        f'  tubelet search --home {settings.home} "white car going right"',
        highlight=False,
        soft_wrap=True,
    )


def _write_results(best: Hit, settings: Settings, out: Path) -> None:
    console.print("[bold]4.[/] Writing pictures of the first answer, and the timeline of all objects")
    index = open_index(settings)
    item, video = index.get_object(best.object_id), index.get_video(best.video_id)
    assert item is not None
    assert video is not None
    sheet, clip, timeline = out / "contact-sheet.jpg", out / "clip.mp4", out / "timeline.jsonl"
    shown = [(item, index.get_moments(item.object_id))]
    failure = write_pictures(shown, video, sheet, clip, settings)
    if failure is not None:
        raise failure
    with timeline.open("w", encoding="utf-8") as file:
        file.writelines(export_timelines(index, "jsonl"))
    for name, place in (("Contact sheet", sheet), ("Annotated clip", clip), ("Timeline", timeline)):
        console.print(f"   {name}: {place}", highlight=False, soft_wrap=True)
