"""The describing model as a deployment of Ray Serve, for whoever is on the cluster: `serve run
tubelet.orchestration.ray_serve:app`. Requests of many callers go through the network together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tubelet.errors import TubeletError
from tubelet.model.describing.base import Captioner, DescribeRequest, Description
from tubelet.orchestration.ray_cluster import import_ray, import_serve
from tubelet.orchestration.resources import make_captioner
from tubelet.settings import Settings, load_settings

WAIT_S = 0.02
"""How long a request waits for others to go along with it."""

BATCHES_A_REPLICA = 4
"""So many batches may be at a replica; what is beyond waits at the callers, `captioner_queue` at each."""

HANG_S = 600.0
DRAIN_S = 120.0


@dataclass(frozen=True, slots=True)
class About:
    """Which model a replica has: what rows say of it, and the settings that it was made by."""

    name: str
    object_dimensions: int
    answers_questions: bool
    captioner: str
    checkpoint: str


class CaptionerReplica:
    """One copy of the model. The answer to a request does not depend on those that went along with it."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        settings = load_settings({**overrides, "captioner_app": ""})
        self._captioner: Captioner = make_captioner(settings)
        self._about = About(
            self._captioner.name,
            self._captioner.object_dimensions,
            self._captioner.answers_questions,
            settings.captioner_name,
            settings.captioner_checkpoint,
        )
        self._busy_since_s: float | None = None
        together = import_serve().batch(max_batch_size=settings.captioner_batch, batch_wait_timeout_s=WAIT_S)
        self._together: Callable[[DescribeRequest], Any] = together(self._describe_all)

    async def about(self) -> About:
        """Which model this is."""
        return self._about

    async def describe(self, request: DescribeRequest) -> Description | TubeletError:
        """What the model says of an object, or our own error, as a value: Serve would wrap what is raised."""
        answer: Description | Exception = await self._together(request)
        if isinstance(answer, Exception) and not isinstance(answer, TubeletError):
            raise answer
        return answer

    def check_health(self) -> None:
        """Raise when the network has not come back for long; Serve then starts another replica."""
        if self._busy_since_s is not None and time.monotonic() - self._busy_since_s > HANG_S:
            raise RuntimeError(f"the captioner has worked on one batch for more than {HANG_S:.0f} s")

    async def _describe_all(self, requests: list[DescribeRequest]) -> list[Description | Exception]:
        self._busy_since_s = time.monotonic()
        try:
            return await asyncio.to_thread(describe_apart, self._captioner, requests)
        finally:
            self._busy_since_s = None


def describe_apart(
    captioner: Captioner, requests: Sequence[DescribeRequest]
) -> list[Description | Exception]:
    """Describe all in one call; where that fails, one by one, so that one bad request spoils no other."""
    try:
        return list(captioner.describe(requests))
    except Exception as error:
        if len(requests) == 1:
            return [error]
    return [answer for request in requests for answer in describe_apart(captioner, [request])]


def app(overrides: Mapping[str, Any]) -> Any:
    """The application of these settings over those of the environment, as Serve builds it."""
    return make_app(load_settings(overrides), overrides)


def make_app(settings: Settings, overrides: Mapping[str, Any]) -> Any:
    """The application; its replicas read their own machine's settings, under `overrides`."""
    import_ray()
    serve = import_serve()
    least, most = settings.captioner_replicas or (1, 1)
    ongoing = BATCHES_A_REPLICA * settings.captioner_batch
    deployment = serve.deployment(
        name="captioner",
        max_ongoing_requests=ongoing,
        max_queued_requests=settings.captioner_queue,
        autoscaling_config={
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": max(1, ongoing // 2),
            "downscale_delay_s": 300,
        },
        ray_actor_options={"num_cpus": settings.ray_cpus, "num_gpus": settings.captioner_gpus},
        health_check_period_s=10,
        health_check_timeout_s=30,
        graceful_shutdown_wait_loop_s=1,
        graceful_shutdown_timeout_s=DRAIN_S,
    )(CaptionerReplica)
    return deployment.bind(dict(overrides))
