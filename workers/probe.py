"""Open a video once, in a child process, and write down what it is."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from tubelet.records import Source, Video
from tubelet.workers.container import check_complete, sniff_container
from tubelet.workers.decoder_client import DecoderProcess


def make_video_id(identity: str) -> str:
    """The stable id of a video, from its content identity alone.

    >>> make_video_id("etag:3:abc")
    'v5cd4f5d1c4d2fa7b'
    """
    return "v" + blake2b(identity.encode(), digest_size=8).hexdigest()


def probe_video(path: Path, source: Source, *, timeout_s: float) -> Video:
    """Describe the local file of `source` from its true timestamps and its first picture.

    Raises `VideoFormatError`, `VideoTruncatedError` or `DecodeTimeoutError`.
    """
    path = path.resolve(strict=True)
    container = sniff_container(path)
    check_complete(path, container)
    with DecoderProcess(path, container, timeout_s=timeout_s) as decoder:
        decoder.send({"do": "describe"})
        facts = decoder.receive()
    return Video(
        video_id=make_video_id(source.identity),
        uri=source.uri,
        identity=source.identity,
        **{**facts, "warnings": tuple(facts["warnings"])},
    )
