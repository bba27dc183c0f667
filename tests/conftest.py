"""What every test shares: a home of its own, no settings from outside, quick models, and where clips lie."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Ray reads these once, when it is imported, which the first test module to be collected may do. Without the
# second it would look for a head on the loopback address at the machine's own.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))

hypothesis.settings.register_profile("tubelet", deadline=None)  # no test is about time
hypothesis.settings.load_profile("tubelet")


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for all temporary files, removed at the end: processes that tests kill leave theirs."""
    tmp_path_factory.getbasetemp()  # pytest's own files stay where it keeps them
    before = os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="tubelet-"))  # a short name: sockets' paths are limited
    folder.chmod(0o1777)  # tests that give up root need it too
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield
    tempfile.tempdir = None
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before
    end_users(folder)
    shutil.rmtree(folder, ignore_errors=True)


def end_users(folder: Path, *, patience_s: float = 15.0) -> None:
    """Wait for processes that name a folder in their command, and kill those that stay: Ray's agents outlive
    their node by seconds, and write where everything was taken away."""
    users = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in part for part in process.info["cmdline"] or ())
    ]
    _, left = psutil.wait_procs(users, timeout=patience_s)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=patience_s)


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
