"""`tubelet show`: look at objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tubelet.api.cli.app import AsJson, Config, Home, app, console, format_time, notice, print_json
from tubelet.api.cli.progress import make_progress
from tubelet.errors import InputError, SourceError
from tubelet.index.export import object_to_json
from tubelet.index.store import IndexStore
from tubelet.orchestration.clips import Shown, open_source, prepare_drawing
from tubelet.orchestration.resources import open_index
from tubelet.records import IndexedObject, Moment, Video
from tubelet.settings import Settings, load_settings
from tubelet.workers.grid import Tile, cut_tiles, make_thumbnail_tile, write_pages
from tubelet.workers.show import write_clip, write_contact_sheet


@app.command("show")
def show_command(
    objects: Annotated[
        list[str] | None, typer.Argument(help="Ids of objects, as search prints them.", metavar="[OBJECT]...")
    ] = None,
    video: Annotated[
        str | None, typer.Option("--video", help="All objects of the video with this address or id.")
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Pages with a tile for each object, instead of a clip.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many tiles of a grid.")] = 240,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the pictures. [default: HOME/shown]", metavar="DIR"),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Look at objects: a contact sheet and a clip with masks, ids and paths drawn in, or a grid of many.

    Without an object and a video, a grid is of all that is indexed.

    Examples: [bold]tubelet show OBJECT[/], [bold]tubelet show --grid --video junction.mp4[/]
    """
    settings = load_settings({"home": home}, config=config)
    index = open_index(settings)
    if not (objects or video or grid):
        raise InputError(
            "Nothing was named to show",
            expected="an object's id, --video, or --grid for all",
            do="take an id that `tubelet search` printed",
        )
    folder = out or settings.home / "shown"
    if grid:
        _show_grid(index, settings, objects, video, folder, limit, as_json)
        return
    shown = list(_choose(index, objects, video))
    if not shown:
        raise _nothing_to_show()
    videos = {item.video_id for item, _ in shown}
    if len(videos) != 1:
        raise InputError(
            f"The objects are of {len(videos)} videos", expected="objects of one video", do="add --grid"
        )
    own = index.get_video(videos.pop())
    assert own is not None, "the index shows no object of a video that it does not hold"
    name = shown[0][0].object_id if len(shown) == 1 else own.video_id
    sheet, clip = folder / f"{name}.jpg", folder / f"{name}.mp4"
    failure = write_pictures(shown, own, sheet, clip, settings)
    pictures = {} if failure else {"contact_sheet": str(sheet), "clip": str(clip)}
    if as_json:
        _print_json(shown, pictures, is_one=bool(objects) and len(shown) == 1)
    else:
        for item, moments in shown:
            _print_object(item, moments)
    if failure is not None:
        raise failure
    if not as_json:
        console.print(escape(f"Contact sheet: {sheet}\nClip: {clip}"), highlight=False, soft_wrap=True)


def write_pictures(
    shown: Sequence[Shown], video: Video, sheet: Path, clip: Path, settings: Settings
) -> SourceError | None:
    """Write both pictures of some objects of a video; returns what was wrong with its source, if anything."""
    drawn = prepare_drawing(shown, video.video_id, settings)
    (first, moments), is_one = shown[0], len(shown) == 1
    caption = moments[0].caption if is_one and moments else f"{len(shown)} objects"
    title = f"{first.object_id if is_one else Path(video.uri).name}  {caption}"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    span_s = max(item.end_s for item, _ in shown) - min(item.start_s for item, _ in shown)
    try:
        with open_source(video, settings) as source, make_progress() as progress:
            task = progress.add_task("Drawing", total=span_s)
            write_contact_sheet(source, video, drawn, sheet, title=title, timeout_s=settings.decode_timeout_s)
            write_clip(
                source,
                video,
                drawn,
                clip,
                timeout_s=settings.decode_timeout_s,
                report_second=lambda second: progress.update(task, completed=second),
            )
    except SourceError as error:
        return error
    return None


