"""What an address reaches: which sources it would find if they were there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tubelet.errors import SourceError
from tubelet.workers.local_files import GLOB_CHARACTERS, is_video_name, strip_scheme
from tubelet.workers.manifests import MANIFEST_PREFIX
from tubelet.workers.s3 import parse_address
from tubelet.workers.source import match_key

Reach = Callable[[str], bool]


def find_reach(address: str) -> Reach | None:
    """Whether a URI is one of those that a folder, prefix or glob stands for.

    None for an address that stands for itself alone, for a manifest, and for what is no address.
    """
    if address.startswith(MANIFEST_PREFIX):
        return None
    try:
        return _reach_objects(address) if address.startswith("s3://") else _reach_files(address)
    except (SourceError, OSError, ValueError, RuntimeError):  # the listing says what is wrong with it
        return None


def _reach_objects(address: str) -> Reach | None:
    bucket, key = parse_address(address)
    start = f"s3://{bucket}/"
    if GLOB_CHARACTERS & set(key):
        return lambda uri: uri.startswith(start) and _is_match(uri.removeprefix(start), key)
    if key and not key.endswith("/"):
        return None
    return lambda uri: uri.startswith(start + key) and is_video_name(uri)


def _reach_files(address: str) -> Reach | None:
    path = Path(strip_scheme(address)).expanduser()
    if path.is_dir():
        folder = f"{path.resolve()}/".replace("//", "/")
        return lambda uri: uri.startswith(folder) and is_video_name(uri)
    if not GLOB_CHARACTERS & set(str(path)):
        return None
    plain = next(parent for parent in path.parents if not GLOB_CHARACTERS & set(str(parent)))
    pattern = str(plain.resolve() / path.relative_to(plain))
    return lambda uri: _is_match(uri, pattern)


def _is_match(name: str, pattern: str) -> bool:
    return is_video_name(name) and match_key(name, pattern)
