"""The public API is what `__all__` says, it is typed, and importing it is cheap."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import tubelet

ROOT = Path(__file__).resolve().parent.parent


def test_all_names_exist_and_no_other_is_public() -> None:
    modules = {name for name, value in vars(tubelet).items() if inspect.ismodule(value) and name != "index"}
    public = {
        name
        for name in vars(tubelet)
        if not name.startswith("_") and name not in modules and name not in _IMPORTED_FOR_TYPES
    }
    assert public == set(tubelet.__all__)


_IMPORTED_FOR_TYPES = {"annotations", "Any", "ModuleType", "Sequence", "TYPE_CHECKING", "version"}


def test_public_functions_are_documented_and_typed() -> None:
    for function in (tubelet._index, tubelet.search, tubelet.load_settings):
        assert inspect.getdoc(function)
        parameters = inspect.signature(function).parameters
        annotations = inspect.get_annotations(function)
        assert set(parameters) | {"return"} == set(annotations)
    assert get_type_hints(tubelet.search)["return"] is tubelet.SearchResult


def test_index_is_a_function_and_a_package() -> None:
    import tubelet.index.store

    assert callable(tubelet.index)
    assert tubelet.index.store.IndexStore is not None


def test_importing_is_cheap() -> None:
    code = (
        "import sys, tubelet, tubelet.api.cli.app; "
        "heavy = {'torch', 'lancedb', 'cv2', 'transformers', 'boto3'};"
        " print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_mypy_sees_the_function_behind_the_package_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import tubelet\n"
        "report: tubelet.IndexReport = tubelet.index('a.mp4')\n"
        "hits: tuple[tubelet.Hit, ...] = tubelet.search('red car').hits\n"
    )
    run = subprocess.run(  # the project's own configuration, and so the cache that `make check` filled
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(program)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stdout
