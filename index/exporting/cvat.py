"""`cvat`: CVAT for video 1.1, one XML file a video, a track an object."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from tubelet.index.exporting.frames import TrackBox
from tubelet.index.exporting.timelines import Timeline, Timelines
from tubelet.records import Moment, Video

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold in any spelling."""


def write_cvat(timelines: Timelines, video: Video) -> Iterator[str]:
    """Tracks of boxes by the video's own frame numbers, from 0.

    Every measured box is a key frame. On the frame after an object was last seen, before a gap or at its end,
    its box comes again with `outside="1"`, so that no tool draws it further.
    """
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield from _write_meta(timelines, video)
    length = timelines.number_frames(video).length
    for number, timeline in enumerate(timelines.read(video)):
        yield f'  <track id="{number}" label={_quote(timeline.name)} source="auto">\n'
        starts = [moment.start_s for moment in timeline.moments]
        for step in timelines.number_boxes(video, timeline.item, every_frame=False):
            caption = _find_caption(timeline.moments, starts, step.time_s)
            yield _write_box(timeline, step, step.frame, caption, outside=False)
            if step.ends and step.frame + 1 < length:
                yield _write_box(timeline, step, step.frame + 1, caption, outside=True)
        yield "  </track>\n"
    yield "</annotations>\n"


def _write_meta(timelines: Timelines, video: Video) -> Iterator[str]:
    frames = timelines.number_frames(video)
    yield (
        "  <meta>\n    <task>\n      <id>1</id>\n"
        f"      <name>{_escape(video.uri)}</name>\n      <size>{frames.length}</size>\n"
        "      <mode>interpolation</mode>\n      <overlap>0</overlap>\n      <bugtracker></bugtracker>\n"
        f"      <flipped>False</flipped>\n      <start_frame>0</start_frame>\n"
        f"      <stop_frame>{frames.length - 1}</stop_frame>\n      <frame_filter></frame_filter>\n"
        "      <labels>\n"
    )
    for name in sorted({timeline.name for timeline in timelines.read(video)}):
        yield f"        <label>\n          <name>{_escape(name)}</name>\n          <attributes>\n"
        for attribute, mutable in (("object_id", False), ("caption", True)):
            yield (
                f"            <attribute>\n              <name>{attribute}</name>\n"
                f"              <mutable>{mutable}</mutable>\n              <input_type>text</input_type>\n"
                "              <default_value></default_value>\n              <values></values>\n"
                "            </attribute>\n"
            )
        yield "          </attributes>\n        </label>\n"
    yield (
        "      </labels>\n"
        f"      <original_size>\n        <width>{video.width}</width>\n"
        f"        <height>{video.height}</height>\n      </original_size>\n"
        f"      <source>{_escape(video.uri)}</source>\n    </task>\n  </meta>\n"
    )


def _write_box(timeline: Timeline, step: TrackBox, frame: int, caption: str, *, outside: bool) -> str:
    sides = " ".join(
        f'{name}="{side:.2f}"' for name, side in zip(("xtl", "ytl", "xbr", "ybr"), step.box, strict=True)
    )
    return (
        f'    <box frame="{frame}" outside="{int(outside)}" occluded="0" '
        f'keyframe="{int(step.measured or outside)}" {sides} z_order="0">\n'
        f'      <attribute name="object_id">{_escape(timeline.item.object_id)}</attribute>\n'
        f'      <attribute name="caption">{_escape(caption)}</attribute>\n    </box>\n'
    )


def _find_caption(moments: Sequence[Moment], starts: Sequence[float], time_s: float) -> str:
    place = bisect_right(starts, time_s + 0.0005) - 1
    return moments[max(place, 0)].caption if moments else ""


def _escape(text: str) -> str:
    return escape(_FORBIDDEN.sub("", text), {"\r": "&#13;"})


def _quote(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("", text))
