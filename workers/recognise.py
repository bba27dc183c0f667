"""Recognising: the pictures kept of objects in, what they are and how they look out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tubelet.model.describing.base import Looks
from tubelet.model.recognising.base import Recogniser, Recognition
from tubelet.records import Attributes, View
from tubelet.workers.evidence import make_crop

TRACKLET_VIEWS = 2
TUBELET_VIEWS = 3
"""How many views of each are looked at: a network costs some hundredths of a second for each."""

_OBJECTS_A_CALL = 16

Views = Sequence[View]


def recognise_views(
    recogniser: Recogniser, objects: Sequence[Views], *, max_views: int, shrink: int = 0
) -> list[Recognition | None]:
    """One answer for each object, from its best views, the best first; None for one without views.

    `shrink` halves how many objects are looked at in one call, so many times.
    """
    answers: list[Recognition | None] = [None] * len(objects)
    seen = [place for place, views in enumerate(objects) if views]
    step = max(1, _OBJECTS_A_CALL >> shrink)
    for start in range(0, len(seen), step):
        places = seen[start : start + step]
        crops = [[make_crop(view) for view in _choose_best(objects[place], max_views)] for place in places]
        for place, answer in zip(places, recogniser.recognise(crops), strict=True):
            answers[place] = answer
    return answers


def add_recognition(attributes: Attributes, recognition: Recognition | None) -> Attributes:
    """The attributes with what the object was recognised as; as they are without a recognition."""
    if recognition is None:
        return attributes
    return replace(
        attributes,
        category=recognition.category,
        category_score=recognition.score,
        kinds=recognition.words,
    )


def tell_looks(recogniser: Recogniser | None, recognition: Recognition | None) -> Looks | None:
    """What a captioner is told of how an object looks; None where nobody recognised it."""
    if recogniser is None or recognition is None:
        return None
    return Looks(recogniser.name, recognition.vector)


def look_at(recogniser: Recogniser, objects: Sequence[Views]) -> list[Looks]:
    """How each object looks to a recogniser, as in indexing. Every object has a view."""
    seen = recognise_views(recogniser, objects, max_views=TUBELET_VIEWS)
    return [looks for own in seen if (looks := tell_looks(recogniser, own)) is not None]


def _choose_best(views: Views, count: int) -> list[View]:
    return sorted(views, key=lambda view: (-view.quality, view.time_s))[:count]
