"""Every error Tubelet raises on purpose.

    TubeletError
    ├── InputError             the caller's fault: exit code 2
    │   ├── SettingsError      a setting is unknown or out of range
    │   ├── UnknownNameError   a tracker, captioner, profile or format that is not registered
    │   └── QueryError         a search that cannot be understood
    ├── SourceError            one video cannot be used; the batch goes on: exit code 3
    │   ├── SourceMissingError there is nothing at that address, or no permission to read it
    │   ├── SourceChangedError it holds something else than when it was listed: list it again
    │   ├── TransientSourceError  (also a TransientError) it cannot be read now, later perhaps
    │   ├── VideoFormatError   not a video, or one that no decoder opens
    │   ├── VideoTruncatedError  the file ends early or its middle cannot be decoded
    │   └── DecodeTimeoutError the decoder stopped answering
    ├── ModelError             weights missing, of the wrong shape, or out of memory
    │   └── TransientModelError  (also a TransientError) a served model is away or has no room now
    ├── StoreError             the index or the work store is missing, locked, or of another schema version
    │   ├── IndexMissingError  nothing was indexed there yet
    │   ├── ObjectMissingError an object of a store is not there (any more)
    │   ├── TransientStoreError  (also a TransientError) it does not answer or is full now, later perhaps
    │   └── StaleCommitError   another worker, with a newer lease, has committed the video
    ├── TransientError         the surroundings are at fault and not the input: the same may succeed later
    ├── LeaseLostError         a unit of work belongs to somebody else by now
    └── DependencyError        an optional package or program is not installed

A message says what was found, what was expected and what to do; `str(error)` joins the three.
"""

from __future__ import annotations

from collections.abc import Iterable


class TubeletError(Exception):
    """Base of all errors that Tubelet raises on purpose."""

    def __init__(self, found: str, *, expected: str = "", do: str = "") -> None:
        self.found = found
        self.expected = expected
        self.do = do
        super().__init__(found, expected, do)

    def __str__(self) -> str:
        parts = [self.found]
        if self.expected:
            parts.append(f"Expected: {self.expected}")
        if self.do:
            parts.append(f"Do: {self.do}")
        return ". ".join(part.rstrip(".") for part in parts) + "."

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the three parts when an error crosses a process border."""
        return (_rebuild, (type(self), self.found, self.expected, self.do))


def _rebuild(kind: type[TubeletError], found: str, expected: str, do: str) -> TubeletError:
    error = kind.__new__(kind)
    TubeletError.__init__(error, found, expected=expected, do=do)
    return error


class InputError(TubeletError):
    """The caller asked for something that cannot be done as asked."""


class SettingsError(InputError):
    """A setting is unknown, of the wrong type, or out of range."""


class UnknownNameError(InputError):
    """A name that no registry holds; the message lists the names that are known."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known)) or "none"
        super().__init__(f"Unknown {kind} {name!r}", expected=f"one of: {names}", do=f"choose a known {kind}")


class QueryError(InputError):
    """A search request that cannot be understood."""


class TransientError(TubeletError):
    """The surroundings failed: a server, the network, a full disk. The same may succeed later.

    What is no TransientError fails again when it is tried again.
    """


class SourceError(TubeletError):
    """One source cannot be used. The other sources of the batch are not affected."""


class SourceMissingError(SourceError):
    """Nothing is there, or it may not be read."""


class SourceChangedError(SourceError):
    """The source is not the one that was listed. Trying again never helps, listing it again does."""


class TransientSourceError(SourceError, TransientError):
    """The source cannot be read now: its server is busy or cannot be reached."""


class VideoFormatError(SourceError):
    """The file is not a video, or not one that the decoder opens."""


class VideoTruncatedError(SourceError):
    """The file ends early, or frames that it announces cannot be decoded."""


class DecodeTimeoutError(SourceError):
    """The decoder did not answer within the time limit and was stopped."""


class ModelError(TubeletError):
    """A model cannot be loaded or run."""


class TransientModelError(ModelError, TransientError):
    """A model that is served elsewhere does not answer, or has no room, now."""


class StoreError(TubeletError):
    """The index or the work store is missing, locked, or of another schema version."""


class IndexMissingError(StoreError):
    """There is no index at an address (yet)."""


class ObjectMissingError(StoreError):
    """An object of a store is not there: it was never put, or was deleted."""


class TransientStoreError(StoreError, TransientError):
    """A store does not answer, or has no room, now."""


class LeaseLostError(TubeletError):
    """Whoever ran a unit of work no longer holds its lease: its result must not count."""


class StaleCommitError(StoreError):
    """A video was committed by a worker whose lease is newer. Nothing of this commit is in the index."""


class DependencyError(TubeletError):
    """An optional package or program is not installed."""
