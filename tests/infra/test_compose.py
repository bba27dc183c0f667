"""The compose file, held against the Compose specification and read: no Docker engine is needed."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from tests.infra.files import INFRA, PINNED, ROOT, read_settings, read_yaml, unknown_variables
from tubelet.orchestration.ledger.redis_client import hide_password
from tubelet.settings import load_settings

FILE = INFRA / "compose" / "compose.yaml"
OWN = ("api", "bucket", "worker", "worker-gpu")
SECRETS = {"REDIS_PASSWORD", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "GRAFANA_PASSWORD"}
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(:-|:\?)([^}]*)\}")


def _fill_in(text: str, given: dict[str, str]) -> str:
    """Put variables in as compose does: `:-` names a default, `:?` asks for a value that is not empty."""

    def put(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if given.get(name):
            return given[name]
        if kind == ":?":
            raise KeyError(name)
        return rest

    return VARIABLE.sub(put, text)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    filled = _fill_in(FILE.read_text(), dict.fromkeys(SECRETS, "word"))
    document: dict[str, Any] = yaml.safe_load(filled)
    return document


@pytest.fixture(scope="module")
def services(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document["services"]
    return found


def test_it_fits_the_specification(document: dict[str, Any]) -> None:
    own = ["redis", "s3", "prometheus", "grafana", *OWN]
    assert sorted(PyCompose.from_json(json.dumps(document)).service_names()) == sorted(own)


@pytest.mark.parametrize(
    "slip",
    [
        {"imagee": "redis"},
        {"stop_grace_period": "5 minutes"},
        {"restart": "sometimes"},
        {"ports": ["127.0.0.1:many:8000"]},
        {"healthcheck": {"test": "true", "intervall": "3s"}},
        {"deploy": {"resources": {"limits": {"memory": "lots"}}}},
    ],
    ids=lambda slip: next(iter(slip)),
)
def test_the_specification_finds_a_slip(slip: dict[str, Any], document: dict[str, Any]) -> None:
    services = document["services"]
    changed = {**document, "services": {**services, "api": {**services["api"], **slip}}}
    with pytest.raises(ValueError, match="line 1"):
        PyCompose.from_json(json.dumps(changed))


def test_only_the_worker_with_a_gpu_is_left_out_unless_asked_for(services: dict[str, dict[str, Any]]) -> None:
    assert {name: service["profiles"] for name, service in services.items() if "profiles" in service} == {
        "worker-gpu": ["gpu"]
    }


def test_images_are_pinned_and_built_from_files_that_exist(services: dict[str, dict[str, Any]]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in services.items():
        assert PINNED.fullmatch(service["image"]), service["image"]
        if name in OWN:
            assert service["image"].endswith(f":{version}")
            context = (FILE.parent / service["build"]["context"]).resolve()
            assert context == ROOT
            assert (context / service["build"]["dockerfile"]).is_file()
        else:
            assert "build" not in service


def test_nothing_is_privileged_and_ports_are_on_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"api", "s3", "prometheus", "grafana"}
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for ports in published.values() for port in ports)
    for name, service in services.items():
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name in OWN:
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]


def test_resources_are_limited_and_what_ends_is_started_again(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name
        assert service["restart"] == ("no" if name == "bucket" else "unless-stopped")
    assert services["worker"]["stop_grace_period"] == "5m"


def test_whoever_needs_another_waits_until_it_is_well(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services, name
            if how["condition"] == "service_healthy":
                assert services[other]["healthcheck"]["test"]
            else:
                assert how["condition"] == "service_completed_successfully"
                assert services[other]["restart"] == "no"
    assert set(services["worker"]["depends_on"]) == set(services["api"]["depends_on"]) == {"redis", "bucket"}


def test_settings_are_real_and_lead_to_the_other_services(services: dict[str, dict[str, Any]]) -> None:
    for name in OWN:
        environment = {key: str(value) for key, value in services[name]["environment"].items()}
        assert not unknown_variables(set(environment)), name
        settings = load_settings(environment={**environment, "TUBELET_HOME": "/var/lib/tubelet"})
        assert settings.index_location == "s3://tubelet/index"
        assert settings.work_uri == "s3://tubelet/work"
        assert settings.s3_endpoint_url == "http://s3:8333"
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(environment)
        if name != "bucket":
            assert set(services[name]["networks"]) == {"storage", "ledger", "watching"}
            assert settings.ledger_location == "redis://:word@redis:6379/0"
            assert "word" not in hide_password(settings.ledger_location)
        else:
            assert "TUBELET_LEDGER" not in environment


def test_the_api_takes_batches_and_uploads(services: dict[str, dict[str, Any]]) -> None:
    api, worker = services["api"], services["worker"]
    settings = load_settings(environment={key: str(value) for key, value in api["environment"].items()})
    assert settings.api_uploads == "s3://tubelet/uploads", "in the bucket that is made"
    published = services["s3"]["ports"][0].rpartition(":")[0]
    assert settings.api_uploads_endpoint_url == f"http://{published}"
    assert settings.api_sources == ("/videos",)
    videos = [[each for each in part["volumes"] if each["target"] == "/videos"] for part in (api, worker)]
    assert videos[0] == videos[1] != [], "what it plays lies where workers found it"
    homes = [volume for volume in api["volumes"] if volume["target"] == "/var/lib/tubelet"]
    assert homes == [{"type": "volume", "source": "api", "target": "/var/lib/tubelet"}], "keys are kept"
    assert api["environment"]["TUBELET_LEDGER"] == worker["environment"]["TUBELET_LEDGER"]


def test_redis_forgets_nothing(services: dict[str, dict[str, Any]]) -> None:
    command = services["redis"]["command"][-1]
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--requirepass"):
        assert option in command
    assert {"type": "volume", "source": "redis", "target": "/data"} in services["redis"]["volumes"]


def test_each_worker_has_a_home_of_its_own(services: dict[str, dict[str, Any]]) -> None:
    """A named volume would be one home for all containers of a service, and the second would not start."""
    for name in ("worker", "worker-gpu"):
        homes = [volume for volume in services[name]["volumes"] if volume["target"] == "/var/lib/tubelet"]
        assert homes == [{"type": "volume", "target": "/var/lib/tubelet"}]


def test_secrets_come_from_the_environment_file_alone() -> None:
    text = FILE.read_text()
    used = {name: kind for name, kind, _ in VARIABLE.findall(text)}
    assert {name for name, kind in used.items() if kind == ":?"} == SECRETS
    example = read_settings(FILE.parent / ".env.example")
    assert set(example) <= set(used), "the example names something that compose does not use"
    assert {name for name, value in example.items() if not value} == SECRETS
    assert ".env" in (FILE.parent / ".gitignore").read_text().splitlines()
    with pytest.raises(KeyError):
        _fill_in(text, example)


def test_commands_are_scripts_of_the_image(services: dict[str, dict[str, Any]]) -> None:
    assert services["worker"]["command"] == services["worker-gpu"]["command"] == ["tubelet", "work"]
    assert services["bucket"]["command"] == ["python", "/opt/tubelet/make_bucket.py"]
    assert "command" not in services["api"], "the image's own"
    assert len(read_yaml(FILE)) == 1
