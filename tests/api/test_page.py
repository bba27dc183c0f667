"""The web page in a real browser: find, play, look through a video, export, submit and watch."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.conftest import Served, serve
from tests.api.tiny_index import fill_home
from tests.orchestration.light_models import LIGHT
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.orchestration.ledger.opening import open_ledger
from tubelet.orchestration.service import WorkService
from tubelet.settings import Settings, load_settings

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """A page on which nothing may go wrong unseen, and which may reach nothing but the service."""
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: faults.append(request.url) if "127.0.0.1" not in request.url else None)
    yield page
    page.close()
    assert faults == []


def test_parts_come_with_their_types_and_nothing_else_is_to_be_had(service: Served) -> None:
    first = service.client.get("/")
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert "'unsafe-inline'" not in first.headers["content-security-policy"]
    for name, kind in (
        ("app.js", "text/javascript"),
        ("style.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
    ):
        answer = service.client.get(f"/page/{name}")
        assert answer.headers["content-type"].startswith(kind)
        again = service.client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    for name in ("..%2fapp.py", "nothing.js", "%2e%2e/app.py", ".."):
        assert service.client.send(_raw(service, f"/page/{name}")).status_code in (200, 404)
        assert b"def " not in service.client.send(_raw(service, f"/page/{name}")).content


def _raw(service: Served, path: str) -> httpx2.Request:
    return service.client.build_request("GET", f"{service.address}{path}")


@needs_browser
def test_a_sentence_finds_objects_and_plays_their_moments(service: Served, page: sync_api.Page) -> None:
    page.goto(service.address)
    page.get_by_label("What to find").fill("red car")
    page.keyboard.press("Enter")
    hit = page.locator(".hit").first
    hit.wait_for()
    assert "red" in hit.inner_text()
    assert hit.locator(".why li").count() >= 1
    hit.locator(".picture").focus()
    page.keyboard.press("Enter")  # all of it by keyboard
    film = page.locator("#player video")
    film.wait_for()
    film.evaluate(
        "film => film.readyState >= 2 || new Promise(go => film.addEventListener('loadeddata', go))"
    )
    canvas = page.locator("#player canvas")
    page.wait_for_function(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(x => x)",
        arg=canvas.element_handle(),
    )
    assert canvas.evaluate("canvas => getComputedStyle(canvas).objectFit") == film.evaluate(
        "film => getComputedStyle(film).objectFit"
    ), "what is drawn lies on the picture, whatever the shape of the window"
    page.keyboard.press("Escape")
    assert not page.locator("#player").is_visible()
    assert hit.locator(".picture").evaluate("picture => picture === document.activeElement")
    assert (page.get_by_text("More like this").first.get_attribute("href") or "").startswith("#/?like=o")


@needs_browser
def test_filters_limit_the_hits(service: Served, page: sync_api.Page) -> None:
    (video,) = service.get("/v1/videos")["videos"]
    page.goto(f"{service.address}/#/?q=car&least=0")
    page.get_by_text("3 objects").first.wait_for()
    page.get_by_label("Colour").select_option("blue")
    page.locator("select[name=video]").select_option(video["video_id"])
    page.get_by_role("button", name="Search").click()
    page.get_by_text("1 object", exact=True).first.wait_for()
    assert "blue van" in page.locator(".hit").inner_text()
    page.get_by_role("link", name="Begin anew").click()
    page.get_by_role("button", name="two dogs").wait_for()


NAMED = ("button", "link", "textbox", "searchbox", "combobox", "spinbutton", "progressbar")
VIEWS = ("#/", "#/?q=red+car", "#/videos", "#/videos/{video_id}", "#/batches", "docs")
CONTRASTS = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (color) => {
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    const parts = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((each) => each / 255);
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear(parts[0]) + 0.7152 * linear(parts[1]) + 0.0722 * linear(parts[2]);
  };
  const ground = (element) => {
    const own = getComputedStyle(element).backgroundColor;
    return own === "rgba(0, 0, 0, 0)" && element.parentElement ? ground(element.parentElement) : own;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const { data, parentElement: element } = texts.currentNode;
    if (!data.trim() || !element.checkVisibility() || element.tagName === "STYLE") continue;
    const both = [light(getComputedStyle(element).color), light(ground(element))];
    found.push([(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), data]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_fits_a_phone_can_be_read_and_is_named(
    service: Served, browser: sync_api.Browser, scheme: Any
) -> None:
    (video,) = service.get("/v1/videos")["videos"]
    with browser.new_context(viewport={"width": 360, "height": 700}, color_scheme=scheme) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        reader = context.new_cdp_session(page)
        for view in VIEWS:
            page.goto("about:blank")
            page.goto(f"{service.address}/{view.format(**video)}")
            page.locator("h1").wait_for()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
            contrast, text = page.evaluate(CONTRASTS)
            assert contrast >= 4.5, (view, text)
            is_dark = page.evaluate("getComputedStyle(document.body).color").startswith("rgb(230")
            assert is_dark == (scheme == "dark"), view
            for node in reader.send("Accessibility.getFullAXTree")["nodes"]:
                role = node.get("role", {}).get("value")
                if role in NAMED:
                    assert node["name"]["value"].strip(), (view, role)
            assert page.locator("img:not([alt])").count() == 0


@needs_browser
def test_a_video_shows_its_objects_and_is_exported(
    service: Served, page: sync_api.Page, tmp_path: Path
) -> None:
    page.goto(f"{service.address}/#/videos")
    page.locator("tbody a").first.click()
    page.locator(".lane .moment").first.wait_for()
    page.get_by_label("Format").select_option("webvtt")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    download.value.save_as(tmp_path / "objects.vtt")
    assert (tmp_path / "objects.vtt").stat().st_size > 0
    page.get_by_role("button", name="Other formats").click()
    page.get_by_role("button", name="mot", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save mot").click()
    download.value.save_as(tmp_path / "mot.zip")
    with zipfile.ZipFile(tmp_path / "mot.zip") as archive:
        assert any(name.endswith("gt.txt") for name in archive.namelist())
    page.locator(".lane .moment").first.click()
    page.locator("#player video").wait_for()


@needs_browser
def test_a_video_is_dropped_indexed_and_found(clip: Path, page: sync_api.Page, tmp_path: Path) -> None:
    settings = load_settings({"home": tmp_path / "home", **LIGHT})
    with serve(settings) as service:
        page.goto(f"{service.address}/#/batches")
        page.get_by_text("No batch was submitted yet").wait_for()
        page.get_by_label("Videos to upload").set_input_files(clip)
        page.get_by_role("progressbar").wait_for()
        with closing(open_ledger(settings.ledger_location)) as ledger:
            WorkService(settings, ledger).run(until_idle=True)
        page.get_by_text("1 done").wait_for()
        page.goto(f"{service.address}/#/?q=car&least=0")
        picture = page.locator(".hit img").first
        assert picture.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
        page.goto("about:blank")  # lets go of the stream of events


@needs_browser
def test_who_has_a_key_gives_it_once(browser: sync_api.Browser, clip: Path, tmp_path: Path) -> None:
    settings = fill_home(tmp_path / "home", clip)
    key = KeyFile(find_key_file(settings)).add("k", scopes=("search",))
    with serve(settings, is_local=False) as service, browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{service.address}/#/?q=red+car")
        field = page.get_by_label("Key", exact=True)
        field.wait_for()
        page.keyboard.press("Escape")
        assert field.is_visible(), "nothing is to be had without one"
        for shown in (f"{key[:-1]}_", key):
            field.fill(shown)
            page.keyboard.press("Enter")
            if shown != key:
                page.get_by_text("That key is not known here").wait_for()
        page.locator(".hit").first.wait_for()
        page.reload()
        page.locator(".hit").first.wait_for()
        assert not field.is_visible()
        assert key not in page.evaluate("document.cookie + JSON.stringify({ ...localStorage })")


@needs_browser
def test_bad_sources_are_told(page: sync_api.Page, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with serve(settings) as service:
        page.goto(f"{service.address}/#/batches")
        page.get_by_role("button", name="Submit").click()
        page.get_by_text("Nothing is chosen").wait_for()
        page.goto(f"{service.address}/#/nowhere")
        page.get_by_text("There is no such view").wait_for()
