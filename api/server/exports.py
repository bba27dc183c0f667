"""Exports that take long: written in the background into a folder each, fetched when they are done.

What became of one is a file beside it, so that another process can tell. One that was under way when its
process ended is failed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import time
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tubelet.api.server.problems import Problem, not_found
from tubelet.api.server.tenants import Tenant
from tubelet.errors import TubeletError

if TYPE_CHECKING:
    from tubelet.index.exporting.object_filter import ObjectFilter

log = logging.getLogger(__name__)

KEPT_S = 24 * 3600.0
_EXPORT_ID = re.compile(r"x[0-9a-f]{24}")
_PROCESS = secrets.token_hex(8)


@dataclass(frozen=True, slots=True)
class Export:
    """An export, and how it stands. `process` works on it, `key_id` asked for it."""

    export_id: str
    format: str
    state: Literal["running", "done", "failed"]
    created_s: float
    file_name: str = ""
    size_bytes: int = 0
    error: str = ""
    process: str = _PROCESS
    key_id: str = ""


def begin_export(tenant: Tenant, format_name: str, *, key_id: str) -> Export:
    """A new export, of which nothing is done yet."""
    export = Export(f"x{secrets.token_hex(12)}", format_name, "running", time.time(), key_id=key_id)
    folder = _find_folder(tenant, export.export_id)
    folder.mkdir(parents=True)
    try:
        _write(tenant, export)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return export


def run_export(tenant: Tenant, export: Export, within: ObjectFilter, *, every_frame: bool | None) -> None:
    """Write an export, and note how that ended. Never raises."""
    folder = _find_folder(tenant, export.export_id)
    try:
        path = _write_files(tenant, export, within, folder, every_frame=every_frame)
        done = replace(export, state="done", file_name=path.name, size_bytes=path.stat().st_size)
    except TubeletError as error:
        done = replace(export, state="failed", error=error.found)
    except Exception:
        log.exception("Export %s failed", export.export_id)
        done = replace(export, state="failed", error="the service made a mistake")
    try:
        _write(tenant, done)
    except OSError as problem:
        log.error("How export %s ended cannot be noted: %s", export.export_id, problem)


def get_export(tenant: Tenant, export_id: str) -> Export:
    """An export of a tenant. Raises a Problem where there is none (any more)."""
    if not _EXPORT_ID.fullmatch(export_id):
        raise not_found("export", export_id, "POST /v1/exports")
    try:
        text = (_find_folder(tenant, export_id) / "export.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise not_found("export", export_id, "POST /v1/exports") from None
    export = Export(**json.loads(text))
    if export.state == "running" and export.process != _PROCESS:
        return replace(export, state="failed", error="the process that worked on it ended")
    return export


def list_exports(tenant: Tenant) -> list[Export]:
    """The exports of a tenant that are kept, the newest first; old ones go."""
    kept = []
    for folder in (tenant.folder / "exports").glob("x*"):
        try:
            if time.time() - folder.stat().st_mtime > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                kept.append(get_export(tenant, folder.name))
        except (FileNotFoundError, Problem):  # another process removes it, or begins it, now
            continue
    return sorted(kept, key=lambda each: (each.created_s, each.export_id), reverse=True)


def find_content(tenant: Tenant, export: Export) -> Path:
    """The file of an export that is done."""
    return _find_folder(tenant, export.export_id) / "content" / export.file_name


def remove_export(tenant: Tenant, export_id: str) -> None:
    """Forget an export. Raises a Problem where there is none."""
    get_export(tenant, export_id)
    shutil.rmtree(_find_folder(tenant, export_id), ignore_errors=True)


def export_to_json(export: Export) -> dict[str, object]:
    """An export, and how it stands."""
    told = asdict(export)
    del told["process"], told["key_id"]
    return told


def _write_files(
    tenant: Tenant, export: Export, within: ObjectFilter, folder: Path, *, every_frame: bool | None
) -> Path:
    """One file: the export's own, or a zip of several."""
    from tubelet.index.exporting.files import write_export
    from tubelet.index.exporting.registry import find_format
    from tubelet.orchestration.exporting import open_timelines

    chosen = find_format(export.format)
    with tenant.open_index() as store:
        timelines = open_timelines(store, tenant.settings, within, every_frame=every_frame)
        content, parts = folder / "content", folder / "parts"
        content.mkdir()
        if chosen.layout == "file":
            return write_export(timelines, chosen.name, content / f"timelines{chosen.suffix}")[0]
        written = write_export(timelines, chosen.name, parts)
    if len(written) == 1:
        return Path(shutil.move(written[0], content / written[0].name))
    path = content / f"timelines-{export.format}.zip"
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for file in written:
            archive.write(file, file.relative_to(parts))
            file.unlink()
    return path


def _find_folder(tenant: Tenant, export_id: str) -> Path:
    return tenant.folder / "exports" / export_id


def _write(tenant: Tenant, export: Export) -> None:
    path = _find_folder(tenant, export.export_id) / "export.json"
    draft = path.with_name(f".{secrets.token_hex(4)}")
    draft.write_text(json.dumps(asdict(export)), encoding="utf-8")
    os.replace(draft, path)
