"""One small index, made row by row over a real clip, and a service over it, for all tests of the service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from tests.api.tiny_index import fill_home
from tubelet.api.demo_scene import render_scene
from tubelet.api.server.app import create_app
from tubelet.settings import Settings

StartService = Callable[..., "Served"]


class Served:
    """A running service, and a client of it."""

    def __init__(self, address: str, settings: Settings, client: httpx2.Client, app: Any) -> None:
        self.address = address
        self.settings = settings
        self.client = client
        self.app = app

    def get(self, path: str, status: int = 200, **options: Any) -> Any:
        return self.ask("GET", path, status, **options)

    def post(self, path: str, status: int = 200, **options: Any) -> Any:
        return self.ask("POST", path, status, **options)

    def ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        """The JSON of an answer, whose status must be this one."""
        answer = self.client.request(method, path, **options)
        assert answer.status_code == status, (answer.status_code, answer.text[:500])
        is_problem = answer.headers.get("content-type") == "application/problem+json"
        assert is_problem == (status >= 400), answer.headers
        return answer.json() if answer.content else None


@contextmanager
def serve(settings: Settings, *, is_local: bool = True, key: str = "") -> Iterator[Served]:
    """The service over real HTTP on a free port, until leaving."""
    app = create_app(settings, is_local=is_local)
    config = uvicorn.Config(
        app, "127.0.0.1", 0, log_level="warning", timeout_graceful_shutdown=1, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service does not start"
            thread.join(0.01)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx2.Client(base_url=address, headers=headers, timeout=60) as client:
            yield Served(address, settings, client, app)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the rendered junction."""
    path = tmp_path_factory.mktemp("api-clip") / "junction.mp4"
    render_scene(path, duration_s=4)
    return path


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Settings:
    """A home whose index holds a few objects of the clip. Tests only read it."""
    return fill_home(tmp_path_factory.mktemp("api") / "home", clip)


@pytest.fixture(scope="session")
def service(filled: Settings) -> Iterator[Served]:
    """A service on loopback over the filled home, without keys."""
    with serve(filled) as served:
        yield served


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Starts services of a test's own."""
    with ExitStack() as stack:
        yield lambda settings, **options: stack.enter_context(serve(settings, **options))
