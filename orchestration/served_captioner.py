"""A captioner whose model is served on a Ray cluster, under the true model's name."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from tubelet.errors import ModelError, SettingsError, TransientModelError, TubeletError
from tubelet.model.describing.base import DescribeRequest, Description
from tubelet.orchestration.failures import choose_wait_s
from tubelet.orchestration.ray_cluster import import_ray_for, import_serve, join_cluster
from tubelet.settings import Settings

BUSY_S = 120.0
"""For so long a caller comes back to a model that has no room; then its unit fails, and is tried again."""

FIRST_WAIT_S = 0.1
ANSWER_S = 900.0
ABOUT_S = 120.0


class ServedCaptioner:
    """Asks the application that `captioner_app` names."""

    def __init__(self, settings: Settings, *, busy_s: float = BUSY_S) -> None:
        """Raises TransientModelError where it is not there, and ModelError where it has another model."""
        self._app = settings.captioner_app
        self._busy_s = busy_s
        ray = import_ray_for(settings)
        if not ray.is_initialized():
            if not settings.ray_address:
                raise SettingsError(
                    f"captioner_app is {self._app!r}, and ray_address names no cluster that it could be on",
                    expected="HOST:PORT of the cluster's head, or auto",
                    do="set ray_address (TUBELET_RAY_ADDRESS)",
                )
            join_cluster(settings)
        serve = import_serve()
        self._gone: tuple[type[Exception], ...] = (
            ray.exceptions.RayError,
            serve.exceptions.RayServeException,
            TimeoutError,
        )
        self._no_room: type[Exception] = serve.exceptions.BackPressureError
        try:
            self._handle: Any = serve.get_app_handle(self._app)
            about = self._handle.about.remote().result(timeout_s=ABOUT_S)
        except self._gone as error:
            raise self._explain(error) from error
        wanted = (settings.captioner_name, settings.captioner_checkpoint)
        if (about.captioner, about.checkpoint) != wanted:
            raise ModelError(
                f"The application {self._app!r} serves {about.captioner} {about.checkpoint}".rstrip(),
                expected=" ".join(wanted).rstrip() + ", which the options of the batch name",
                do="serve that model, or take captioner_app (TUBELET_CAPTIONER_APP) away",
            )
        self.name: str = about.name
        self.object_dimensions: int = about.object_dimensions
        self.answers_questions: bool = about.answers_questions

    def describe(self, requests: Sequence[DescribeRequest]) -> list[Description]:
        """One description for each request, in order. Raises TransientModelError, or what the model does."""
        answers: dict[int, Description] = {}
        started, draw, attempt = time.monotonic(), random.Random(), 0
        while len(answers) < len(requests):
            asked = {
                number: self._handle.describe.remote(request)
                for number, request in enumerate(requests)
                if number not in answers
            }
            refused: Exception | None = None
            for number, response in asked.items():
                try:
                    answer = response.result(timeout_s=ANSWER_S)
                except self._no_room as error:
                    refused = error
                except self._gone as error:
                    raise self._explain(error) from error
                else:
                    if isinstance(answer, TubeletError):
                        raise answer
                    answers[number] = answer
            if refused is not None:
                if time.monotonic() - started > self._busy_s:
                    raise self._explain(refused) from refused
                attempt += 1
                time.sleep(choose_wait_s(attempt, FIRST_WAIT_S, draw))
        return [answers[number] for number in range(len(requests))]

    def _explain(self, error: Exception) -> TransientModelError:
        line = next(iter(str(error).strip().splitlines()), "")
        return TransientModelError(
            f"The application {self._app!r} of Ray Serve gives no answer: {type(error).__name__}: {line}",
            do="see `serve status`; start it, or give it more captioner_replicas. What asked is tried again",
        )
