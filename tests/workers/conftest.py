"""Test videos, and the S3 server of tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.s3_server import bucket as bucket
from tests.s3_server import faulty_s3 as faulty_s3
from tests.s3_server import s3_client as s3_client
from tests.s3_server import s3_options as s3_options
from tests.s3_server import s3_server as s3_server
from tubelet.records import Source, Video
from tubelet.workers.probe import probe_video


def _load_factory() -> ModuleType:
    """`tests/video_factory.py`; test folders are no packages, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location(
        "video_factory", Path(__file__).parents[1] / "video_factory.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A `VideoFactory`, shared by the session so that each video is made once."""
    return _load_factory().VideoFactory(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="session")
def read_number() -> Callable[[Any], int]:
    """The number drawn into a picture of a numbered video."""
    return _load_factory().read_number  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def probe() -> Callable[[Path], Video]:
    """Probe a local file under an identity that is its name."""

    def probe_path(path: Path) -> Video:
        return probe_video(path, Source(str(path), f"blake2b:{path.name}", path.stat().st_size), timeout_s=30)

    return probe_path
