"""Keys of the HTTP service: a file with a hash of each, the tenant it belongs to and what it may do.

A key is `tk_ID_SECRET`. Its secret is 256 bits of chance, so that one SHA-256 of it is enough: there is
nothing to guess. The key itself is shown once, when it is made, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from filelock import FileLock

from tubelet.errors import InputError, StoreError
from tubelet.settings import Settings

SCOPES = ("search", "submit", "admin")
"""What a key may do: read; submit and steer batches, upload and export; and see how the service fares."""

DEFAULT_TENANT = "default"
_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"tk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key."""

    key_id: str
    name: str
    tenant: str
    scopes: tuple[str, ...]
    digest: str
    created_s: float
    quotas: Mapping[str, float] = field(default_factory=dict)


def find_key_file(settings: Settings) -> Path:
    """Where the keys of these settings lie."""
    return Path(settings.api_keys).expanduser() if settings.api_keys else settings.home / "keys.json"


def is_tenant(name: str) -> bool:
    """Whether a tenant may be called so."""
    return _TENANT.fullmatch(name) is not None


def check_tenant(name: str) -> str:
    """The name itself. Raises InputError where it could not name a folder."""
    if not is_tenant(name):
        raise InputError(
            f"{name[:80]!r} is no name of a tenant",
            expected="lower-case letters, digits and -, at most 63",
            do="correct it",
        )
    return name


class KeyFile:
    """The keys in a file. Readers see a change with their next look; writers take turns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys: Mapping[str, Key] = {}

    def list(self) -> Sequence[Key]:
        """Every key, oldest first."""
        return tuple(self._read().values())

    def find(self, text: str) -> Key | None:
        """The key that somebody shows, or None. Takes as long for a wrong secret as for the right one."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        key = self._read().get(match[1])
        is_right = hmac.compare_digest(_digest(match[2]), key.digest if key else _digest(""))
        return key if key is not None and is_right else None

    def add(
        self,
        name: str,
        *,
        tenant: str = DEFAULT_TENANT,
        scopes: Sequence[str] = ("search",),
        quotas: Mapping[str, float] | None = None,
    ) -> str:
        """Make a key and return it; this is the only time that it can be seen."""
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InputError(
                f"{unknown[0]!r} is no scope" if unknown else "No scope is given",
                expected=f"some of: {', '.join(SCOPES)}",
                do="correct it",
            )
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        may = tuple(sorted(set(scopes)))
        key = Key(key_id, name, check_tenant(tenant), may, _digest(secret), time.time(), quotas or {})
        with self._writing():
            self._write({**self._read(), key_id: key})
        return f"tk_{key_id}_{secret}"

    def remove(self, key_id: str) -> Key:
        """Forget a key, by its id. Raises InputError for an unknown one."""
        with self._writing():
            keys = dict(self._read())
            if key_id not in keys:
                raise InputError(
                    f"There is no key {key_id[:80]!r}",
                    expected="an id from `tubelet keys list`",
                    do="correct it",
                )
            removed = keys.pop(key_id)
            self._write(keys)
        return removed

    def _writing(self) -> FileLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=30)

    def _read(self) -> Mapping[str, Key]:
        with self._lock:
            try:
                found = self.path.stat()
                seen = (found.st_mtime_ns, found.st_size, found.st_ino)
                if seen != self._seen:
                    rows = json.loads(self.path.read_text(encoding="utf-8"))["keys"]
                    keys = [Key(**{**row, "scopes": tuple(row["scopes"])}) for row in rows]
                    self._keys, self._seen = {key.key_id: key for key in keys}, seen
            except FileNotFoundError:
                self._keys, self._seen = {}, None
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    f"The keys in {self.path} cannot be read: {type(error).__name__}",
                    expected="the file as `tubelet keys` writes it",
                    do="restore it, or make the keys anew",
                ) from error
            return self._keys

    def _write(self, keys: Mapping[str, Key]) -> None:
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"keys": [asdict(key) for key in keys.values()]}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
