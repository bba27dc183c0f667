"""Examples of answers, for the OpenAPI document and the page that is made of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tubelet.api.server.problems import CODES, make_body

VIDEO = {
    "video_id": "v3f0c7c9a2d1b4e65",
    "uri": "/videos/junction.mp4",
    "identity": "blake2b:9b1c…",
    "duration_s": 12.0,
    "frame_rate": 25.0,
    "nominal_frame_rate": 25.0,
    "num_frames": 300,
    "width": 640,
    "height": 360,
    "rotation_deg": 0,
    "codec": "h264",
    "variable_frame_rate": False,
    "warnings": [],
}
ATTRIBUTES = {"colours": ["red"], "colour_shares": [0.81], "size": "small", "category": "car"}
MOTION = {
    "heading": "up",
    "heading_deg": 88.2,
    "speed": 1.1,
    "turn": "left",
    "turn_deg": 84.5,
    "stopped": False,
    "approaching": False,
    "leaving": False,
    "entry_side": "left",
    "exit_side": None,
}
MOMENT = {"start_s": 1.2, "end_s": 5.0, "caption": "A red car turns left.", "motion": MOTION}
OBJECT = {
    "object_id": "o5d2e8a7b1c9f0463",
    "video_id": VIDEO["video_id"],
    "uri": VIDEO["uri"],
    "category": "car",
    "attributes": ATTRIBUTES,
    "start_s": 1.2,
    "end_s": 5.0,
    "moments": [MOMENT],
    "path": [[1.2, 10.0, 180.0, 70.5, 222.0]],
}
HIT = {
    "object_id": OBJECT["object_id"],
    "moment_id": "m0a1b2c3d4e5f6071",
    "video_id": VIDEO["video_id"],
    "uri": VIDEO["uri"],
    "start_s": 1.2,
    "end_s": 5.0,
    "score": 0.97,
    "caption": "A red car turns left.",
    "attributes": ATTRIBUTES,
    "motion": MOTION,
    "box": [210.0, 130.0, 270.0, 172.5],
    "why": ["red", "turns left"],
}
SEARCH = {
    "query": "red car turning left",
    "parsed": {"text": "red car turning left", "conditions": []},
    "hits": [HIT],
    "next_cursor": "WzEsImY0…",
}
BATCH = {
    "batch_id": "b0199f2a4c7e1d00a1",
    "name": "archive-2026",
    "created_s": 1795848000.0,
    "sources": ["s3://archive/2026/**"],
    "priority": 0,
    "listing_error": "",
}
PROGRESS = {
    **BATCH,
    "state": "running",
    "counts": {
        "found": 120,
        "skipped": 3,
        "done": 40,
        "failed": 1,
        "cancelled": 0,
        "waiting": 76,
        "running": 2,
    },
    "left_s": 5400.0,
    "stages": [
        {
            "stage": "track",
            "kind": "chunk",
            "waiting": 300,
            "running": 2,
            "done": 160,
            "failed": 1,
            "cancelled": 0,
            "span_s": 27720.0,
            "span_done_s": 9600.0,
            "seconds": 4800.0,
            "rate": 2.0,
            "left_s": 5400.0,
        }
    ],
}
WEBHOOK = {
    "url": "https://hooks.example.com/…",
    "delivery": "4f1d…",
    "state": "waiting",
    "attempts": 0,
    "error": "",
}
ITEM = {
    "uri": "s3://archive/2026/a.mp4",
    "size_bytes": 73400320,
    "video_id": VIDEO["video_id"],
    "state": "done",
    "reason": "",
    "error_class": None,
    "duration_s": 600.0,
    "num_objects": 41,
    "num_moments": 97,
    "warnings": [],
}
EVENT = {
    "time_s": 1795848001.5,
    "level": "info",
    "text": "s3://archive/2026/a.mp4: 600.0 s to index",
    "batch_id": BATCH["batch_id"],
    "job_id": "",
    "unit_id": "",
    "fields": [],
    "number": 7,
}
UPLOAD = {
    "upload_id": "u2f6c1e0d9b8a7f6e5d4c3b2a",
    "source": "upload:u2f6c1e0d9b8a7f6e5d4c3b2a",
    "name": "lobby.mp4",
    "size_bytes": 7340032,
    "container": "mov",
}
EXPORT = {
    "export_id": "x9c8b7a6f5e4d3c2b1a09f8e7",
    "format": "cvat",
    "state": "done",
    "created_s": 1795848000.0,
    "file_name": "junction-v3f0c7c9a2d1b4e65.xml",
    "size_bytes": 48213,
    "error": "",
}
USAGE = {
    "key_id": "4f1d0a9b8c7e",
    "rate": "600/minute",
    "quotas": [
        {
            "name": "videos",
            "about": "videos submitted a day",
            "limit": 1000.0,
            "used": 12.0,
            "left": 988.0,
            "resets_s": 34200.0,
        }
    ],
}

Responses = dict[int | str, dict[str, Any]]


def told(value: Any, *codes: str, status: int = 200, about: str = "Done") -> Responses:
    """An answer of JSON with an example, and the problems that may come in its place."""
    good: Responses = {status: {"description": about, "content": {"application/json": {"example": value}}}}
    return {**good, **problems(*codes)}


def sent(
    media_type: str, *codes: str, about: str, example: Any = None, others: Collection[str] = ()
) -> Responses:
    """An answer of another kind (or of `others`), and the problems that may come in its place."""
    kinds: dict[str, Any] = {kind.partition(";")[0]: {} for kind in others}
    kinds[media_type] = {} if example is None else {"example": example}
    return {200: {"description": about, "content": kinds}, **problems(*codes)}


def problems(*codes: str) -> Responses:
    """Problems by their status; of several with one status, each is an example."""
    found: Responses = {}
    for code in (*codes, "no-key", "not-allowed", "invalid", "too-many-requests"):
        status, title = CODES[code]
        entry = found.setdefault(
            status, {"description": title, "content": {"application/problem+json": {"examples": {}}}}
        )
        examples = entry["content"]["application/problem+json"]["examples"]
        examples[code] = {"value": make_body(code, f"{title}. Do: …", request_id="3f9a…")}
    return found
