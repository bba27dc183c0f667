"""Tenants: each has a home of its own, with its index, ledger, uploads and masks, so none can see another's.

The tenant `default` has the service's own settings. Another one lives in `HOME/tenants/NAME`, and what is set
in `tubelet.toml` there goes before the service's settings.
"""

from __future__ import annotations

import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tubelet.api.keys import DEFAULT_TENANT, check_tenant, is_tenant
from tubelet.api.quotas import parse_quotas
from tubelet.api.server.opening import Opened
from tubelet.errors import IndexMissingError, SettingsError, StoreError
from tubelet.orchestration.ledger.opening import is_local_ledger, open_ledger
from tubelet.orchestration.ledger.protocol import Ledger
from tubelet.settings import Settings, check_settings

if TYPE_CHECKING:
    from tubelet.index.store import IndexStore


class Tenant:
    """What the service keeps open of one tenant: its ledger and index, each from when it is first needed."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name = name
        self.settings = settings
        self._ledger: Opened[Ledger] = Opened(lambda: open_ledger(settings.ledger_location))
        self._lock = threading.Lock()
        self._index: IndexStore | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger. Raises StoreError when it cannot be opened now."""
        return self._ledger.get()

    @contextmanager
    def open_index(self) -> Iterator[IndexStore]:
        """The index. Raises IndexMissingError before anything was indexed.

        After a failure it is opened anew, for it may have been put in another's place.
        """
        from tubelet.orchestration.resources import open_index

        with self._lock:
            if self._index is None:
                self._index = open_index(self.settings)
            store = self._index
        try:
            yield store
        except StoreError:
            with self._lock:
                self._index = None
            raise

    def find_index(self) -> IndexStore | None:
        """The index, or None before anything was indexed."""
        try:
            with self.open_index() as store:
                return store
        except IndexMissingError:
            return None

    @cached_property
    def folder(self) -> Path:
        """Where the service keeps files of its own for the tenant: clips, exports, webhooks."""
        return self.settings.home / "api"

    @cached_property
    def quotas(self) -> Mapping[str, float]:
        """Quotas of keys that have none of their own. Raises SettingsError for what is none."""
        return parse_quotas(self.settings.api_quotas)

    def close(self) -> None:
        """Give up connections."""
        self._ledger.close()
        with self._lock:
            self._index = None


class Tenants:
    """Tenants by name, each made once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._tenants: dict[str, Tenant] = {}

    def get(self, name: str) -> Tenant:
        """The tenant of a name that a key gave. Raises SettingsError where its settings cannot be used."""
        with self._lock:
            if name not in self._tenants:
                self._tenants[name] = Tenant(name, make_tenant_settings(self._settings, name))
            return self._tenants[name]

    def close(self) -> None:
        """Give up all connections."""
        with self._lock:
            for tenant in self._tenants.values():
                tenant.close()
            self._tenants.clear()


def list_tenants(settings: Settings) -> list[str]:
    """Names of the tenants that have a home."""
    folder = settings.home / "tenants"
    found = folder.iterdir() if folder.is_dir() else ()
    return [DEFAULT_TENANT, *sorted(path.name for path in found if path.is_dir() and is_tenant(path.name))]


def make_tenant_settings(settings: Settings, name: str) -> Settings:
    """The settings of one tenant.

    Raises SettingsError for settings of its own that cannot be used, and where a ledger on a server would be
    shared with the others.
    """
    if name == DEFAULT_TENANT:
        return settings
    home = settings.home / "tenants" / check_tenant(name)
    home.mkdir(parents=True, exist_ok=True)
    own = _read_own(home / "tubelet.toml")
    for key, is_shared in (
        ("ledger", not is_local_ledger(settings.ledger_location)),
        ("broker", bool(settings.broker)),
    ):
        if is_shared and key not in own:
            raise SettingsError(
                f"The tenant {name} has no {key} of its own, and the service's is on a server",
                expected=f"{key} in {home / 'tubelet.toml'}, such as redis://HOST:PORT/1",
                do="give the tenant a database of its own",
            )
    place = {
        "home": home,
        "ledger": "",
        "index_uri": f"{settings.index_uri.rstrip('/')}-tenants/{name}" if settings.index_uri else "",
        "work_uri": f"{settings.work_uri.rstrip('/')}-tenants/{name}" if settings.work_uri else "",
        "api_uploads": f"{settings.api_uploads.rstrip('/')}-tenants/{name}" if settings.api_uploads else "",
    }
    return check_settings({**settings.model_dump(), **place, **own})


def _read_own(path: Path) -> dict[str, object]:
    try:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{path} cannot be read: {error}", expected="a TOML file", do="correct it"
        ) from None
    own.pop("home", None)  # a tenant's home is where its settings lie
    return own
