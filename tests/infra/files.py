"""What the tests of `infra/` share: where its files are, and reading them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tubelet.settings import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent.parent
INFRA = ROOT / "infra"

VARIABLES = {CONFIG_VARIABLE} | {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}
"""Every `TUBELET_*` variable that Tubelet does not refuse."""

PINNED = re.compile(r"[\w.-]+(?:/[\w.-]+)*:v?\d+\.\d+[\w.-]*")
"""An image with a tag that begins with two numbers, not `latest` and not nothing."""


def read_yaml(path: Path) -> list[dict[str, Any]]:
    """All documents of a file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]


def read_settings(path: Path) -> dict[str, str]:
    """Names and values of a file of `NAME=value` lines."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def unknown_variables(names: set[str]) -> set[str]:
    """Those that look like a setting and are none: with one of them no process starts."""
    return {name for name in names if name.startswith(ENVIRONMENT_PREFIX)} - VARIABLES
