"""Which sources a caller may submit: what the settings allow, and uploads of the caller's own tenant."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from tubelet.api.server.auth import Caller
from tubelet.api.server.problems import Problem
from tubelet.api.server.uploads import PREFIX, find_upload
from tubelet.errors import SourceError
from tubelet.settings import Settings
from tubelet.workers.local_files import GLOB_CHARACTERS, strip_scheme
from tubelet.workers.manifests import MANIFEST_PREFIX, is_manifest_name

ALL = "*"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def resolve_sources(sources: Sequence[str], caller: Caller, settings: Settings) -> list[str]:
    """The addresses that a batch gets, uploads by theirs. Raises a Problem for what may not be read."""
    tenant = caller.tenant
    allowed = tenant.settings.api_sources or ((ALL,) if caller.is_trusted else ())
    return [_resolve(source, caller, allowed, settings) for source in sources]


def _resolve(source: str, caller: Caller, allowed: Sequence[str], settings: Settings) -> str:
    if source.startswith(PREFIX):
        return find_upload(caller.tenant, source.removeprefix(PREFIX)).address
    if not source or "\0" in source:
        raise Problem("bad-input", "A source is empty or holds a zero byte", expected="an address")
    plain = source.removeprefix(MANIFEST_PREFIX)
    scheme = _SCHEME.match(plain)
    if scheme is not None and scheme[1] not in ("s3", "file"):
        raise Problem(
            "bad-input",
            f"The source {source[:200]!r} is of a kind that is not read",
            expected="an absolute path, file://, s3:// or upload:ID",
            do="upload the video, or put it on S3",
        )
    if not caller.is_trusted and not plain.startswith("s3://"):
        _refuse_home(plain, settings, source)
    if not caller.is_trusted and (plain != source or is_manifest_name(plain)):
        raise _refuse(source, "a manifest names sources that nobody has checked")
    if ALL in allowed:
        if not plain.startswith("s3://") and not _find_path(plain, source).is_absolute():
            raise Problem(
                "bad-input",
                f"The source {source[:200]!r} is a relative path",
                expected="an absolute path",
                do="write where it begins, for the service has a folder of its own",
            )
        return source
    fits = _fits_s3 if plain.startswith("s3://") else _fits_folder
    if not any(fits(plain, each, source) for each in allowed):
        raise _refuse(source, "it lies outside what the service may read")
    return source


def _fits_s3(address: str, allowed: str, source: str) -> bool:
    """Whether all keys of an address lie below an allowed one; keys are no paths, so `..` means nothing."""
    if not allowed.startswith("s3://"):
        return False
    literal = re.split(r"[*?\[]", address, maxsplit=1)[0]
    below = allowed.rstrip("/")
    return literal == below or literal.startswith(f"{below}/")


def _fits_folder(address: str, allowed: str, source: str) -> bool:
    """Whether all that a path or glob names lies in a folder, with links followed where there are any."""
    if allowed.startswith("s3://"):
        return False
    path = _find_path(address, source)
    if not path.is_absolute() or ".." in path.parts:
        return False
    literal = path
    if not os.path.lexists(path):
        parts = [*path.parts]
        first = next((n for n, part in enumerate(parts) if GLOB_CHARACTERS & set(part)), len(parts))
        literal = Path(*parts[:first])
    try:
        return literal.resolve().is_relative_to(Path(allowed).expanduser().resolve())
    except (OSError, RuntimeError):
        return False


def _refuse_home(address: str, settings: Settings, source: str) -> None:
    """The service's home holds what other tenants uploaded."""
    path = _find_path(address, source)
    if ".." in path.parts:
        raise _refuse(source, "it holds ..")
    try:
        home, literal = settings.home.resolve(), path.resolve()
    except (OSError, RuntimeError):
        raise _refuse(source, "it cannot be resolved") from None
    if literal.is_relative_to(home) or home.is_relative_to(literal):
        raise _refuse(source, "the service's own folder lies there")
    if GLOB_CHARACTERS & set(address) and not os.path.lexists(path):
        start = Path(*[*path.parts][: next(n for n, p in enumerate(path.parts) if GLOB_CHARACTERS & set(p))])
        if home.is_relative_to(start.resolve()):
            raise _refuse(source, "the service's own folder lies there")


def _find_path(address: str, source: str) -> Path:
    try:
        return Path(strip_scheme(address))
    except SourceError as error:
        raise Problem("bad-input", f"{source[:200]!r}: {error.found}", expected="an address") from None


def _refuse(source: str, why: str) -> Problem:
    return Problem(
        "source-not-allowed",
        f"The source {source[:200]!r} may not be read: {why}",
        expected="an upload, or what api_sources names",
        do="upload the video, or ask who runs the service to allow it",
    )
