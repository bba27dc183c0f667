"""Who may do what: keys, scopes, rates, tenants, sources, hosts and origins."""

from __future__ import annotations

import io
import json
import logging
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import Served, StartService, serve
from tests.api.tiny_index import fill_home, make_settings
from tubelet.api.cli.app import run
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.api.server.tenants import make_tenant_settings
from tubelet.errors import InputError, SettingsError

OPEN = {("get", "/healthz"), ("get", "/readyz"), ("get", "/docs"), ("delete", "/v1/session")}
STEPS = ("cancel", "pause", "resume", "retry")
ANY_KEY = {("get", "/v1/session"), ("post", "/v1/session"), ("get", "/v1/usage")}


class Tenants:
    """A service with keys, and two tenants with an index, a batch, an upload and an export each."""

    def __init__(self, home: Path, clip: Path, stack: ExitStack) -> None:
        self.settings = make_settings(home, api_rate="100000/minute")
        self.keys = KeyFile(find_key_file(self.settings))
        self.served: dict[str, Served] = {}
        self.ids: dict[str, dict[str, str]] = {}
        everything = ("search", "submit", "admin")
        for name in ("red", "blue"):
            own = make_tenant_settings(self.settings, name)
            fill_home(own.home, clip, mark=name, api_rate=own.api_rate)
            key = self.keys.add(name, tenant=name, scopes=everything)
            if not self.served:
                self.served[name] = stack.enter_context(serve(self.settings, is_local=False, key=key))
            else:
                client = httpx2.Client(
                    base_url=self.served["red"].address,
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=60,
                )
                stack.enter_context(client)
                first = self.served["red"]
                self.served[name] = Served(first.address, self.settings, client, first.app)
            self.ids[name] = self._fill(self.served[name], clip, name)

    def _fill(self, served: Served, clip: Path, name: str) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        upload = served.post("/v1/uploads", 201, content=clip.read_bytes(), headers=headers)
        batch = served.post("/v1/batches", 202, json={"sources": [upload["source"]], "name": name})
        export = served.post("/v1/exports", 202, json={})
        while served.get(f"/v1/exports/{export['export_id']}")["state"] == "running":
            pass
        (video,) = served.get("/v1/videos")["videos"]
        return {
            "batch_id": batch["batch_id"],
            "export_id": export["export_id"],
            "upload_id": upload["upload_id"],
            "video_id": video["video_id"],
            "object_id": f"o{name}1",
        }


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Tenants]:
    with ExitStack() as stack:
        yield Tenants(tmp_path_factory.mktemp("tenants") / "home", clip, stack)


def list_calls(served: Served) -> Iterator[tuple[str, str]]:
    for path, operations in served.app.openapi()["paths"].items():
        for method in operations:
            yield method, path


BODIES: dict[str, Any] = {
    "/v1/batches": {"sources": ["s3://bucket/a.mp4"]},
    "/v1/search": {"query": "car"},
    "/v1/objects/{object_id}/ask": {"question": "What?"},
    "/v1/exports": {},
}


def call(client: httpx2.Client, method: str, path: str, ids: dict[str, str]) -> httpx2.Response:
    """One call of a route that streams nothing without end."""
    filled = path.format(**ids)
    query = {"q": "car"} if (method, path) == ("get", "/v1/search") else {}
    with client.stream(method.upper(), filled, params=query, json=BODIES.get(path)) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            answer.read()
        return answer


def test_no_route_answers_without_a_key_or_to_a_wrong_one(tenants: Tenants) -> None:
    served, ids = tenants.served["red"], tenants.ids["red"]
    shown = {"none": {}, "other kind": {"Authorization": "Basic dTpw"}}
    for name, headers in shown.items():
        with httpx2.Client(base_url=served.address, headers=headers, timeout=60) as client:
            for method, path in list_calls(served):
                answer = call(client, method, path, ids)
                wanted = (200, 204) if (method, path) in OPEN else (401,)
                assert answer.status_code in wanted, (name, method, path, answer.status_code)


