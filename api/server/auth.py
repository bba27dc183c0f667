"""Who calls: the key that a request shows, what it may do, and how often.

Without any key in the file, a service that is bound to loopback lets whoever reaches it do everything, as the
command line does. A service that is bound elsewhere needs keys, or is told to do without and then only reads.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from tubelet.api.keys import DEFAULT_TENANT, SCOPES
from tubelet.api.server.problems import Problem
from tubelet.api.server.state import Service, get_service
from tubelet.api.server.tenants import Tenant
from tubelet.errors import SettingsError

log = logging.getLogger(__name__)

Scope = Literal["search", "submit", "admin"]

COOKIE = "tubelet_key"
_BEARER = HTTPBearer(auto_error=False, description="`Authorization: Bearer KEY`, from `tubelet keys add`")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, description="for web pages, from POST /v1/session")
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, on whose behalf, and what they may do."""

    key_id: str
    tenant: Tenant
    scopes: tuple[str, ...]
    is_trusted: bool
    """Whether it is the person at this machine, who may read every file that the process may."""

    quotas: Mapping[str, float] = field(default_factory=dict)


def get_caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
    cookie: Annotated[str | None, Security(_COOKIE)] = None,
) -> Caller:
    """The caller of a request. Raises a Problem where the key is missing or wrong, or called too often."""
    service = get_service(request)
    shown = bearer.credentials if bearer is not None else cookie
    caller = _identify(service, request, shown)
    if not caller.is_trusted:
        service.rates.take(caller.key_id or f"nobody at {request.client.host if request.client else ''}")
    return caller


def _identify(service: Service, request: Request, shown: str | None) -> Caller:
    has_other = shown is None and "authorization" in request.headers
    if shown is None and not has_other and not service.keys.list():
        return _be_nobody(service, request)
    if shown is None:
        raise Problem(
            "no-key",
            "The request shows no key",
            expected="Authorization: Bearer KEY",
            do="ask who runs the service for one: tubelet keys add NAME",
            headers={"WWW-Authenticate": 'Bearer realm="tubelet"'},
        )
    key = service.keys.find(shown)
    if key is None:
        service.rates.take_guess(request.client.host if request.client else "")
        raise Problem(
            "bad-key",
            "The key that the request shows is not known (any more)",
            expected="a key as `tubelet keys add` printed it",
            do="check it, or ask for a new one",
            headers={"WWW-Authenticate": 'Bearer realm="tubelet", error="invalid_token"'},
        )
    try:
        tenant = service.tenants.get(key.tenant)
        quotas = {**tenant.quotas, **key.quotas}
    except SettingsError as error:
        log.error("%s", error)
        raise Problem(
            "unavailable",
            f"The settings of tenant {key.tenant} cannot be used",
            do="tell who runs the service",
            headers={"Retry-After": "60"},
        ) from None
    return Caller(key.key_id, tenant, key.scopes, is_trusted=False, quotas=quotas)


def _be_nobody(service: Service, request: Request) -> Caller:
    tenant = service.tenants.get(DEFAULT_TENANT)
    if not service.is_local:
        return Caller("", tenant, ("search",), is_trusted=False, quotas=tenant.quotas)
    if any(name in request.headers for name in _FORWARDED):
        raise Problem(
            "behind-proxy",
            "The request came through a proxy, and the service has no keys",
            expected="keys, where others than the person at this machine can reach the service",
            do="tubelet keys add NAME",
        )
    return Caller("local", tenant, SCOPES, is_trusted=True)


def require(scope: Scope) -> Callable[..., Caller]:
    """A dependency that gives the caller, who must have this scope."""

    def check(caller: Annotated[Caller, Depends(get_caller)]) -> Caller:
        if scope not in caller.scopes:
            raise Problem(
                "not-allowed",
                f"The key has the scopes {', '.join(caller.scopes) or 'of nobody'}",
                expected=f"the scope {scope}",
                do="ask for a key with it",
            )
        return caller

    return check


CanSearch = Annotated[Caller, Depends(require("search"))]
CanSubmit = Annotated[Caller, Depends(require("submit"))]
CanAdmin = Annotated[Caller, Depends(require("admin"))]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to a host.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
