"""The Kubernetes manifests: every document against the schemas, and by reading what those cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from tests.infra.files import INFRA, PINNED, read_settings, read_yaml, unknown_variables
from tests.infra.kuberay import RAY, SCHEMAS, check_document, list_ray_templates
from tubelet.settings import load_settings

FOLDER = INFRA / "kubernetes"
TEMPLATE = FOLDER / "base" / "secret.example.yaml"
MANIFESTS = sorted(
    path for path in FOLDER.rglob("*.yaml") if path.name not in ("kustomization.yaml", "names.yaml")
)
KUSTOMIZATIONS = sorted(FOLDER.rglob("kustomization.yaml"))
KEYS = {
    "apiVersion",
    "components",
    "configurations",
    "configMapGenerator",
    "images",
    "kind",
    "labels",
    "namespace",
    "replicas",
    "resources",
}

each_manifest = pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.relative_to(FOLDER)))
each_kustomization = pytest.mark.parametrize(
    "path", KUSTOMIZATIONS, ids=lambda path: str(path.parent.relative_to(FOLDER))
)


def _documents() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in MANIFESTS:
        for document in read_yaml(path):
            yield path, document


def _pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, labels and specification of every pod."""
    for _, document in _documents():
        template = document.get("spec", {}).get("template")
        templates = [] if template is None else [template]
        if document["apiVersion"] == RAY:
            templates = list_ray_templates(document)
        for template in templates:
            yield document["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def _fits(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    return all(labels.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))


@each_manifest
def test_documents_fit_the_schemas(path: Path) -> None:
    documents = read_yaml(path)
    assert documents
    for document in documents:
        check_document(document)


def test_the_schemas_find_a_slip() -> None:
    (deployment, _) = read_yaml(FOLDER / "base" / "api.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["imagee"] = "tubelet:0.1.0"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, SCHEMAS, strict=True)


@each_kustomization
def test_kustomizations_name_what_is_there_and_leave_nothing_out(path: Path) -> None:
    (document,) = read_yaml(path)
    assert set(document) <= KEYS
    named = [
        (path.parent / name).resolve() for name in document["resources"] + document.get("components", [])
    ]
    assert all(entry.exists() for entry in named)
    assert all((entry / "kustomization.yaml").is_file() for entry in named if entry.is_dir())
    named += [(path.parent / name).resolve() for name in document.get("configurations", [])]
    beside = {file.resolve() for file in path.parent.glob("*.yaml")} - {path.resolve(), TEMPLATE.resolve()}
    assert beside <= set(named)
    names = {document["metadata"]["name"] for _, document in _documents()}
    assert {entry["name"] for entry in document.get("replicas", [])} <= names
    images = {container["image"].split(":")[0] for _, _, pod in _pods() for container in pod["containers"]}
    assert {entry["name"] for entry in document.get("images", [])} <= images


@each_kustomization
def test_settings_of_generated_maps_are_real(path: Path) -> None:
    (document,) = read_yaml(path)
    for generator in document.get("configMapGenerator", []):
        assert generator["name"] == "tubelet-settings"
        settings = dict(literal.split("=", 1) for literal in generator.get("literals", []))
        for name in generator.get("envs", []):
            settings |= read_settings(path.parent / name)
        assert settings
        assert all(name.startswith("TUBELET_") for name in settings)
        load_settings(environment=settings)


@pytest.mark.parametrize(("labels", "pod"), [pod[1:] for pod in _pods()], ids=[pod[0] for pod in _pods()])
def test_pods_are_confined(labels: dict[str, str], pod: dict[str, Any]) -> None:
    assert pod["enableServiceLinks"] is False, "a Service named tubelet-api would set TUBELET_API_PORT"
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert not [volume for volume in volumes.values() if "hostPath" in volume]
    assert all(volume["emptyDir"]["sizeLimit"] for volume in volumes.values() if "emptyDir" in volume)
    for container in pod["containers"]:
        assert PINNED.fullmatch(container["image"])
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "/tmp" in mounted
        assert (
            "/data" if labels["app.kubernetes.io/component"] == "redis" else "/var/lib/tubelet"
        ) in mounted


def test_variables_of_pods_are_settings_and_their_sources_exist() -> None:
    keys = {document["metadata"]["name"]: set(document["stringData"]) for document in read_yaml(TEMPLATE)}
    for _, _, pod in _pods():
        for container in pod["containers"]:
            variables = {entry["name"]: entry for entry in container.get("env", [])}
            assert not unknown_variables(set(variables))
            load_settings(
                environment={name: entry["value"] for name, entry in variables.items() if "value" in entry}
            )
            for entry in variables.values():
                if "valueFrom" in entry:
                    source = entry["valueFrom"]["secretKeyRef"]
                    assert source["key"] in keys[source["name"]]
            for source in container.get("envFrom", []):
                if "secretRef" in source:
                    assert keys[source["secretRef"]["name"]] == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
                else:
                    assert source["configMapRef"]["name"] == "tubelet-settings"


def test_the_template_holds_no_secret() -> None:
    for document in read_yaml(TEMPLATE):
        assert all("REPLACE" in value for value in document["stringData"].values())


def test_selectors_find_their_pods() -> None:
    labels = [labels for _, labels, _ in _pods()]
    for path, document in _documents():
        spec = document.get("spec", {})
        if document["kind"] in ("Deployment", "StatefulSet"):
            assert _fits(spec["selector"], spec["template"]["metadata"]["labels"])
        elif document["kind"] == "Service":
            assert [each for each in labels if _fits({"matchLabels": spec["selector"]}, each)], path
            assert spec.get("type", "ClusterIP") == "ClusterIP", "the service has no keys"
        elif document["kind"] == "PodDisruptionBudget":
            assert [each for each in labels if _fits(spec["selector"], each)], path
        elif document["kind"] == "NetworkPolicy":
            assert [each for each in labels if _fits(spec["podSelector"], each)], path
    assert "Ingress" not in {document["kind"] for _, document in _documents()}


def test_every_pod_is_denied_what_is_not_listed() -> None:
    (deny,) = [d for _, d in _documents() if d["metadata"]["name"] == "tubelet-default-deny"]
    assert deny["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny["spec"])
    assert all(_fits(deny["spec"]["podSelector"], labels) for _, labels, _ in _pods())


def test_redis_forgets_nothing() -> None:
    ((_, _, pod),) = [entry for entry in _pods() if entry[0] == "tubelet-redis"]
    command = pod["containers"][0]["command"][-1]
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--requirepass", "--dir /data"):
        assert option in command
