"""The Dockerfiles, checked by hadolint and by reading: what they copy, pin, run as and run."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.infra.files import INFRA, PINNED, ROOT, unknown_variables
from tubelet.settings import load_settings

DOCKERFILES = [INFRA / "docker" / "Dockerfile", INFRA / "docker" / "Dockerfile.gpu"]
CONSTRAINTS = INFRA / "docker" / "constraints.txt"
REFRESH = "make infra/docker/constraints.txt anew; its first lines say how"
EXTRAS = ("ray", "serve")

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)


def _instructions(path: Path) -> list[tuple[str, str]]:
    """Instructions with their arguments, continued lines joined, comments left out."""
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]


def _last_stage(path: Path) -> list[tuple[str, str]]:
    instructions = _instructions(path)
    start = max(number for number, (word, _) in enumerate(instructions) if word == "FROM")
    return instructions[start:]


def _read_pins() -> dict[str, Version]:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    return {name: Version(version) for name, version in (line.split("==") for line in lines)}


def _is_ignored(name: str) -> bool:
    """Whether .dockerignore keeps a path out; of the lines that fit, the last one counts."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = Path(name).parts
        paths = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        if any(fnmatch.fnmatchcase(path, pattern) for path in paths):
            ignored = not line.startswith("!")
    return ignored


@each_dockerfile
def test_hadolint_finds_nothing(path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--no-color", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@each_dockerfile
def test_bases_are_pinned_and_the_last_stage_holds_no_build_tools(path: Path) -> None:
    bases = [rest.split()[0] for word, rest in _instructions(path) if word == "FROM"]
    assert len(bases) == 2
    assert all(PINNED.fullmatch(base) for base in bases)
    assert len(set(bases)) == 1, "a virtual environment runs only where its Python lies at the same place"
    for word, rest in _last_stage(path):
        assert word != "RUN" or not re.search(r"\b(apt|apt-get|pip|gcc|make)\b", rest), rest


@each_dockerfile
def test_it_runs_as_a_fixed_user_who_owns_the_home(path: Path) -> None:
    stage = _last_stage(path)
    assert ("USER", "10001:10001") in stage
    after = stage[stage.index(("USER", "10001:10001")) :]
    assert not [rest for word, rest in after if word == "USER"][1:]
    made = next(rest for word, rest in stage if word == "RUN" and "useradd" in rest)
    assert "--uid 10001" in made
    assert "--gid 10001" in made
    assert "install -d -o tubelet -g tubelet" in made
    assert ("VOLUME", "/var/lib/tubelet") in after
    environment = dict(re.findall(r"(\w+)=(\S+)", next(rest for word, rest in stage if word == "ENV")))
    assert environment["TUBELET_HOME"] == "/var/lib/tubelet"
    assert not unknown_variables(set(environment))
    load_settings(environment=environment)


@each_dockerfile
def test_what_is_copied_is_there_and_not_ignored(path: Path) -> None:
    copied = []
    for word, rest in _instructions(path):
        assert word != "ADD", "ADD fetches and unpacks; COPY does neither"
        if word == "COPY" and not rest.startswith("--from"):
            copied += rest.split()[:-1]
    assert {"src", "api", "index", "model", "orchestration", "workers"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert not _is_ignored(name), f".dockerignore keeps {name} out"
    assert _is_ignored(".git")
    assert _is_ignored("infra/compose/.env")
    assert _is_ignored("tests/conftest.py")


@each_dockerfile
def test_commands_exist_and_health_is_checked(path: Path) -> None:
    stage = dict(_last_stage(path))
    assert "/healthz" in stage["HEALTHCHECK"]
    script = re.search(r'"python", "/opt/tubelet/(\w+\.py)"', stage["CMD"])
    assert script is not None
    assert (INFRA / "docker" / script.group(1)).is_file()
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert "tubelet" in scripts
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'org.opencontainers.image.version="{version}"' in stage["LABEL"]


def test_both_images_are_built_the_same_way() -> None:
    """They differ in the index of PyTorch, in what they are called, and in what the driver is asked for."""
    cpu, gpu = (_instructions(path) for path in DOCKERFILES)
    differing = [(one, other) for one, other in zip(cpu, gpu, strict=True) if one != other]
    assert [one[0] for one, _ in differing] == ["ARG", "LABEL", "ENV"]
    assert differing[0] == (
        ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu"),
        ("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cu130"),
    )
    assert differing[2][1][1].startswith(differing[2][0][1])


def test_every_package_is_pinned_to_a_version_that_the_project_allows() -> None:
    pins = _read_pins()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin. Do: {REFRESH}"
        assert pins[name] in requirement.specifier, f"{pins[name]} is not {requirement}. Do: {REFRESH}"
    assert f"torch=={pins['torch']}" in (ROOT / "constraints-cpu.txt").read_text()
    assert "torchvision" not in pins, "transformers fails beside a torchvision of another build"
