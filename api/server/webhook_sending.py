"""Sends webhooks: signed, to public addresses only, with no way for a host name to lead anywhere else.

A name is resolved once, every address that it has is checked, and the connection goes to a checked address,
so that a second answer of the name server changes nothing. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tubelet.errors import InputError, TransientError

TIMEOUT_S = 10.0
WHOLE_S = 30.0
MAX_URL_CHARACTERS = 2000
SIGNATURE = "Tubelet-Signature"
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook goes: a name, and the checked address that stands for it."""

    is_tls: bool
    host: str
    port: int
    path: str
    address: str


def sign(secret: str, body: bytes, *, time_s: float) -> str:
    """The value of the signature's header: the time, and HMAC-SHA256 of `TIME.BODY` under the secret."""
    stamp = str(int(time_s))
    mark = hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={mark}"


def verify(secret: str, body: bytes, signature: str, *, now_s: float, within_s: float = 300.0) -> bool:
    """Whether a body came from who knows the secret, lately. For receivers."""
    parts = dict(part.partition("=")[::2] for part in signature.split(","))
    stamp = parts.get("t", "")
    if not stamp.isdecimal() or not stamp.isascii() or abs(now_s - int(stamp)) > within_s:
        return False
    return hmac.compare_digest(sign(secret, body, time_s=int(stamp)).encode(), signature.encode())


def find_target(url: str, allowed_hosts: Collection[str] = ()) -> Target:
    """Check an address and resolve its host. `allowed_hosts` (HOST or HOST:PORT) may be at private addresses.

    Raises InputError for what is no http(s) address of a public host, TransientError where its name cannot be
    resolved now.
    """
    if len(url) > MAX_URL_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
        raise _refuse("The webhook's address is too long or has odd characters")
    try:
        parts = urlsplit(url)
        host, given_port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise _refuse("The webhook's address cannot be read") from None
    if parts.scheme not in ("http", "https") or not host or "%" in host or parts.username is not None:
        raise _refuse("The webhook's address is of another kind")
    port = given_port or (443 if parts.scheme == "https" else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    addresses = _resolve(host, port)
    if not {host, f"{host}:{port}"} & {each.lower() for each in allowed_hosts}:
        for address in addresses:
            if not is_public(address):
                raise _refuse(f"The webhook's host {host} is at {address}, which is no public address")
    return Target(parts.scheme == "https", host, port, path, str(addresses[0]))


def is_public(address: _Address) -> bool:
    """Whether anybody on the internet has an address, whatever wrapping it comes in."""
    inner: list[_Address] = []
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64 or address in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner += filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
        if address.ipv4_mapped is not None:
            return all(map(is_public, inner))
        if address.is_site_local:
            return False
    is_odd = address.is_multicast or address.is_reserved or address.is_unspecified or not address.is_global
    return not is_odd and all(map(is_public, inner))


def post(target: Target, body: bytes, headers: Mapping[str, str]) -> int:
    """Send a body and return the answer's status. Raises OSError or http.client.HTTPException."""
    connection = _Pinned(target)
    timer = threading.Timer(WHOLE_S, connection.cut)
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", target.path, body=body, headers=dict(headers))
        return connection.getresponse().status
    finally:
        timer.cancel()
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked, under the host's name."""

    def __init__(self, target: Target) -> None:
        self.default_port = 443 if target.is_tls else 80
        super().__init__(target.host, target.port, timeout=TIMEOUT_S)
        self._target = target

    def connect(self) -> None:
        """Connect, to the checked address and no other."""
        target = self._target
        self.sock = socket.create_connection((target.address, target.port), timeout=TIMEOUT_S)
        if target.is_tls:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=target.host)

    def cut(self) -> None:
        """End it from another thread."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _resolve(host: str, port: int) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TransientError(
            f"The webhook's host {host[:200]} cannot be resolved", do="check its name, or try again later"
        ) from None
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _refuse(found: str) -> InputError:
    return InputError(
        found,
        expected="http:// or https:// and a host with public addresses, or one in api_webhook_hosts",
        do="name an address that the internet reaches",
    )


def make_headers(secret: str, body: bytes, delivery: str) -> dict[str, str]:
    """Headers of a webhook. A receiver that knows the delivery already may pass it over."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "tubelet-webhook",
        "Tubelet-Delivery": delivery,
        SIGNATURE: sign(secret, body, time_s=time.time()),
    }
