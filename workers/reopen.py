"""From one address, or from a video of the index, back to one source."""

from __future__ import annotations

from tubelet.errors import InputError, SourceChangedError
from tubelet.records import Source, Video
from tubelet.workers.s3 import S3Options
from tubelet.workers.source import SourceFailure, expand_sources


def find_source(address: str, *, s3: S3Options) -> Source:
    """The one video at an address. Raises SourceError for none, InputError for several."""
    found = list(expand_sources([address], s3=s3))
    if len(found) > 1:
        raise InputError(f"{address!r} names {len(found)} videos", expected="one", do="name one of them")
    (only,) = found
    if isinstance(only, SourceFailure):
        raise only.error
    return only


def reopen_source(video: Video, *, s3: S3Options) -> Source:
    """The source of an indexed video. Raises SourceError when it is gone, or (changed) is another one now."""
    source = find_source(video.uri, s3=s3)
    if source.identity != video.identity:
        raise SourceChangedError(
            f"{video.uri} has changed since it was indexed",
            expected=f"content {video.identity}",
            do="index it again",
        )
    return source
