"""The GPU option, as far as it can be tested without one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tests.support.docker import docker_names
from tests.support.ports import free_port

TOOLKIT = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
pytestmark = pytest.mark.timeout(500)


@pytest.fixture(scope="module")
def gpu_project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("gpu"), gpu=True)
    project.use_pipeline("doubling")
    return project


def configuration(project: Project) -> dict:
    output = project.compose("config", "--format", "json")
    assert output.code == 0, output
    return json.loads(output.out)["services"]


def test_denzel_alone_reserves_a_gpu_and_all_are_built_on_cuda(gpu_project: Project) -> None:
    services = configuration(gpu_project)
    assert services["denzel"]["deploy"]["resources"]["reservations"]["devices"] == [
        {"driver": "nvidia", "count": 1, "capabilities": ["gpu", "compute", "utility"]}
    ]
    assert services["denzel"]["environment"]["GPU_COUNT"] == "1"
    for name in ("api", "monitor"):
        assert "devices" not in json.dumps(services[name])
    for name in ("api", "denzel", "monitor"):
        assert services[name]["build"]["args"]["BASE_IMAGE"].startswith("nvidia/cuda:")


def test_the_number_of_gpus_and_the_image_are_settings(gpu_project: Project) -> None:
    gpu_project.set_env(GPU_COUNT="2", BASE_IMAGE="python:3.13-slim")
    services = configuration(gpu_project)
    gpu_project.set_env(GPU_COUNT="", BASE_IMAGE="")
    assert services["denzel"]["deploy"]["resources"]["reservations"]["devices"][0]["count"] == 2
    assert services["denzel"]["environment"]["GPU_COUNT"] == "2"
    assert services["denzel"]["build"]["args"]["BASE_IMAGE"] == "python:3.13-slim"


def without_nvidia() -> bool:
    return "nvidia" not in docker_names("info", "--format", "{{json .Runtimes}}").pop()


def test_launch_and_doctor_say_what_is_missing_before_anything_is_built(gpu_project: Project) -> None:
    if not without_nvidia():
        pytest.skip("this machine has NVIDIA's runtime")
    said = gpu_project.refuse("launch", f"API_PORT={free_port()}", f"MONITOR_PORT={free_port()}")
    assert said.startswith("The predictions are to run on a GPU (docker-compose.gpu.yml in COMPOSE_FILE of .env), but ")
    assert "\n  could not select device driver" in said
    assert TOOLKIT in said
    assert "take docker-compose.gpu.yml out of COMPOSE_FILE" in said
    assert gpu_project.slug not in docker_names("images", "--format", "{{.Repository}}")

    doctor = gpu_project.make("doctor")
    assert doctor.code == 2
    assert "  PROBLEM GPU: The predictions are to run on a GPU" in doctor.out
    assert TOOLKIT in doctor.out


@pytest.mark.skipif(os.environ.get("DENZEL_MATRIX") != "all", reason="takes minutes: make test ENV=matrix")
def test_the_image_is_built_on_a_base_without_python(gpu_project: Project, tmp_path: Path) -> None:
    """As the images with CUDA are: Debian or Ubuntu and nothing else."""
    gpu_project.set_env(BASE_IMAGE="debian:trixie-slim", COMPOSE_FILE="docker-compose.yml", GPU_COUNT="")
    assert f"{gpu_project.slug} is UP" in gpu_project.launch().out
    assert gpu_project.predict({"data": {"a": 2}}).json() == {"a": 4}
    assert "/opt/venv" in gpu_project.run("shell", stdin="command -v python\n").out
