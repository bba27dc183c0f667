"""Makes the application: the same for `tubelet serve`, for any ASGI server, and as Ray Serve's ingress.

Nothing is opened before the application's lifespan begins: a factory of it may be sent to another process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio.to_thread
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from tubelet import __version__
from tubelet.api.quotas import parse_quotas
from tubelet.api.server.layers import RequestLayer
from tubelet.api.server.metrics import register_service
from tubelet.api.server.problems import add_handlers
from tubelet.api.server.rates import Rates
from tubelet.api.server.routes import batches, exports, objects, page, search, system, uploads, videos
from tubelet.api.server.state import Service, open_service
from tubelet.orchestration.watching.serving import serving_metrics
from tubelet.settings import Settings

log = logging.getLogger(__name__)

NUM_THREADS = 100
"""Requests that wait for disk, ledger or processor at the same time; more wait in line."""

ABOUT = "Object-level search for video archives: submit batches, search objects, export timelines."


def create_app(settings: Settings, *, is_local: bool = False) -> FastAPI:
    """The application over the home of `settings`; models load when they are first needed.

    `is_local` says that only this machine can reach it: then it needs no keys, as long as there are none.
    """
    parse_quotas(settings.api_quotas)
    Rates(settings.api_rate)  # what cannot be read is refused now, not when the service starts
    middleware = [
        Middleware(
            RequestLayer,
            origins=settings.api_origins,
            max_upload_bytes=int(settings.api_upload_gb * 1e9),
        ),
        Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
    ]
    if settings.api_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=settings.api_origins,
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Range"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-ID", "Content-Range"],
            max_age=600,
        )
        middleware.insert(1, cors)

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = NUM_THREADS
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin take the other requests' time
        service = open_service(settings, is_local=is_local)
        app.state.service = service
        register_service(service)
        service.webhooks.start()
        try:
            with _measured(settings, service):
                yield
        finally:
            await anyio.to_thread.run_sync(service.close)

    app = FastAPI(
        title="Tubelet",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        middleware=middleware,
        lifespan=live,
        generate_unique_id_function=_name_operation,
    )
    add_handlers(app)
    for noun in (batches, search, videos, objects, uploads, exports, system, page):
        app.include_router(noun.router)
    return app


@contextmanager
def _measured(settings: Settings, service: Service) -> Iterator[None]:
    """Serve metrics without keys at the port that is set for them, which is for operators alone."""
    if settings.metrics_port is None:
        yield
        return
    with serving_metrics(settings, service.counts.registry) as address:
        log.info("Metrics: %s", address)
        yield


def _name_operation(route: APIRoute) -> str:
    """What generated clients call an operation: its function's name, and the noun it belongs to."""
    noun = str(route.tags[0]) if route.tags else "system"
    return f"{route.name}_{noun}"
