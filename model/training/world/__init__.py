"""A rendered world with exact truth: street and park scenes to train and to test on. How: docs/world.md."""

from tubelet.model.training.world.render import render_clip, render_image
from tubelet.model.training.world.spec import (
    ACTIONS,
    CATEGORIES,
    COLOURS,
    RELATIONS,
    CameraPose,
    CameraTruth,
    ClipSpec,
    ObjectTruth,
    Phase,
    Relation,
    RenderedClip,
)
from tubelet.model.training.world.tracing import TracedClip, trace_clip

__all__ = [
    "ACTIONS",
    "CATEGORIES",
    "COLOURS",
    "RELATIONS",
    "CameraPose",
    "CameraTruth",
    "ClipSpec",
    "ObjectTruth",
    "Phase",
    "Relation",
    "RenderedClip",
    "TracedClip",
    "render_clip",
    "render_image",
    "trace_clip",
]
