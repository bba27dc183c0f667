"""The describing stage: tubelets and their pictures in, moments with captions, motion and vectors out.

Moments are cut from the joined tubelet, never from a chunk, so each is described once and its borders
follow the object's own motion. Requests of many objects go to the captioner in one call. A recogniser looks
at an object once, over its whole life; each moment shows the captioner's sentence or the measured one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from tubelet.model.describing.attributes import measure_attributes
from tubelet.model.describing.base import Captioner, DescribeRequest, Description, ObjectView
from tubelet.model.describing.choosing import ChosenSentence, choose_sentence
from tubelet.model.embedding import TextEmbedder
from tubelet.model.recognising.base import Recogniser, Recognition
from tubelet.model.trajectory import measure_as_moving, measure_moments, measure_motion
from tubelet.model.trajectory.shape import tell_shape
from tubelet.records import (
    Attributes,
    CameraStep,
    IndexedObject,
    Moment,
    Motion,
    Observation,
    PathPoint,
    Tubelet,
    Video,
    View,
)
from tubelet.workers.evidence import decode_picture, decode_view, encode_picture
from tubelet.workers.recognise import TUBELET_VIEWS, add_recognition, recognise_views, tell_looks

MAX_VIEWS = 8
OBJECTS_PER_BATCH = 16
THUMBNAIL_MIN_SHARE = 0.12
BOX_COLOUR_RGB = (255, 64, 32)


@dataclass(frozen=True, slots=True)
class DescribedObject:
    """One tubelet, ready for the index."""

    summary: IndexedObject
    moments: tuple[Moment, ...]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A moment before it has a caption. `attributes` hold what the object was recognised as."""

    start: int
    end: int
    motion: Motion
    moving: Motion | None
    shape: NDArray[np.float32]
    attributes: Attributes
    views: tuple[ObjectView, ...]
    best: View


def describe_tubelets(
    video: Video,
    tubelets: Iterable[Tubelet],
    camera: Sequence[CameraStep],
    views_of: Callable[[Tubelet], Sequence[View]],
    captioner: Captioner,
    embedder: TextEmbedder,
    recogniser: Recogniser | None = None,
    *,
    max_moment_s: float,
    shrink: int = 0,
) -> Iterator[DescribedObject]:
    """Describe tubelets in order, a few at a time, so that memory does not grow with the video.

    `shrink` halves how many are described in one call, so many times.
    A tubelet of which no view was kept (it never showed a pixel inside the frame) is left out.
    """
    remaining = iter(tubelets)
    while batch := list(islice(remaining, max(1, OBJECTS_PER_BATCH >> shrink))):
        views = [views_of(tubelet) for tubelet in batch]
        recognitions: Sequence[Recognition | None] = [None] * len(batch)
        if recogniser is not None:
            recognitions = recognise_views(recogniser, views, max_views=TUBELET_VIEWS, shrink=shrink)
        drafted = [
            (tubelet, recognition, drafts)
            for tubelet, recognition, own in zip(batch, recognitions, views, strict=True)
            if (drafts := _draft_moments(video, tubelet, camera, own, recognition, max_moment_s))
        ]
        requests = [
            DescribeRequest(
                draft.views,
                draft.attributes,
                draft.motion,
                looks=tell_looks(recogniser, recognition),
                shape=draft.shape,
                moving=draft.moving,
            )
            for _, recognition, drafts in drafted
            for draft in drafts
        ]
        descriptions = captioner.describe(requests)
        chosen = [
            choose_sentence(description, request.attributes, request.motion, request.moving)
            for description, request in zip(descriptions, requests, strict=True)
        ]
        vectors = embedder.embed([sentence.text for sentence in chosen])
        told = iter(zip(descriptions, chosen, vectors, strict=True))
        for tubelet, recognition, drafts in drafted:
            own_told = list(islice(told, len(drafts)))
            moments = tuple(
                _make_moment(video, tubelet, draft, recognition, *answer)
                for draft, answer in zip(drafts, own_told, strict=True)
            )
            yield DescribedObject(_summarise(video, tubelet, camera, drafts, moments), moments)


def _make_moment(
    video: Video,
    tubelet: Tubelet,
    draft: _Draft,
    recognition: Recognition | None,
    description: Description,
    chosen: ChosenSentence,
    text_vector: NDArray[np.float32],
) -> Moment:
    part = tubelet.observations[draft.start : draft.end]
    path = _make_path(part)
    by_model = description.source == "model"
    return Moment(
        moment_id=_moment_id(tubelet, draft.start),
        object_id=tubelet.object_id,
        video_id=video.video_id,
        uri=video.uri,
        start_s=path[0].t,
        end_s=path[-1].t,
        caption=chosen.text,
        caption_source=chosen.source,
        model_caption=description.text if by_model else "",
        model_confidence=description.confidence if by_model else 0.0,
        attributes=chosen.attributes,
        motion=chosen.motion or draft.motion,
        path=path,
        mean_area=_mean_area(part),
        score=_mean_score(part),
        thumbnail=make_thumbnail(draft.best, video),
        text_vector=tuple(text_vector.tolist()),
        object_vector=description.object_vector if recognition is None else recognition.vector,
        likely=chosen.likely,
    )


def choose_views(views: Sequence[View], limit: int = MAX_VIEWS) -> list[View]:
    """The best views of a moment, spread over it: one from each of `limit` equal stretches, in time order."""
    if len(views) <= limit:
        return list(views)
    edges = np.linspace(views[0].time_s, views[-1].time_s, limit + 1)[1:-1]
    stretches: dict[int, View] = {}
    for view in views:
        stretch = int(np.searchsorted(edges, view.time_s, side="right"))
        if stretch not in stretches or view.quality > stretches[stretch].quality:
            stretches[stretch] = view
    return [stretches[stretch] for stretch in sorted(stretches)]


