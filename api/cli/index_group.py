"""`tubelet index`: paths to index, or one of the commands that keep the index.

tubelet index clip.mp4 ~/footage     indexes
tubelet index stats                  keeps; a file of that name is ./stats
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from tubelet.api.cli.app import app

INDEXING = "paths"


class IndexGroup(TyperGroup):
    """Takes the first word for a command where there is one of that name, and everything else for paths."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the indexing command in front of what names no command."""
        if not args or args[0] not in self.commands:
            args = [INDEXING, *args]
        return list(super().parse_args(ctx, args))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Show usage without the name that nobody types."""
        name, command, rest = super().resolve_command(ctx, args)
        return (None if name == INDEXING else name), command, rest


index_app = typer.Typer(cls=IndexGroup, help="Index videos, and keep the index.", rich_markup_mode="rich")
app.add_typer(index_app, name="index")
