"""The fields of KubeRay's kinds that the manifests use, by its API reference (ray.io/v1).

There is no package with KubeRay's schemas, so what is written here is checked strictly: a field that is not
listed is a slip. Pods inside are Kubernetes' own and are checked by its schemas. Serve's part is checked by
Ray's own schema.
"""

from __future__ import annotations

import importlib
from typing import Any

import kubernetes_validate
import yaml
from ray.serve.schema import ServeDeploySchema

RAY = "ray.io/v1"
SCHEMAS = "1.37"
"""Of the releases of Kubernetes."""
KINDS = {"RayCluster", "RayService"}
CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
HEAD = {"serviceType", "rayStartParams", "template"}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


def list_ray_templates(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The templates of all pods of a cluster."""
    cluster = _find_cluster(document)
    return [cluster["headGroupSpec"]["template"], *(g["template"] for g in cluster["workerGroupSpecs"])]


def check_ray(document: dict[str, Any]) -> None:
    """Fail on anything that KubeRay or Ray would not take."""
    assert document["kind"] in KINDS
    assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
    if document["kind"] == "RayService":
        assert set(document["spec"]) == {"serveConfigV2", "rayClusterConfig"}
        _check_serve(document["spec"]["serveConfigV2"])
    cluster = _find_cluster(document)
    assert set(cluster) == CLUSTER
    assert cluster["authOptions"] == {"mode": "token"}, "whoever reaches a Ray without tokens runs code in it"
    assert set(cluster["headGroupSpec"]) == HEAD
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    for group in cluster["workerGroupSpecs"]:
        assert set(group) == GROUP
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    parameters = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for each in parameters:
        assert all(isinstance(value, str) for value in each["rayStartParams"].values()), "KubeRay takes text"


def _find_cluster(document: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = document["spec"]
    return spec["rayClusterConfig"] if document["kind"] == "RayService" else spec


def _check_serve(text: str) -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(text))
    for application in schema.applications:
        module, _, name = application.import_path.partition(":")
        builder = getattr(importlib.import_module(module), name)
        assert builder(application.args) is not None


def check_document(document: dict[str, Any]) -> None:
    """Raise kubernetes_validate.ValidationError where a document does not fit the schemas."""
    if document["apiVersion"] == RAY:
        check_ray(document)
        for template in list_ray_templates(document):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
            kubernetes_validate.validate(pod, SCHEMAS, strict=True)
    else:
        kubernetes_validate.validate(document, SCHEMAS, strict=True)
