"""Celery's queues on Redis: their names, how messages look, and who may wait how long.

A message is the id of a unit and nothing else. It only says that there is something to do: the right to do
it is the ledger's lease, so a message that comes twice or late does no harm, and one that is lost is sent
again.
"""

from __future__ import annotations

from typing import Any, get_args

from celery import Celery
from kombu import Queue

from tubelet.errors import SettingsError
from tubelet.orchestration.ledger.records import UnitKind
from tubelet.settings import Settings

QUEUES: tuple[UnitKind, ...] = get_args(UnitKind)
"""One queue a kind of unit: `plan` and `video` need processors, `chunk` a GPU where the tracker does."""

TASK = "tubelet.run_unit"
KEY_PREFIX = "tubelet:queues:"
LEVELS = 10
"""Levels of urgency in a queue; Redis has a list for each, and the first is emptied first."""

VISIBILITY_S = 24 * 3600
"""After so long Redis delivers a message again that nobody acknowledged. A second delivery finds no lease, so
this need only be longer than a unit may take. It is not what saves the units of dead workers: leases are.
"""

TIMEOUT_S = 5.0
_START_S = 60.0


def make_app(settings: Settings, *, waits_for_ever: bool) -> Celery:
    """The Celery app of these settings. Raises SettingsError where they name no broker.

    A worker waits for ever for a broker that is away; whoever sends must hear of it within a few times
    `TIMEOUT_S`.
    """
    options: dict[str, Any] = {
        "visibility_timeout": VISIBILITY_S,
        "global_keyprefix": KEY_PREFIX,
        "priority_steps": list(range(LEVELS)),
        "socket_connect_timeout": TIMEOUT_S,
        "socket_keepalive": True,
    }
    if not waits_for_ever:
        options |= {"socket_timeout": TIMEOUT_S, "max_retries": 1, "connect_retries_timeout": TIMEOUT_S}
    app = Celery("tubelet", broker=name_broker(settings), set_as_current=waits_for_ever)
    app.conf.update(
        broker_transport_options=options,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_queues=[Queue(kind) for kind in QUEUES],
        task_default_queue=QUEUES[0],
        task_create_missing_queues=False,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,  # the ledger says how a unit ended
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_track_started=False,
        worker_prefetch_multiplier=1,
        worker_lost_wait=1.0,  # there are no results that might still come from a killed process
        worker_proc_alive_timeout=_START_S,
        worker_send_task_events=False,
    )
    return app


def name_broker(settings: Settings) -> str:
    """The broker's address as Celery has it. Raises SettingsError."""
    address = settings.broker_location
    if "cluster=true" in address.partition("?")[2]:
        raise SettingsError(
            "Celery's queues cannot lie on a Redis cluster",
            expected="one server",
            do="set broker (TUBELET_BROKER) to a server that is no cluster; the ledger may stay where it is",
        )
    scheme, _, rest = address.partition("://")
    return f"redis+socket://{rest}" if scheme == "unix" else address


def choose_level(priority: int) -> int:
    """The level of a batch's priority (-100 to 100) in a queue; 0 is the most urgent.

    >>> [choose_level(priority) for priority in (100, 0, -100)]
    [0, 5, 9]
    """
    level = LEVELS - 1 - round((priority + 100) * (LEVELS - 1) / 200)
    return min(LEVELS - 1, max(0, level))
