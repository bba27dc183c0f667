"""The overlays as `kubectl` renders them, where it is installed; it needs no cluster for that."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.files import INFRA
from tests.infra.kuberay import RAY, check_document

OVERLAYS = sorted(path.parent for path in (INFRA / "kubernetes" / "overlays").glob("*/kustomization.yaml"))

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def _render(overlay: Path) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(overlay)]
    rendered = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert rendered.returncode == 0, rendered.stderr
    return list(yaml.safe_load_all(rendered.stdout))


def _find_values(document: Any, key: str) -> list[Any]:
    """All values of a key, however deep."""
    if isinstance(document, list):
        return [value for entry in document for value in _find_values(entry, key)]
    if not isinstance(document, dict):
        return []
    deeper = [value for entry in document.values() for value in _find_values(entry, key)]
    return deeper + ([document[key]] if key in document else [])


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_rendered_overlays_fit_the_schemas_and_hold_together(overlay: Path) -> None:
    documents = _render(overlay)
    for document in documents:
        check_document(document)
        assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "tubelet"
    maps = {d["metadata"]["name"] for d in documents if d["kind"] == "ConfigMap"}
    assert {reference["name"] for reference in _find_values(documents, "configMapRef")} <= maps
    own = [image for image in _find_values(documents, "image") if "tubelet" in image]
    assert own
    assert all(image.startswith("registry.example.com/") for image in own), own


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_units_are_done_by_workers_or_by_ray(overlay: Path) -> None:
    documents = _render(overlay)
    workers = [
        document["spec"].get("replicas", 1)
        for document in documents
        if document["kind"] == "Deployment" and document["metadata"]["name"].startswith("tubelet-worker")
    ]
    has_ray = any(document["apiVersion"] == RAY for document in documents)
    assert workers
    assert has_ray is not any(workers)
