"""`tubelet show`: look at one object."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tubelet.api.cli.app import AsJson, Config, Home, app, console, format_time, print_json
from tubelet.api.cli.progress import make_progress
from tubelet.errors import InputError, SourceError
from tubelet.index.export import object_to_json
from tubelet.orchestration.resources import make_s3_options, open_index
from tubelet.records import IndexedObject, Moment, Video
from tubelet.settings import Settings, load_settings
from tubelet.workers.reopen import reopen_source
from tubelet.workers.show import write_clip, write_contact_sheet
from tubelet.workers.source import localise


@app.command("show")
def show_command(
    object_id: Annotated[str, typer.Argument(help="An object's id, as search prints it.", metavar="OBJECT")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the pictures. [default: HOME/shown]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Tell all about one object; write a contact sheet and a clip with its box and path drawn in."""
    settings = load_settings({"home": home}, config=config)
    index = open_index(settings)
    item = index.get_object(object_id)
    if item is None:
        raise InputError(
            f"There is no object {object_id!r} in the index",
            expected="an id that `tubelet search` printed",
            do="search again: ids change when a video changes",
        )
    video = index.get_video(item.video_id)
    assert video is not None, "the index shows no object of a video that it does not hold"
    moments = index.get_moments(object_id)
    folder = out or settings.home / "shown"
    sheet, clip = folder / f"{object_id}.jpg", folder / f"{object_id}.mp4"
    failure = write_pictures(item, video, moments, sheet, clip, settings)
    if as_json:
        pictures = {} if failure else {"contact_sheet": str(sheet), "clip": str(clip)}
        print_json({**object_to_json(item, moments), **pictures})
    else:
        _print_object(item, moments)
    if failure is not None:
        raise failure
    if not as_json:
        console.print(escape(f"Contact sheet: {sheet}\nClip: {clip}"), highlight=False, soft_wrap=True)


def write_pictures(
    item: IndexedObject, video: Video, moments: list[Moment], sheet: Path, clip: Path, settings: Settings
) -> SourceError | None:
    """Write both pictures from the source; returns what went wrong with it, if anything."""
    s3 = make_s3_options(settings)
    label = f"{item.object_id}  {moments[0].caption if moments else ''}"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="tubelet-show-") as temporary,
            localise(reopen_source(video, s3=s3), Path(temporary), s3=s3) as source,
            make_progress() as progress,
        ):
            task = progress.add_task("Drawing", total=item.end_s - item.start_s)
            write_contact_sheet(
                source, video, item.path, sheet, label=label, timeout_s=settings.decode_timeout_s
            )
            write_clip(
                source,
                video,
                item.path,
                clip,
                label=item.object_id,
                timeout_s=settings.decode_timeout_s,
                report_second=lambda second: progress.update(task, completed=second),
            )
    except SourceError as error:
        return error
    return None


def _print_object(item: IndexedObject, moments: list[Moment]) -> None:
    console.print(f"[bold]{item.object_id}[/] in {escape(item.uri)}", highlight=False, soft_wrap=True)
    for moment in moments:
        console.print(
            f"  {format_time(moment.start_s)} to {format_time(moment.end_s)}  {moment.caption}",
            highlight=False,
        )
