"""What the documents say is true: commands and code run, links lead somewhere, every setting is listed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tubelet.api.demo_scene import render_scene
from tubelet.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clip that the README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    render_scene(folder / "junction.mp4", duration_s=12)
    return folder


def test_readme_commands_and_code_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUBELET_HOME", str(folder / "home"))
    lines = [line for block in _blocks(ROOT / "README.md", "sh") for line in block.splitlines() if line]
    assert len(lines) >= 8
    for line in lines:
        assert line.startswith("tubelet ")
        command = line.replace("tubelet", f"{sys.executable} -m tubelet", 1)
        done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, line + done.stdout + done.stderr
        assert done.stdout or "--out" in line
    for block in _blocks(ROOT / "README.md", "python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=folder, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        assert "turns left" in done.stdout


def test_the_example_runs(folder: Path) -> None:
    example = ROOT / "examples" / "index_one_video.py"
    done = subprocess.run(
        [sys.executable, str(example), "junction.mp4", "red car turning left"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "turns left" in done.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_files_exist(document: Path) -> None:
    """A path in backquotes such as `workers/frames.py` is a file of this tree."""
    for name in re.findall(
        r"`((?:api|index|model|orchestration|workers|src|infra|tests|benchmarks)/[\w./-]+)`",
        document.read_text(),
    ):
        assert (ROOT / name).exists() or "yours" in name, f"{document.name} names {name}"


def test_every_setting_is_in_the_readme() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "README.md").read_text()))
    assert set(Settings.model_fields) <= named
