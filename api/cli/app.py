"""The Typer application, and what its commands share: options, printing, exit codes."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from tubelet.errors import InputError, TubeletError
from tubelet.orchestration.watching.logs import set_up_logging
from tubelet.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_SOME_FAILED = 0, 1, 2, 3

PIPED_WIDTH = 240
"""Columns of a table that goes into a pipe or a file, where nobody sees a window's edge."""

console = Console()
notices = Console(stderr=True)

app = typer.Typer(
    name="tubelet",
    help="Object-level search for video archives: find objects by what they look like and how they move.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Folder of the index and the work store. [default: ~/.tubelet]", metavar="DIR"
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with settings.", metavar="FILE", show_default=False)
]
Server = Annotated[
    str | None,
    typer.Option("--server", help="Ask this service instead of the home.", metavar="URL", show_default=False),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65535,
        help="Serve metrics for Prometheus at this port; 0 takes a free one.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of a table.")]


def run(arguments: list[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    from tubelet.api.cli import commands

    assert commands.__all__, "importing registers the commands"
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=notices, show_path=False, show_time=False)],
    )
    try:
        app(arguments, standalone_mode=True)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except TubeletError as error:
        notice("Error:", str(error), "bold red")
        return EXIT_USAGE if isinstance(error, InputError) else EXIT_FAILED
    except KeyboardInterrupt:
        notices.print("Stopped. Finished chunks are kept: the same command goes on from here.")
        return 130
    return EXIT_DONE


def start_logging(settings: Settings) -> None:
    """Log as the settings say: for people, which is set up already, or as JSON lines."""
    logging.getLogger().setLevel(settings.log_level.upper())
    set_up_logging(settings)


def notice(word: str, text: str, style: str) -> None:
    """Print a styled word and plain text on standard error; text from outside is never read as markup."""
    notices.print(Text.assemble((word, style), f" {text}"), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, unstyled."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def format_time(seconds: float) -> str:
    """Seconds as M:SS.s, or H:MM:SS.s from an hour on."""
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    clock = f"{minutes}:{tenths / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{tenths / 10:04.1f}" if hours else clock
