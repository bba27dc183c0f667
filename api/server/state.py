"""What the routes share while the service runs. It is made when the service starts, and ends with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import BoundedSemaphore

from fastapi import Request

from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server.batch_events import BatchWatch
from tubelet.api.server.handed_uploads import AbandonedUploads
from tubelet.api.server.metrics import RequestCounts
from tubelet.api.server.opening import Opened
from tubelet.api.server.rates import Rates
from tubelet.api.server.tenants import Tenants
from tubelet.api.server.usage import Usage
from tubelet.api.server.usage_counts import open_counts
from tubelet.api.server.webhooks import Webhooks
from tubelet.settings import Settings

MAX_RENDERED = 2
"""Clips, questions and other work of seconds that go on at the same time."""

NUM_EXPORTERS = 2


@dataclass
class Service:
    """The parts of a running service. `is_local`: only this machine reaches it."""

    settings: Settings
    is_local: bool
    keys: KeyFile
    rates: Rates
    tenants: Tenants
    watch: BatchWatch
    webhooks: Webhooks
    exporters: ThreadPoolExecutor
    abandoned: AbandonedUploads
    counts: RequestCounts
    usage: Usage
    rendering: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_RENDERED))

    def close(self) -> None:
        """End what runs in the background and give up connections."""
        self.webhooks.close()
        self.exporters.shutdown(wait=True, cancel_futures=True)
        self.tenants.close()
        self.usage.close()


def open_service(settings: Settings, *, is_local: bool) -> Service:
    """The parts of a service over these settings; nothing heavy is loaded yet."""
    tenants = Tenants(settings)
    exporters = ThreadPoolExecutor(NUM_EXPORTERS, thread_name_prefix="export")
    return Service(
        settings=settings,
        is_local=is_local,
        keys=KeyFile(find_key_file(settings)),
        rates=Rates(settings.api_rate),
        tenants=tenants,
        watch=BatchWatch(),
        webhooks=Webhooks(settings, tenants),
        exporters=exporters,
        abandoned=AbandonedUploads(exporters),
        counts=RequestCounts(),
        usage=Usage(Opened(lambda: open_counts(settings))),
    )


def get_service(request: Request) -> Service:
    """The service that a request came to."""
    service = request.app.state.service
    assert isinstance(service, Service), "the application's lifespan opens it"
    return service
