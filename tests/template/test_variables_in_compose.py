"""What of `.env` reaches the containers: the user's own variables where user code runs, of ours what is read there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.bakery import TEMPLATE, bake

NAMES = re.findall(r"(?m)^([A-Z][A-Z0-9_]*)=", (TEMPLATE / ".env").read_text(encoding="utf-8"))
ENVIRONMENT = yaml.safe_load((TEMPLATE / "docker-compose.yml").read_text(encoding="utf-8"))["x-environment"]
MISSING = "Give it a line in x-environment of docker-compose.yml: without a value if the service reads it, else empty."


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_env_is_taken_for_a_variable_of_the_users_own(name: str) -> None:
    assert name in ENVIRONMENT, MISSING


def config(project: Path, *arguments: str) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        ["docker", "compose", "config", *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    if done.returncode and "is not a docker command" in done.stderr:
        pytest.skip("needs Docker Compose")
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(project: Path, **values: str) -> None:
    path = project / ".env"
    lines = [line for line in path.read_text().splitlines() if line.partition("=")[0] not in values]
    path.write_text("\n".join([*lines, *(f"{name}={value}" for name, value in values.items())]) + "\n")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if not shutil.which("docker"):
        pytest.skip("needs Docker's command line")
    return bake(tmp_path, example="none")


def api(project: Path) -> dict[str, str]:
    """The environment of the API, as Compose compares it."""
    return json.loads(config(project, "--format", "json"))["services"]["api"]["environment"]


def test_own_variables_reach_user_code_and_no_more(project: Path) -> None:
    write(project, MY_SECRET="'pa$word # 1'", MAX_WAIT="33")
    services = json.loads(config(project, "--format", "json"))["services"]
    for name in ("api", "denzel"):
        found = services[name]["environment"]
        assert found["MY_SECRET"] == "pa$$word # 1"  # as `config` writes a dollar
        assert found["MAX_WAIT"] == "33"
        assert not [secret for secret in found if secret.endswith("_PASSWORD") and found[secret]]
    assert "MY_SECRET" not in services["monitor"]["environment"]
    assert services["monitor"]["environment"]["MONITOR_PASSWORD"]
    assert "MY_SECRET" not in services["redis"]["environment"]


def test_what_concerns_no_container_replaces_none(project: Path) -> None:
    """`make scale` and the updates of requirements write their settings; ports are published, and not inside."""
    before = api(project)
    write(project, WORKERS="3", REDIS_IMAGE="redis:7", LAUNCH_TIMEOUT="9", PROXY_PORT="81")
    assert api(project) == before
    write(project, MY_SECRET="x")
    assert api(project) != before


def test_the_port_of_the_monitor_concerns_the_api_that_links_to_it_and_no_model(project: Path) -> None:
    def environments() -> dict[str, dict[str, str]]:
        services = json.loads(config(project, "--format", "json"))["services"]
        return {name: services[name]["environment"] for name in ("api", "denzel")}

    before = environments()
    assert before["api"]["MONITOR_URL"] == ":5555"
    write(project, MONITOR_PORT="5999")
    after = environments()
    assert after["api"] == {**before["api"], "MONITOR_URL": ":5999"}
    assert after["denzel"] == before["denzel"]
    write(project, MONITOR_URL="https://monitor.example.com/")
    assert environments()["api"]["MONITOR_URL"] == "https://monitor.example.com/"
