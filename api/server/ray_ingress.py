"""The service on a Ray cluster: `serve run tubelet.api.server.ray_ingress:app`, behind the proxies of Serve.

The same application as `tubelet serve`, made in the replica. It works on no batches and takes nobody for the
person at this machine, so that without keys it only reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tubelet.api.server.app import NUM_THREADS, create_app
from tubelet.orchestration.ray_cluster import import_ray, import_serve
from tubelet.settings import load_settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ONGOING = 5 * NUM_THREADS
"""Requests at a replica at the same time. Who listens to a batch holds one as long, and no thread."""


def app(overrides: Mapping[str, Any]) -> Any:
    """The application of these settings over those of the replica's environment, as Serve builds it."""
    import_ray()
    serve = import_serve()
    given = dict(overrides)
    load_settings(given)  # what cannot be read is refused here, where somebody sees it

    def build() -> ASGIApp:
        return _leave_out_ids(create_app(load_settings(given)))

    deployment = serve.deployment(name="api", max_ongoing_requests=ONGOING, ray_actor_options={"num_cpus": 1})
    return deployment(serve.ingress(build)()).bind()


def _leave_out_ids(inner: ASGIApp) -> ASGIApp:
    """An application that leaves the header with the request's id to the proxy, which adds it by itself."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def give(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [each for each in message["headers"] if each[0].lower() != b"x-request-id"]
                message = {**message, "headers": own}
            await send(message)

        await inner(scope, receive, give)

    return serve
