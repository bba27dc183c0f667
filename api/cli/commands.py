"""Imports every command so that it registers itself."""

from tubelet.api.cli import (
    count,
    demo,
    describe,
    doctor,
    evaluate,
    evaluate_rendered,
    export,
    index,
    info,
    models,
    render,
    search,
    serve,
    show,
    train,
    train_describe,
)

__all__ = [
    "count",
    "demo",
    "describe",
    "doctor",
    "evaluate",
    "evaluate_rendered",
    "export",
    "index",
    "info",
    "models",
    "render",
    "search",
    "serve",
    "show",
    "train",
    "train_describe",
]
