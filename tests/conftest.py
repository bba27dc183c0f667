"""What every test shares: a home of its own, no settings from outside, quick models, and where clips lie."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Ray reads these once, when it is imported, which the first test module to be collected may do. Without the
# second it would look for a head on the loopback address at the machine's own.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Point all user state at a temporary folder, and forget settings of the machine."""
    for variable in list(os.environ):
        if variable.startswith(("TUBELET_", "AWS_")):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("TUBELET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TUBELET_PROFILE", "measured")  # networks are loaded only by tests that are about them
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """The folder of real clips beside the checkout; the test is skipped where there is none."""
    folder = ROOT.parent / "shared" / "videos"
    if not folder.is_dir():
        pytest.skip(f"real clips are not at {folder}")
    return folder