def _choose(index: IndexStore, object_ids: Sequence[str] | None, video: str | None) -> Iterator[Shown]:
    """The objects that were named, or all of a video, or all there are, by video and time."""
    video_ids = None
    if video is not None:
        own = _find_video(index, video)
        video_ids = [own.video_id]
    if object_ids:
        for object_id in object_ids:
            item = index.get_object(object_id)
            if item is None or (video_ids and item.video_id not in video_ids):
                raise InputError(
                    f"There is no object {object_id!r} in the {'video' if video_ids else 'index'}",
                    expected="an id that `tubelet search` printed",
                    do="search again: ids change when a video changes",
                )
            yield item, index.get_moments(object_id)
        return
    yield from index.iterate_objects(video_ids)


def _nothing_to_show() -> InputError:
    return InputError(
        "There are no objects to show", expected="a video in which something was found", do="name another"
    )


def _find_video(index: IndexStore, name: str) -> Video:
    places = {name, str(Path(name).absolute())}
    found = [video for video in index.list_videos() if {video.video_id, video.uri} & places]
    if not found:
        raise InputError(
            f"The index holds no video {name!r}",
            expected="the address or id of an indexed video",
            do="see what is indexed with: tubelet info",
        )
    return found[0]


def _show_grid(
    index: IndexStore,
    settings: Settings,
    object_ids: Sequence[str] | None,
    video: str | None,
    folder: Path,
    limit: int,
    as_json: bool,
) -> None:
    chosen = list(islice(_choose(index, object_ids, video), limit + 1))
    shown, has_more = chosen[:limit], len(chosen) > limit
    if not shown:
        raise _nothing_to_show()
    name = "grid" if video is None else f"{shown[0][0].video_id}-grid"
    pages = write_pages(_make_tiles(index, shown, settings), folder, name)
    if has_more:
        notice("note", f"only the first {limit} objects are shown; --limit shows more", "yellow")
    if as_json:
        print_json({"pages": [str(page) for page in pages], "objects": [item.object_id for item, _ in shown]})
    else:
        console.print(
            f"{len(shown)} objects: {escape(', '.join(map(str, pages)))}", highlight=False, soft_wrap=True
        )


def _make_tiles(index: IndexStore, shown: Sequence[Shown], settings: Settings) -> Iterator[Tile]:
    """A tile for each object; of a video that cannot be opened, from the thumbnails of the index."""
    for video_id, together in groupby(shown, key=lambda pair: pair[0].video_id):
        own = list(together)
        video = index.get_video(video_id)
        assert video is not None, "the index shows no object of a video that it does not hold"
        drawn = prepare_drawing(own, video_id, settings)
        told = [moments[0].caption if moments else "" for _, moments in own]
        pairs = list(zip(drawn, told, strict=True))
        num_made = 0
        try:
            with open_source(video, settings) as source:
                for tile in cut_tiles(source, video, pairs, timeout_s=settings.decode_timeout_s):
                    yield tile
                    num_made += 1
        except SourceError as error:
            notice("note", f"{video.uri}: tiles from the index's thumbnails, because: {error}", "yellow")
            for (item, caption), (indexed, _) in islice(zip(pairs, own, strict=True), num_made, None):
                whole = index.get_object(indexed.object_id)
                yield make_thumbnail_tile(item, caption, whole.thumbnail if whole else b"")


def _print_json(shown: Iterable[Shown], pictures: dict[str, str], *, is_one: bool) -> None:
    documents = [object_to_json(item, moments) for item, moments in shown]
    print_json({**documents[0], **pictures} if is_one else {"objects": documents, **pictures})


def _print_object(item: IndexedObject, moments: list[Moment]) -> None:
    console.print(f"[bold]{item.object_id}[/] in {escape(item.uri)}", highlight=False, soft_wrap=True)
    for moment in moments:
        console.print(
            f"  {format_time(moment.start_s)} to {format_time(moment.end_s)}  {moment.caption}",
            highlight=False,
        )
