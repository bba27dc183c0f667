"""Tells others when a batch has ended: a file for each webhook, a thread that looks, and several tries.

A webhook is told at least once: who restarts in between may tell it again, under the same delivery id.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from tubelet.api.batch_json import progress_to_json
from tubelet.api.server.tenants import Tenant, Tenants, list_tenants
from tubelet.api.server.webhook_sending import find_target, make_headers, post
from tubelet.errors import InputError, SettingsError, StoreError, TransientError
from tubelet.orchestration.progress import ENDED, measure_batch
from tubelet.settings import Settings

log = logging.getLogger(__name__)

LOOK_S = 1.0
NUM_SENDERS = 4
MAX_ATTEMPTS = 8
FIRST_WAIT_S = 5.0
"""Before the second attempt; four times as long before each further one: the last is about a day later."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell about a batch, and how that went."""

    batch_id: str
    url: str
    secret: str
    delivery: str
    state: Literal["waiting", "delivered", "failed"] = "waiting"
    attempts: int = 0
    next_s: float = 0.0
    error: str = ""


class Webhooks:
    """The webhooks of all tenants. The thread begins with `start`."""

    def __init__(self, settings: Settings, tenants: Tenants) -> None:
        self._settings = settings
        self._tenants = tenants
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, str], Webhook] = {}
        self._sending: set[tuple[str, str]] = set()
        self._pool = ThreadPoolExecutor(NUM_SENDERS, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Take up what an earlier process left, and begin to look."""
        for name in list_tenants(self._settings):
            try:
                tenant = self._tenants.get(name)
            except SettingsError as error:
                log.warning("%s", error)
                continue
            for path in sorted((tenant.folder / "webhooks").glob("*.json")):
                webhook = _read(path)
                if webhook is not None and webhook.state == "waiting":
                    self._waiting[name, webhook.batch_id] = webhook
        self._thread.start()

    def close(self) -> None:
        """End; what is not told yet is told by the next process."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def check(self, url: str) -> None:
        """Raise InputError for an address that no webhook may go to."""
        try:
            find_target(url, self._settings.api_webhook_hosts)
        except TransientError as error:
            raise InputError(error.found, expected="a host with an address", do=error.do) from None

    def add(self, tenant: Tenant, batch_id: str, url: str, secret: str) -> Webhook:
        """Tell an address when a batch has ended. One that the batch has already stays as it is."""
        path = _find(tenant, batch_id)
        held = _read(path)
        if held is not None:
            return held
        webhook = Webhook(batch_id, url, secret or secrets.token_urlsafe(32), secrets.token_hex(16))
        _write(path, webhook)
        with self._lock:
            self._waiting[tenant.name, batch_id] = webhook
        return webhook

    def get(self, tenant: Tenant, batch_id: str) -> Webhook | None:
        """The webhook of a batch, or None."""
        return _read(_find(tenant, batch_id))

    def remove(self, tenant: Tenant, batch_id: str) -> None:
        """Forget the webhook of a batch."""
        with self._lock:
            self._waiting.pop((tenant.name, batch_id), None)
        _find(tenant, batch_id).unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            with self._lock:
                due = [
                    (key, webhook)
                    for key, webhook in self._waiting.items()
                    if key not in self._sending and webhook.next_s <= time.time()
                ]
            for key, webhook in due:
                try:
                    body = self._tell(self._tenants.get(key[0]), webhook)
                except (StoreError, SettingsError) as error:
                    log.warning("No webhooks now: %s", error)
                    break
                if body is not None:
                    with self._lock:
                        self._sending.add(key)
                    self._pool.submit(self._send, key, webhook, body)

    def _tell(self, tenant: Tenant, webhook: Webhook) -> bytes | None:
        """What is said of a batch that has ended; None while it has not."""
        batch = tenant.ledger.get_batch(webhook.batch_id)
        if batch is None:
            self.remove(tenant, webhook.batch_id)
            return None
        progress = measure_batch(batch, tenant.ledger)
        if progress.state not in ENDED:
            return None
        return json.dumps({"event": "batch.ended", "batch": progress_to_json(progress)}).encode()

    def _send(self, key: tuple[str, str], webhook: Webhook, body: bytes) -> None:
        try:
            error = self._try(webhook, body)
            attempts = webhook.attempts + 1
            if not error:
                webhook = replace(webhook, state="delivered", attempts=attempts, error="")
            elif attempts >= MAX_ATTEMPTS:
                webhook = replace(webhook, state="failed", attempts=attempts, error=error)
            else:
                wait_s = FIRST_WAIT_S * 4 ** (attempts - 1)
                webhook = replace(webhook, attempts=attempts, next_s=time.time() + wait_s, error=error)
            if error:
                log.warning("Webhook of %s, attempt %d: %s", webhook.batch_id, attempts, error)
            with self._lock:
                if key not in self._waiting:
                    return  # the batch was deleted meanwhile
                if webhook.state == "waiting":
                    self._waiting[key] = webhook
                else:
                    del self._waiting[key]
                _write(_find(self._tenants.get(key[0]), webhook.batch_id), webhook)
        except OSError as problem:
            log.error("The webhook of %s cannot be noted: %s", webhook.batch_id, problem)
        finally:
            with self._lock:
                self._sending.discard(key)

    def _try(self, webhook: Webhook, body: bytes) -> str:
        """Send once; what went wrong, or nothing."""
        try:
            target = find_target(webhook.url, self._settings.api_webhook_hosts)
            status = post(target, body, make_headers(webhook.secret, body, webhook.delivery))
        except (InputError, TransientError) as error:
            return error.found
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {type(error).__name__}"
        return "" if 200 <= status < 300 else f"the receiver answered {status}"


def webhook_to_json(webhook: Webhook) -> dict[str, object]:
    """A webhook without its secret, and of its address only the host: the rest may be a secret too."""
    told = asdict(webhook)
    scheme, _, rest = webhook.url.partition("://")
    told["url"] = f"{scheme}://{rest.partition('/')[0].partition('?')[0]}/…"
    for name in ("batch_id", "secret", "next_s"):
        del told[name]
    return told


def _find(tenant: Tenant, batch_id: str) -> Path:
    assert batch_id.isalnum(), f"{batch_id} is an id of ours"
    return tenant.folder / "webhooks" / f"{batch_id}.json"


def _read(path: Path) -> Webhook | None:
    try:
        return Webhook(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.error("The webhook in %s cannot be read: %s", path, error)
        return None


def _write(path: Path, webhook: Webhook) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(webhook), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
