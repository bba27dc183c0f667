"""Cursors: where a page of hits ended, of which query, on which version of the index.

A cursor is opaque to whoever holds it. It is no secret and no key: whatever it says is checked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import asdict, dataclass

from tubelet.errors import QueryError
from tubelet.index.structured_query import Query, SearchFilter

_FORMAT = 1
MAX_OFFSET = 1_000_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """`offset` hits came before; `pool` is how many candidates of each list were ranked."""

    query_digest: str
    version: str
    offset: int
    pool: int

    def write(self) -> str:
        """The cursor as text that is safe in addresses."""
        values = [_FORMAT, self.query_digest, self.version, self.offset, self.pool]
        text = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(text).decode().rstrip("=")


def read_cursor(text: str, query_digest: str) -> Cursor:
    """The cursor that a page gave. Raises QueryError for anything else, or when it is another query's."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        form, digest, version, offset, pool = values
        whole = all(type(number) is int for number in (form, offset, pool))
        if not (whole and form == _FORMAT and isinstance(digest, str) and isinstance(version, str)):
            raise ValueError
        if not (0 < offset <= MAX_OFFSET and 0 < pool <= MAX_OFFSET):
            raise ValueError
    except (ValueError, TypeError, binascii.Error, UnicodeError, RecursionError):
        raise QueryError(
            f"{text[:40]!r} is no cursor",
            expected="next_cursor of a page of hits, as it was given",
            do="search again from the first page",
        ) from None
    if digest != query_digest:
        raise QueryError(
            "The cursor is of another query",
            expected="the query, filters and least score of the first page",
            do="ask the same again, or search from the first page",
        )
    return Cursor(digest, version, offset, pool)


def digest_query(query: Query, within: SearchFilter, min_score: float, vectors: bytes) -> str:
    """What names a search, so that a cursor of another one is refused."""
    words = json.dumps([query.to_json(), asdict(within), min_score], sort_keys=True, default=str)
    return hashlib.blake2b(words.encode() + vectors, digest_size=8).hexdigest()
