"""`tubelet serve`: the HTTP service."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from tubelet.api.cli.app import Config, Home, app, start_logging
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.errors import DependencyError, InputError
from tubelet.settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK = "127.0.0.1"
CLOSE_S = 3
"""How long streams of events may hold up the end of the service."""


@app.command("serve")
def serve_command(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need keys.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    work: Annotated[
        bool, typer.Option("--work/--no-work", help="Work on batches here, or leave that to `tubelet work`.")
    ] = True,
    without_keys: Annotated[
        bool, typer.Option("--without-keys", help="Let whoever reaches another address read, and only read.")
    ] = False,
    home: Home = None,
    config: Config = None,
) -> None:
    """Serve batches, search, objects and timelines over HTTP, with a page at the root.

    Example: [bold]curl 'http://127.0.0.1:8000/v1/search?q=red+car'[/]
    """
    settings = load_settings({"home": home}, config=config)
    serve(settings, host=host, port=port, work=work, without_keys=without_keys)


def serve(settings: Settings, *, host: str, port: int, work: bool, without_keys: bool) -> None:
    """Serve until SIGTERM. Raises InputError where others could reach a service that has no keys."""
    try:
        import uvicorn
        from uvicorn.config import LOGGING_CONFIG

        from tubelet.api.server.auth import is_loopback
        from tubelet.api.server.working import working
    except ImportError as error:
        raise DependencyError(
            f"The HTTP service cannot start: {error}",
            expected="the packages of the extra 'serve'",
            do="pip install 'tubelet[serve]'",
        ) from error
    start_logging(settings)
    is_local = is_loopback(host)
    if not is_local and not without_keys and not KeyFile(find_key_file(settings)).list():
        raise InputError(
            f"The service is to listen on {host}, and there are no keys",
            expected="keys, where others than the person at this machine can reach it",
            do="tubelet keys add NAME, or --without-keys to let everybody read",
        )
    with working(settings) if work else nullcontext():
        uvicorn.run(
            _make(settings, is_local=is_local),
            host=host,
            port=port,
            timeout_graceful_shutdown=CLOSE_S,
            server_header=False,
            proxy_headers=False,
            log_config=None if settings.log_format == "json" else LOGGING_CONFIG,
            access_log=settings.log_format != "json",  # the service logs requests itself, with their ids
        )


def _make(settings: Settings, *, is_local: bool) -> FastAPI:
    from tubelet.api.server.app import create_app

    return create_app(settings, is_local=is_local)
