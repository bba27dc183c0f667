"""Serve the HTTP API from inside a container, where the addresses that it listens on can be chosen.

`tubelet serve --host 0.0.0.0` refuses to start without keys. In a container, where the published port and the
network's policy decide who may come, `--without-keys` lets those read. Batches are the workers' affair.
"""

from __future__ import annotations

import argparse
import sys

from tubelet.api.cli.serve import serve
from tubelet.errors import TubeletError
from tubelet.settings import load_settings


def main() -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve Tubelet's HTTP API inside a container.")
    parser.add_argument("--host", required=True, help="address to listen on; 0.0.0.0 only in a container")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--without-keys", action="store_true", help="let whoever reaches it read")
    arguments = parser.parse_args()
    try:
        serve(
            load_settings(),
            host=arguments.host,
            port=arguments.port,
            work=False,
            without_keys=arguments.without_keys,
        )
    except TubeletError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
