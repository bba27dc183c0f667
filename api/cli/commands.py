"""Imports every command so that it registers itself."""

from tubelet.api.cli import demo, describe, doctor, evaluate, export, index, info, models, search, serve, show

__all__ = [
    "demo",
    "describe",
    "doctor",
    "evaluate",
    "export",
    "index",
    "info",
    "models",
    "search",
    "serve",
    "show",
]
