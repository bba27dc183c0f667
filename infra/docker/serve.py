"""Serve the HTTP API from inside a container, where the addresses that it listens on can be chosen.

`tubelet serve` listens on loopback alone, on purpose: the service has no keys. In a container nobody outside
could reach that. There the published port and the network's policy decide who may come; this script is the
same service, for such a place and no other.
"""

from __future__ import annotations

import argparse
import sys

import uvicorn

from tubelet.api.app import create_app
from tubelet.errors import TubeletError
from tubelet.settings import load_settings


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve Tubelet's HTTP API inside a container.")
    parser.add_argument("--host", required=True, help="address to listen on; 0.0.0.0 only in a container")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    try:
        settings = load_settings()
    except TubeletError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    uvicorn.run(create_app(settings), host=arguments.host, port=arguments.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