def make_thumbnail(view: View, video: Video) -> bytes:
    """A JPEG of the object with its box: in the whole scene where it is large enough, else close up."""
    large = max(view.box.width / video.width, view.box.height / video.height) >= THUMBNAIL_MIN_SHARE
    if view.scene and large:
        picture, origin = decode_picture(view.scene), (0.0, 0.0)
        scale_x, scale_y = picture.shape[1] / video.width, picture.shape[0] / video.height
    else:
        picture, origin = decode_picture(view.image), (view.crop.x0, view.crop.y0)
        scale_x, scale_y = picture.shape[1] / view.crop.width, picture.shape[0] / view.crop.height
    corners = [
        (round((x - origin[0]) * scale_x), round((y - origin[1]) * scale_y))
        for x, y in ((view.box.x0, view.box.y0), (view.box.x1, view.box.y1))
    ]
    cv2.rectangle(picture, corners[0], corners[1], BOX_COLOUR_RGB, 2, cv2.LINE_AA)
    return encode_picture(picture)


def _draft_moments(
    video: Video,
    tubelet: Tubelet,
    camera: Sequence[CameraStep],
    views: Sequence[View],
    recognition: Recognition | None,
    max_moment_s: float,
) -> list[_Draft]:
    if not views:
        return []
    size = {"frame_width": video.width, "frame_height": video.height}
    observations = tubelet.observations
    drafts = []
    for (start, end), motion in measure_moments(observations, camera, max_moment_s=max_moment_s, **size):
        part = observations[start:end]
        within = [view for view in views if part[0].time_s <= view.time_s <= part[-1].time_s]
        middle_s = (part[0].time_s + part[-1].time_s) / 2
        chosen = choose_views(within) or [min(views, key=lambda view: abs(view.time_s - middle_s))]
        decoded = tuple(decode_view(view, (video.width, video.height)) for view in chosen)
        area_share = _mean_area(part) / (video.width * video.height)
        drafts.append(
            _Draft(
                start=start,
                end=end,
                motion=motion,
                moving=measure_as_moving(motion, part, camera, **size) if motion.stopped else None,
                shape=tell_shape(part, camera, motion, **size),
                attributes=add_recognition(
                    measure_attributes(decoded, mean_area_share=area_share), recognition
                ),
                views=decoded,
                best=max(chosen, key=lambda view: view.quality),
            )
        )
    return drafts


def _summarise(
    video: Video,
    tubelet: Tubelet,
    camera: Sequence[CameraStep],
    drafts: Sequence[_Draft],
    moments: Sequence[Moment],
) -> IndexedObject:
    observations = tubelet.observations
    best = max((draft.best for draft in drafts), key=lambda view: view.quality)
    views = sorted((view for draft in drafts for view in draft.views), key=lambda view: view.time_s)
    step = max(1, len(views) // (2 * MAX_VIEWS))
    return IndexedObject(
        object_id=tubelet.object_id,
        video_id=video.video_id,
        uri=video.uri,
        start_s=tubelet.start_s,
        end_s=tubelet.end_s,
        attributes=_name_object(
            measure_attributes(
                views[::step], mean_area_share=_mean_area(observations) / (video.width * video.height)
            ),
            moments,
        ),
        motion=moments[0].motion
        if len(moments) == 1
        else measure_motion(observations, camera, frame_width=video.width, frame_height=video.height),
        path=_make_path(observations),
        score=_mean_score(observations),
        thumbnail=make_thumbnail(best, video),
    )


def _name_object(attributes: Attributes, moments: Sequence[Moment]) -> Attributes:
    """What an object is over its life: the category that most of its observations have, in their moments.

    So with its main colour: where that is another than was measured over all of its life, the colours are
    those of the longest moment that has it.
    """
    counts: Counter[tuple[str, float, tuple[str, ...]]] = Counter()
    main_colours: Counter[tuple[str, ...]] = Counter()
    for moment in moments:
        known = moment.attributes
        counts[known.category, known.category_score, known.kinds] += len(moment.path)
        main_colours[known.colours[:1]] += len(moment.path)
    category, score, kinds = counts.most_common(1)[0][0]
    main = main_colours.most_common(1)[0][0]
    if main and main != attributes.colours[:1]:
        alike = [moment for moment in moments if moment.attributes.colours[:1] == main]
        told = max(alike, key=lambda moment: len(moment.path)).attributes
        attributes = replace(attributes, colours=told.colours, colour_shares=told.colour_shares)
    return replace(attributes, category=category, category_score=score, kinds=kinds)


def _make_path(part: Sequence[Observation]) -> tuple[PathPoint, ...]:
    return tuple(PathPoint(round(item.time_s, 3), *(round(side, 1) for side in item.box)) for item in part)


def _mean_area(part: Sequence[Observation]) -> float:
    return float(np.mean([item.box.area for item in part]))


def _mean_score(part: Sequence[Observation]) -> float:
    return float(np.mean([item.score for item in part]))


def _moment_id(tubelet: Tubelet, start: int) -> str:
    words = f"{tubelet.object_id} {tubelet.observations[start].time_s:.3f}"
    return "m" + hashlib.blake2b(words.encode(), digest_size=8).hexdigest()


def with_warnings(video: Video, warnings: Iterable[str]) -> Video:
    """The video with the warnings of its chunks added, each once, in order."""
    return replace(video, warnings=tuple(dict.fromkeys((*video.warnings, *warnings))))
