"""The command line. `tubelet --help` lists the commands; each is a module here."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some sources failed."""
    from tubelet.api.cli.app import run

    sys.exit(run())
