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
_ATTEMPTS = ("RAY_gcs_server_port_wait_time_s", "1")
"""How often Ray asks a head that gives no answer: each time for up to 40 s, and by itself 20 times."""
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


def import_ray_for(settings: Settings) -> ModuleType:
    """Ray for the cluster of these settings. Raises DependencyError where it is not installed."""
    return import_ray(alone=not settings.ray_address or _is_loopback(settings.ray_address))


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
    ray = import_ray_for(settings)
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

    Raises DependencyError, SettingsError for another version of Ray or Python or another token, and
    TransientStoreError where nobody answers.
    """
    address = settings.ray_address
    ray = import_ray_for(settings)
    if ray.is_initialized():
        return
    _check_address(address, ray.util.get_node_ip_address())
    try:
        with _quiet(), _few_attempts():
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except ray.exceptions.AuthenticationError as error:
        raise _explain_token(address, error) from error
    except RuntimeError as error:
        if "ersion mismatch" not in str(error):
            raise _explain(address, error) from error
        raise SettingsError(
            f"The Ray cluster at {address} is of another version: {' '.join(str(error).split())}",
            expected="the same versions of Ray and Python here and on every machine of the cluster",
            do="install what the cluster has: pip install 'ray[serve]==VERSION'",
        ) from error
    except (ConnectionError, TimeoutError, OSError, ValueError) as error:
        if "InvalidAuthToken" in str(error.__cause__):
            raise _explain_token(address, error) from error
        raise _explain(address, error) from error


def _check_address(address: str, own_host: str) -> None:
    """Find out soon whether anybody is there; Ray by itself asks for a long time.

    It asks at `own_host` where the address is the loopback one.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise SettingsError(
            f"ray_address is {address!r}",
            expected="HOST:PORT of the cluster's head, or auto; this machine must be one of the cluster's",
            do="correct ray_address (TUBELET_RAY_ADDRESS)",
        )
    asked = own_host if _is_loopback(address) else host
    try:
        socket.create_connection((asked, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        if asked != host and own_host != "127.0.0.1":
            address = f"{address}, for which Ray takes {asked}:{port},"
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


def _explain_token(address: str, error: Exception) -> SettingsError:
    return SettingsError(
        f"The Ray cluster at {address} does not take the token of this process, or it has none",
        expected="the token of the cluster",
        do="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, before Python starts",
    )


@contextlib.contextmanager
def _few_attempts() -> Iterator[None]:
    """Let Ray give up soon, unless the environment says how long it shall try."""
    name, few = _ATTEMPTS
    if name in os.environ:
        yield
        return
    os.environ[name] = few
    try:
        yield
    finally:
        del os.environ[name]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Ray's notice of how it will treat actors without a GPU one day, and LanceDB's of forks: Ray's
    daemons are forked from here, and become other programs at once.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tip: In future versions of Ray", category=FutureWarning)
        warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
        yield
