"""`tubelet serve`: the HTTP service."""

from __future__ import annotations

from typing import Annotated

import typer

from tubelet.api.cli.app import Config, Home, app
from tubelet.errors import DependencyError
from tubelet.settings import load_settings


@app.command("serve")
def serve_command(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    home: Home = None,
    config: Config = None,
) -> None:
    """Serve search, objects and timelines over HTTP, read-only, on this machine's loopback address.

    Example: [bold]curl 'http://127.0.0.1:8000/v1/search?q=red+car'[/]
    """
    try:
        import uvicorn

        from tubelet.api.app import create_app
    except ImportError as error:
        raise DependencyError(
            f"The HTTP service cannot start: {error}",
            expected="the packages of the extra 'serve'",
            do="pip install 'tubelet[serve]'",
        ) from error
    uvicorn.run(create_app(load_settings({"home": home}, config=config)), host="127.0.0.1", port=port)
