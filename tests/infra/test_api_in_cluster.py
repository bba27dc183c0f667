"""What the API of the Kubernetes manifests is given: ledger, keys, uploads, and a home that stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.infra.files import INFRA, read_settings, read_yaml
from tubelet.api.keys import KeyFile, find_key_file
from tubelet.settings import load_settings

BASE = INFRA / "kubernetes" / "base"


def _find(name: str, kind: str) -> dict[str, Any]:
    found = [each for path in BASE.glob("*.yaml") for each in read_yaml(path)]
    (document,) = [
        each for each in found if each["kind"] == kind and each.get("metadata", {}).get("name") == name
    ]
    return document


def test_the_api_has_the_workers_ledger_keys_and_uploads(tmp_path: Path) -> None:
    deployment = _find("tubelet-api", "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    (worker,) = _find("tubelet-worker", "Deployment")["spec"]["template"]["spec"]["containers"]
    (ledger,) = [each for each in container["env"] if each["name"] == "TUBELET_LEDGER"]
    assert ledger in worker["env"]
    assert "--without-keys" not in container["command"]

    plain = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    settings = load_settings(environment=plain | read_settings(BASE / "settings.env"))
    assert settings.api_uploads.startswith(settings.index_uri.rpartition("/")[0]), "in the same bucket"
    keys = find_key_file(settings)
    (mount,) = [each for each in container["volumeMounts"] if each["mountPath"] == str(keys.parent)]
    volumes = {each["name"]: each for each in pod["volumes"]}
    secret = _find(volumes[mount["name"]]["secret"]["secretName"], "Secret")
    assert list(secret["stringData"]) == [keys.name]
    made = KeyFile(tmp_path / keys.name)
    made.add("lab", scopes=["search", "submit"])
    assert json.loads(made.path.read_text())["keys"][0]["name"] == "lab"

    claim = _find(volumes["home"]["persistentVolumeClaim"]["claimName"], "PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")


def test_policies_let_the_api_reach_redis() -> None:
    def names(selector: dict[str, Any]) -> list[str]:
        return list(selector["matchExpressions"][0]["values"])

    assert "api" in names(_find("tubelet-to-ledger", "NetworkPolicy")["spec"]["podSelector"])
    redis = read_yaml(INFRA / "kubernetes" / "redis" / "redis.yaml")
    (policy,) = [each for each in redis if each["kind"] == "NetworkPolicy"]
    assert "api" in names(policy["spec"]["ingress"][0]["from"][0]["podSelector"])