def test_a_scope_opens_its_routes_and_no_others(tenants: Tenants) -> None:
    served, ids = tenants.served["red"], tenants.ids["red"]
    allowed: dict[str, set[tuple[str, str]]] = {}
    for scope in ("search", "submit", "admin"):
        key = tenants.keys.add(scope, tenant="scoped", scopes=[scope])
        with httpx2.Client(
            base_url=served.address, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client:
            allowed[scope] = {
                each for each in list_calls(served) if call(client, *each, ids).status_code != 403
            } | {
                each
                for each in list_calls(served)
                if each == ("post", "/v1/batches")
                and call(client, *each, ids).json()["code"] == "source-not-allowed"
            }
    everything = set(list_calls(served)) - OPEN - ANY_KEY
    own = {scope: calls - OPEN - ANY_KEY for scope, calls in allowed.items()}
    assert own["admin"] == {("get", "/metrics")}
    assert own["submit"] == {
        ("post", "/v1/batches"),
        ("delete", "/v1/batches/{batch_id}"),
        *(("post", f"/v1/batches/{{batch_id}}/{action}") for action in STEPS),
        ("post", "/v1/uploads"),
        ("post", "/v1/uploads/{upload_id}/complete"),
        ("delete", "/v1/uploads/{upload_id}"),
    }
    assert own["search"] == everything - own["admin"] - own["submit"]


def test_tenants_never_see_each_other_on_any_route(tenants: Tenants) -> None:
    """The other's ids are as those that nobody has, and no answer holds a mark of the other."""
    for name, other in (("red", "blue"), ("blue", "red")):
        served, theirs = tenants.served[name], tenants.ids[other]
        own_video = tenants.ids[name]["video_id"]
        assert theirs["video_id"] == own_video, (
            "the same file has the same id in both: rows must still differ"
        )
        foreign = {each for each in theirs.values() if each != own_video} | {f"o{other}", f"tenants/{other}"}
        for method, path in list_calls(served):
            answer = call(served.client, method, path, theirs)
            if "{" in path and "{video_id}" not in path:
                assert answer.status_code == 404, (method, path, answer.status_code)
            if not answer.headers.get("content-type", "").startswith(("video/", "image/")):
                told = answer.text if answer.is_closed and hasattr(answer, "_content") else ""
                asked = path.format(**theirs)
                told = told.replace(asked, "")
                if answer.status_code < 400:
                    assert not [mark for mark in foreign if mark in told], (method, path)
        hits = served.post("/v1/search", json={"query": f"{other} car", "limit": 100})["hits"]
        assert {hit["object_id"].rstrip("123") for hit in hits} == {f"o{name}"}
        problem = served.post("/v1/batches", 404, json={"sources": [f"upload:{theirs['upload_id']}"]})
        assert problem["code"] == "not-found"
        assert tenants.served[other].get(f"/v1/batches/{theirs['batch_id']}")["state"] == "listing"


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "{home}",
        "{home}/tenants/blue/uploads",
        "{home}/tenants/red/../blue/uploads",
        "/",
        "/**",
        "/*/**",
        "file://{home}/tenants/blue",
        "manifest:/etc/passwd",
        "{allowed}/list.csv",
        "{allowed}/../other/a.mp4",
        "{allowed}/link/a.mp4",
        "{allowed}-beside/a.mp4",
        "{allowed}/*/../../**",
        "s3://other/a.mp4",
        "s3://archive-2/a.mp4",
        "s3://archive/2027/a.mp4",
        "s3://archive/20*",
        "s3://archive",
        "~/a.mp4",
        "a.mp4",
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_sources_outside_what_is_allowed_are_refused(
    start_service: StartService, tmp_path: Path, source: str, everything: bool
) -> None:
    home, allowed = tmp_path / "home", tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "other").mkdir()
    (allowed / "link").symlink_to(tmp_path / "other")
    settings = make_settings(home, api_sources=("*",) if everything else (str(allowed), "s3://archive/2026"))
    key = KeyFile(find_key_file(settings)).add("k", tenant="red", scopes=["submit"])
    served = start_service(settings, is_local=False, key=key)
    text = source.format(home=home, allowed=allowed)
    answer = served.client.post("/v1/batches", json={"sources": [text]})
    is_home = "{home}" in source or source in ("/", "/**", "/*/**", "manifest:/etc/passwd")
    if everything and not is_home and not source.endswith(".csv") and source not in ("~/a.mp4", "a.mp4"):
        assert answer.status_code == 202 or ".." in source, answer.text
    else:
        assert answer.status_code in (400, 403), answer.text
        assert answer.json()["code"] in ("source-not-allowed", "bad-input")
    if not everything:
        for good in (str(allowed), f"{allowed}/**", f"{allowed}/new/*.mp4", "s3://archive/2026/**"):
            assert served.client.post("/v1/batches", json={"sources": [good]}).status_code == 202, good


