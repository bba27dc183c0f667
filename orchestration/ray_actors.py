"""What runs in Ray's processes: an actor that runs units one after another, its models loaded once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.watching.gpu import set_gpu_share
from tubelet.orchestration.watching.logs import set_up_logging
from tubelet.orchestration.watching.traces import start_tracing, stop_tracing
from tubelet.settings import Settings, load_settings

log = logging.getLogger(__name__)

SHARED = ("ledger", "index_uri", "work_uri", "s3_endpoint_url", "s3_region", "lease_s", "retry_base_s")
"""What all who work on one ledger must have alike. Devices and folders are each machine's own."""


class UnitActor:
    """Runs units by their ids. Its settings are its machine's, and those that its planner shares with it."""

    def __init__(self, shared: Mapping[str, Any], owner: str, num_threads: int) -> None:
        import cv2
        import ray

        from tubelet.orchestration.work_store import WorkStore

        cv2.setNumThreads(num_threads)
        self._place = load_settings(shared)
        set_up_logging(self._place)
        start_tracing(self._place)
        context: Any = ray.get_runtime_context()
        set_gpu_share(float(context.get_assigned_resources().get("GPU", 1.0)))
        self._owner = owner
        WorkStore(self._place).remove_leftovers()
        self._ledger = open_ledger(self._place.ledger_location)

    def run(self, unit_id: str) -> bool:
        """Run a unit if its lease can be had. Raises StoreError when the ledger does not answer."""
        from tubelet.orchestration.runner import run_leased

        return run_leased(unit_id, ledger=self._ledger, place=self._place, owner=self._owner)

    def leave(self) -> None:
        """Send the last spans, and let go of the video that is kept open for the next chunk."""
        from tubelet.orchestration.stages import close_reader

        stop_tracing()
        close_reader()


def choose_shared(settings: Settings) -> dict[str, Any]:
    """The settings that travel to the actors.

    A cluster of this machine alone has all of ours. On others the home goes along only where index or chunk
    results lie in it: then the machines share it. Where spans go is shared too, so that a trace is whole.
    """
    if not settings.ray_address:
        return settings.model_dump(mode="json")
    shared = {name: getattr(settings, name) for name in SHARED} | {"ledger": settings.ledger_location}
    shared |= {name: getattr(settings, name) for name in ("ray_address", "captioner_app")}
    if settings.traces:
        shared["traces"] = settings.traces
    if not settings.index_uri or not settings.work_uri:
        shared["home"] = str(settings.home)
    return shared
