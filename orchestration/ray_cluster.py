"""Joining a Ray cluster, or starting one for this machine alone, with errors that say what to do."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from types import ModuleType

from tubelet.errors import DependencyError, SettingsError, TransientStoreError
from tubelet.settings import Settings

CONNECT_S = 5.0
_NO_REPORTS = "RAY_USAGE_STATS_ENABLED"
_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch for machines that belong to no cluster: its daemons then listen on the loopback address only.
Ray reads it when it is imported.
"""


def import_ray(*, alone: bool = False) -> ModuleType:
    """Ray, which reports nothing to anybody; `alone` for a cluster of this machine's processes only.

    Raises DependencyError where it is not installed.
    """
    os.environ.setdefault(_NO_REPORTS, "0")
    if alone:
        os.environ.setdefault(_ALONE, "0")
    return _import("ray")


def import_serve() -> ModuleType:
    """Ray Serve. Raises DependencyError where it is not installed."""
    return _import("ray.serve")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            f"Ray cannot be used: {error}",
            expected="the packages of the extra 'ray'",
            do="pip install 'tubelet[ray]'",
        ) from error


@contextlib.contextmanager
def joined_cluster(settings: Settings, *, num_cpus: float) -> Iterator[ModuleType]:
    """Ray, connected for as long as this lasts; a process that is connected already stays so.

    Without `ray_address` a cluster of this machine alone is started, with room for `num_cpus`, and ends with
    us. Raises DependencyError, SettingsError or TransientStoreError.
    """
    ray = import_ray(alone=not settings.ray_address or _is_loopback(settings.ray_address))
    if ray.is_initialized():
        yield ray
        return
    if settings.ray_address:
        join_cluster(settings)
    else:
        with _quiet():
            ray.init(
                address="local",
                num_cpus=max(len(os.sched_getaffinity(0)), int(num_cpus + 0.999)),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
    try:
        yield ray
    finally:
        ray.shutdown()


def join_cluster(settings: Settings) -> None:
    """Connect this process to the cluster at `ray_address`, for good, unless it is connected.

    Raises DependencyError, SettingsError for another version of Ray or Python, and TransientStoreError where
    nobody answers.
    """
    address = settings.ray_address
    ray = import_ray(alone=_is_loopback(address))
    if ray.is_initialized():
        return
    _check_address(address)
    try:
        with _quiet():
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise _explain(address, error) from error
        raise SettingsError(
            f"The Ray cluster at {address} is of another version: {' '.join(str(error).split())}",
            expected="the same versions of Ray and Python here and on every machine of the cluster",
            do="install what the cluster has: pip install 'ray[serve]==VERSION'",
        ) from error
    except (ConnectionError, TimeoutError, OSError, ValueError) as error:
        raise _explain(address, error) from error


def _check_address(address: str) -> None:
    """Find out soon whether anybody is there; Ray by itself asks for a long time."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise SettingsError(
            f"ray_address is {address!r}",
            expected="HOST:PORT of the cluster's head, or auto; this machine must be one of the cluster's",
            do="correct ray_address (TUBELET_RAY_ADDRESS)",
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _explain(address, error) from error


def _is_loopback(address: str) -> bool:
    return address.rpartition(":")[0] in ("127.0.0.1", "localhost")


def _explain(address: str, error: Exception) -> TransientStoreError:
    line = str(error).strip().splitlines()[-1:] or [""]
    return TransientStoreError(
        f"The Ray cluster at {address} cannot be joined: {type(error).__name__}: {line[0].strip()}",
        do="start Ray on this machine (ray start --address=HEAD:PORT), or check ray_address "
        "(TUBELET_RAY_ADDRESS) and the cluster's token (RAY_AUTH_MODE, RAY_AUTH_TOKEN); nothing is lost",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's notice of how it will treat actors without a GPU one day, and LanceDB's of forks: Ray's
    daemons are forked from here, and become other programs at once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tip: In future versions of Ray", category=FutureWarning)
        warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
        yield