def test_wrong_keys_are_counted_and_right_ones_have_a_rate(
    start_service: StartService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = make_settings(tmp_path / "home", api_rate="5/minute")
    key = KeyFile(find_key_file(settings)).add("k", scopes=["search"])
    served = start_service(settings, is_local=False, key=key)
    caplog.set_level(logging.DEBUG)
    for _ in range(5):
        served.get("/v1/videos")
    limited = served.client.get("/v1/videos")
    assert (limited.status_code, limited.json()["code"]) == (429, "too-many-requests")
    assert 1 <= int(limited.headers["retry-after"]) <= 60
    secret = key.rpartition("_")[2]
    wrong = {"Authorization": f"Bearer {key[:-1]}{'A' if key[-1] != 'A' else 'B'}"}
    codes = [served.client.get("/v1/videos", headers=wrong).status_code for _ in range(25)]
    assert codes == [401] * 20 + [429] * 5
    assert served.client.get("/v1/videos").json()["code"] == "too-many-requests", "of its own rate still"
    assert secret not in caplog.text
    assert secret not in find_key_file(settings).read_text()


def test_keys_are_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("k")
    compared: list[tuple[int, int]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("tubelet.api.keys.hmac.compare_digest", compare)
    known, secret = key.split("_", 2)[1:]
    shown = (key, f"tk_{known}_{secret[::-1]}", f"tk_{'0' * 12}_{secret}")
    assert [keys.find(each) is not None for each in shown] == [True, False, False]
    assert compared == [(64, 64)] * 3, "digests of one length, also where no such key is known"


def test_a_removed_key_is_refused_at_once(start_service: StartService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    keys = KeyFile(find_key_file(settings))
    key = keys.add("k")
    served = start_service(settings, key=key)
    served.get("/v1/videos")
    keys.add("other")
    keys.remove(key.split("_")[1])
    assert served.get("/v1/videos", 401)["code"] == "bad-key"
    with httpx2.Client(base_url=served.address) as nobody:
        assert nobody.get("/v1/videos").status_code == 401, "with any key in the file, loopback needs one too"


def test_a_web_page_has_its_key_in_a_cookie(tenants: Tenants) -> None:
    served = tenants.served["red"]
    key = served.client.headers["authorization"].removeprefix("Bearer ")
    with httpx2.Client(base_url=served.address, timeout=60) as page:
        begun = page.post("/v1/session", headers={"Authorization": f"Bearer {key}"})
        assert begun.json()["tenant"] == "red"
        cookie = begun.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert page.get("/v1/videos").status_code == 200
        page.delete("/v1/session")
        assert page.get("/v1/videos").status_code == 401


def test_without_keys_loopback_takes_only_its_own_names(service: Served) -> None:
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""):
        assert service.get("/v1/videos", 400, headers={"Host": host})["code"] == "bad-host"
    assert service.get("/v1/videos", headers={"Host": "localhost:8000"})
    proxied = service.get("/v1/videos", 403, headers={"X-Forwarded-For": "203.0.113.9"})
    assert proxied["code"] == "behind-proxy"


def test_other_web_pages_cannot_call(service: Served, start_service: StartService, tmp_path: Path) -> None:
    for origin in ("https://evil.example", "null", "http://["):
        problem = service.post("/v1/search", 403, json={"query": "car"}, headers={"Origin": origin})
        assert problem["code"] == "other-origin"
    service.post("/v1/search", json={"query": "car"}, headers={"Origin": service.address})
    plain = service.client.post(
        "/v1/search", content=json.dumps({"query": "car"}), headers={"Content-Type": "text/plain"}
    )
    assert plain.status_code == 422, "a form of another page needs no permission to send text"
    assert "Content-Type: application/json" in plain.json()["detail"]
    assert "access-control-allow-origin" not in plain.headers
    friend = "https://friend.example"
    other = start_service(make_settings(tmp_path / "home", api_origins=friend))
    asked = {"Origin": friend, "Access-Control-Request-Method": "POST"}
    allowed = other.client.options("/v1/search", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == friend
    assert other.post("/v1/search", json={"query": "car"}, headers={"Origin": friend})["hits"] == []


def test_without_keys_others_only_read(start_service: StartService, tmp_path: Path) -> None:
    served = start_service(make_settings(tmp_path / "home"), is_local=False)
    assert served.get("/v1/videos")["videos"] == []
    assert served.post("/v1/batches", 403, json={"sources": ["/a"]})["code"] == "not-allowed"
    assert served.get("/metrics", 403)["code"] == "not-allowed"


def test_keys_are_made_listed_and_removed_on_the_command_line(tmp_path: Path) -> None:
    def keys(*arguments: str, code: int = 0) -> str:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
            assert run(["keys", *arguments, "--home", str(tmp_path)]) == code, errors.getvalue()
        return errors.getvalue() if code else out.getvalue()

    key = keys(
        "add", "lab", "--scope", "submit", "--scope", "search", "--tenant", "city", "--quota", "videos=9"
    )
    key = key.strip()
    assert re.fullmatch(r"tk_[0-9a-f]{12}_[\w-]{43}", key)
    assert stat.S_IMODE((tmp_path / "keys.json").stat().st_mode) == 0o600
    (listed,) = json.loads(keys("list", "--json"))["keys"]
    assert (listed["tenant"], listed["scopes"]) == ("city", ["search", "submit"])
    assert listed["quotas"] == {"videos": 9}
    assert "is no quota" in keys("add", "lab", "--quota", "cars=9", code=2)
    assert "lab" in keys("list")
    assert "is no scope" in keys("add", "lab", "--scope", "root", code=2)
    assert "no name of a tenant" in keys("add", "lab", "--tenant", "../x", code=2)
    keys("remove", listed["key_id"])
    assert "There is no key" in keys("remove", listed["key_id"], code=2)
    assert "tubelet keys add" in keys_needed(tmp_path)


def keys_needed(home: Path) -> str:
    with redirect_stderr(io.StringIO()) as errors:
        assert run(["serve", "--host", "0.0.0.0", "--port", "0", "--home", str(home)]) == 2
    return " ".join(errors.getvalue().split())


def test_a_tenant_with_broken_settings_stops_only_itself(start_service: StartService, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "home")
    keys = KeyFile(find_key_file(settings))
    broken, good = keys.add("b", tenant="broken"), keys.add("g", tenant="good")
    (settings.home / "tenants" / "broken").mkdir(parents=True)
    (settings.home / "tenants" / "No Tenant").mkdir()
    (settings.home / "tenants" / "broken" / "tubelet.toml").write_text("nonsense = 1")
    served = start_service(settings, key=good)
    assert served.get("/v1/videos")["videos"] == []
    problem = served.get("/v1/videos", 503, headers={"Authorization": f"Bearer {broken}"})
    assert str(tmp_path) not in json.dumps(problem)


def test_a_tenant_on_a_shared_server_needs_a_ledger_of_its_own(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, ledger="redis://127.0.0.1:1/0", index_uri="s3://b/index")
    with pytest.raises(SettingsError, match="no ledger of its own"):
        make_tenant_settings(settings, "city")
    (tmp_path / "tenants" / "city" / "tubelet.toml").write_text(
        'ledger = "redis://127.0.0.1:1/1"\nhome = "/elsewhere"\n'
    )
    own = make_tenant_settings(settings, "city")
    assert own.ledger_location.endswith("/1")
    assert own.index_location == "s3://b/index-tenants/city"
    assert own.home == tmp_path / "tenants" / "city"
    (tmp_path / "tenants" / "city" / "tubelet.toml").write_text("nonsense = 1")
    with pytest.raises(InputError):
        make_tenant_settings(settings, "city")
