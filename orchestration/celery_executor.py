"""The celery executor: one message a unit, into the queue of its kind. Workers report to the ledger alone."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import Any, Self

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from tubelet.errors import TransientStoreError
from tubelet.orchestration.celery_queues import QUEUES, TASK, choose_level, make_app
from tubelet.orchestration.executor import Returned
from tubelet.orchestration.ledger.records import ReadyUnit
from tubelet.orchestration.ledger.redis_client import hide_password
from tubelet.settings import Settings

log = logging.getLogger(__name__)

CAPACITY = 20_000
"""How many messages may wait in the queues, about 1 kB each. What is ready beyond that waits in the ledger.
"""

NOBODY_S = 60.0
"""When nothing moves in the queues for so long, it is asked whether there are workers."""


class CeleryExecutor:
    """Sends units to Celery workers, on this machine or others."""

    returns_units = False

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where the settings name no broker."""
        self._address = hide_password(settings.broker_location)
        self._app = make_app(settings, waits_for_ever=False)
        self._connection: Any = None
        self._last_change = (0, time.monotonic())

    @property
    def capacity(self) -> int:
        """How many messages may wait in the queues."""
        return CAPACITY

    def count_under_way(self) -> int:
        """How many messages wait in the queues, whoever sent them. Raises TransientStoreError."""
        connection = self._connect()
        try:
            channel = connection.default_channel
            waiting: int = sum(channel.queue_declare(queue=kind).message_count for kind in QUEUES)
        except (KombuError, RedisError, OSError) as error:
            raise self._explain(error) from error
        self._note_change(waiting)
        return int(waiting)

    def send(self, unit: ReadyUnit) -> None:
        """Put a message into the queue of the unit's kind. Raises TransientStoreError."""
        connection = self._connect()
        try:
            with self._app.amqp.Producer(connection, auto_declare=False) as producer:
                self._app.send_task(
                    TASK,
                    args=[unit.unit_id],
                    queue=unit.kind,
                    priority=choose_level(unit.priority),
                    producer=producer,
                    retry=False,
                )
        except (KombuError, RedisError, OSError) as error:
            raise self._explain(error) from error

    def wait(self, timeout_s: float) -> list[Returned]:
        """Nothing comes back."""
        time.sleep(timeout_s)
        return []

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._disconnect()
        self._app.close()

    def _connect(self) -> Any:
        """A connection over which queues can be asked and filled."""
        if self._connection is None:
            connection = self._app.connection_for_write()
            try:
                channel = connection.default_channel
                for queue in self._app.conf.task_queues:
                    queue.bind(channel).declare()
            except (KombuError, RedisError, OSError) as error:
                connection.release()
                raise self._explain(error) from error
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()

    def _explain(self, error: Exception) -> TransientStoreError:
        self._disconnect()
        return TransientStoreError(
            f"Celery's queues at {self._address} cannot be used: {type(error).__name__}: {error}",
            do="start the Redis server, or check broker (TUBELET_BROKER) and the network; nothing is lost",
        )

    def _note_change(self, waiting: int) -> None:
        """Say so when there are messages and nobody takes any."""
        last, since = self._last_change
        now = time.monotonic()
        if waiting == 0 or waiting != last:
            self._last_change = (waiting, now)
        elif now - since > NOBODY_S:
            self._last_change = (waiting, now)
            log.warning(
                "%d units wait in Celery's queues, and nobody took one for %.0f s. If no worker is running: "
                "celery -A tubelet.orchestration.celery_app worker",
                waiting,
                NOBODY_S,
            )
