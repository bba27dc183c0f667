"""What an error means for the unit that raised it: never again, later, too little memory, or our fault.

Waiting times grow with the attempts and are spread at random, so that many workers whose store went away do
not all come back at once ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter).
"""

from __future__ import annotations

import errno
import random
import traceback

from tubelet.errors import InputError, SourceError, StoreError, TransientError, TubeletError
from tubelet.orchestration.ledger.records import ErrorClass, UnitFailure

MAX_RETRY_S = 300.0
MAX_ERROR_CHARS = 4000

_TRANSIENT_OS_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ESTALE}

_OUT_OF_MEMORY = ("out of memory", "defaultcpuallocator: can't allocate", "cannot allocate memory")
"""What networks on a GPU, networks on processors, and the system say."""


def classify_error(error: BaseException) -> ErrorClass:
    """Which kind of failure an error is."""
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _OUT_OF_MEMORY):
        return "out of memory"
    if isinstance(error, TransientError):
        return "transient"
    if isinstance(error, (SourceError, InputError)):
        return "bad input"
    if isinstance(error, (StoreError, ConnectionError, TimeoutError)):
        return "transient"
    if isinstance(error, OSError) and error.errno in _TRANSIENT_OS_ERRORS:
        return "transient"
    return "bug"


def describe_failure(
    error: BaseException,
    *,
    attempt: int,
    max_attempts: int,
    base_s: float,
    seconds: float,
    draw: random.Random,
) -> UnitFailure:
    """The failure of one attempt, with the time to wait where another one may help."""
    kind = classify_error(error)
    wait_s = None if kind == "bad input" else choose_retry_s(attempt, max_attempts, base_s, draw)
    return UnitFailure(kind, explain_error(error), seconds, wait_s)


def choose_retry_s(attempt: int, max_attempts: int, base_s: float, draw: random.Random) -> float | None:
    """Seconds until the next attempt; None when there is none."""
    return None if attempt >= max_attempts else choose_wait_s(attempt, base_s, draw)


def choose_wait_s(attempt: int, base_s: float, draw: random.Random) -> float:
    """Seconds until the next attempt: at random between none and `base_s` doubled with every attempt.

    >>> choose_wait_s(3, 2.0, random.Random(1)) <= 8.0
    True
    """
    return draw.uniform(0.0, min(MAX_RETRY_S, base_s * 2.0 ** (attempt - 1)))


def explain_error(error: BaseException) -> str:
    """What the ledger keeps: our own messages as they are, anything else with where it came from."""
    if isinstance(error, TubeletError):
        return str(error)
    where = "".join(traceback.format_exception(error))[-MAX_ERROR_CHARS:]
    return f"{type(error).__name__}: {error}. This is a fault in Tubelet: please report it\n{where}"
