"""Quotas of keys: what is counted, what is refused, and what a restart remembers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Served, StartService, serve
from tests.api.tiny_index import fill_home, make_settings
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server import usage
from tubelet.errors import SettingsError
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.ledger.records import NewItem
from tubelet.settings import Settings

RAW = {"Content-Type": "application/octet-stream"}
SCOPES = ("search", "submit")


def make_key(settings: Settings, **quotas: float) -> str:
    return KeyFile(find_key_file(settings)).add("k", scopes=SCOPES, quotas=quotas)


def read_used(served: Served) -> dict[str, float]:
    return {each["name"]: each["used"] for each in served.get("/v1/usage")["quotas"]}


def submit(served: Served, *sources: str, status: int = 202, **headers: str) -> Any:
    return served.post("/v1/batches", status, json={"sources": sources}, headers=headers)


def test_videos_are_counted_by_source_and_by_what_is_found(
    start_service: StartService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path / "home", api_sources=("s3://archive",))
    served = start_service(settings, is_local=False, key=make_key(settings, videos=10))
    submit(served, "s3://archive/a.mp4", "s3://archive/b.mp4", **{"Idempotency-Key": "once"})
    submit(served, "s3://archive/a.mp4", "s3://archive/b.mp4", **{"Idempotency-Key": "once"})
    submit(served, "s3://archive/c.mp4", status=409, **{"Idempotency-Key": "once"})
    submit(served, "s3://elsewhere/c.mp4", status=403)
    assert read_used(served) == {"videos": 2}
    batch = submit(served, "s3://archive/2026/**")
    with closing(open_ledger(settings.ledger_location)) as ledger:
        found = [NewItem(f"s3://archive/2026/{n}.mp4", "etag:1:x", 1, f"v{n}") for n in range(7)]
        ledger.add_items(batch["batch_id"], found)
        ledger.end_listing(batch["batch_id"])
    assert read_used(served) == {"videos": 9}
    own, asked = served.app.state.service.tenants.get("default").ledger, []
    count = own.count_items
    with monkeypatch.context() as noted:
        noted.setattr(own, "count_items", lambda name: asked.append(name) or count(name))
        assert read_used(served) == {"videos": 9}
    assert batch["batch_id"] not in asked, "of one that is listed nothing more can be found"
    refused = served.client.post("/v1/batches", json={"sources": ["s3://archive/d", "s3://archive/e"]})
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= usage.DAY_S
    served.post(f"/v1/batches/{batch['batch_id']}/cancel")
    served.ask("DELETE", f"/v1/batches/{batch['batch_id']}", 204)
    assert read_used(served) == {"videos": 9}, "what is forgotten was submitted all the same"
    submit(served, "s3://archive/d")
    assert len(served.get("/v1/batches")["batches"]) == 2


def test_a_restart_remembers_and_the_next_day_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(tmp_path / "home", api_sources=("s3://archive",), api_quotas=("videos=1",))
    key = make_key(settings)
    for status in (202, 429):
        with serve(settings, is_local=False, key=key) as served:
            submit(served, "s3://archive/a.mp4", status=status)
    other = make_key(settings, videos=5)
    today = usage._today()
    with serve(settings, is_local=False, key=other) as served:
        submit(served, "s3://archive/a.mp4", "s3://archive/b.mp4")
        assert served.get("/v1/usage")["quotas"][0]["left"] == 3, "a key's own quota goes before the setting"
        monkeypatch.setattr(usage, "_today", lambda: today + 1)
        assert read_used(served) == {"videos": 0}


def test_uploads_are_counted_by_their_bytes(
    start_service: StartService, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, settings = clip.read_bytes(), make_settings(tmp_path / "home")
    size_gb = len(content) / 1e9
    served = start_service(settings, is_local=False, key=make_key(settings, upload_gb=2.5 * size_gb))

    def drip(data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    served.post("/v1/uploads", 415, content=b"<html>" * 5000, headers=RAW)
    assert read_used(served)["upload_gb"] == pytest.approx(0, abs=1e-9), "what is refused is given back"
    served.post("/v1/uploads", 201, content=content, headers=RAW)
    served.post("/v1/uploads", 201, content=drip(content), headers=RAW)
    assert read_used(served)["upload_gb"] == pytest.approx(2 * size_gb, abs=1e-9)
    refused = served.post("/v1/uploads", 429, content=content, headers=RAW)
    assert refused["code"] == "quota-exceeded"
    monkeypatch.setattr(usage, "BLOCK_BYTES", 20_000)
    refused = served.post("/v1/uploads", 429, content=drip(content), headers=RAW)
    assert refused["code"] == "quota-exceeded"
    assert read_used(served)["upload_gb"] == pytest.approx(2 * size_gb, abs=1e-9)
    kept = [path for path in (tmp_path / "home" / "uploads").rglob("*") if path.is_file()]
    assert len(kept) == 2


def test_exports_are_counted_while_they_are_kept(
    start_service: StartService, tmp_path: Path, clip: Path
) -> None:
    settings = fill_home(tmp_path / "home", clip)
    key, other = make_key(settings, exports=1), make_key(settings, exports=1)
    served = start_service(settings, is_local=False, key=key)
    export = served.post("/v1/exports", 202, json={"format": "csv"})
    refused = served.post("/v1/exports", 429, json={"format": "csv"})
    assert refused["code"] == "quota-exceeded"
    assert served.get("/v1/usage")["quotas"][0]["left"] == 0
    headers = {"Authorization": f"Bearer {other}"}
    served.post("/v1/exports", 202, json={"format": "csv"}, headers=headers)
    while served.get(f"/v1/exports/{export['export_id']}")["state"] == "running":
        pass
    served.ask("DELETE", f"/v1/exports/{export['export_id']}", 204)
    assert served.post("/v1/exports", 202, json={"format": "csv"})["state"] == "running"


@pytest.mark.parametrize("text", ["videos", "videos=many", "videos=-1", "videos=nan", "cars=3", "=3"])
def test_quotas_that_cannot_be_meant_are_refused(tmp_path: Path, text: str) -> None:
    from tubelet.api.server.app import create_app

    with pytest.raises(SettingsError, match="is no quota"):
        create_app(make_settings(tmp_path, api_quotas=(text,)))
