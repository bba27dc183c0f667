"""The tree: the given folders are one package, and nothing else is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("api", "index", "model", "orchestration", "workers")


@pytest.mark.parametrize("folder", FOLDERS)
def test_given_folders_are_packages_of_tubelet(folder: str) -> None:
    assert importlib.util.find_spec(f"tubelet.{folder}") is not None
    link = ROOT / "src" / "tubelet" / folder
    assert link.is_symlink()
    assert link.resolve() == ROOT / folder


def test_the_wheel_holds_every_module_and_nothing_bare(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(source)], check=True)
    # what is not committed yet belongs to the tree that is tested
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        here, there = ROOT / name, source / name
        if here.is_file() and not here.is_symlink():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(here.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"tubelet"}
    expected = {
        f"tubelet/{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert expected <= set(names)
    assert "tubelet/py.typed" in names
