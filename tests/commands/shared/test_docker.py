"""Containers as Docker tells of them."""

from __future__ import annotations

import pytest

from commands.shared.docker import Container, _container


def test_a_container_is_read_from_what_docker_inspects() -> None:
    document = {
        "Id": "abc",
        "State": {"Status": "running", "Health": {"Status": "healthy"}},
        "RestartCount": 2,
        "Config": {
            "Labels": {"com.docker.compose.service": "api", "com.docker.compose.project.working_dir": "/a b/iris"}
        },
        "NetworkSettings": {"Ports": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}], "5555/tcp": None}},
    }
    assert _container(document) == Container("abc", "api", "running", "healthy", "/a b/iris", 2, frozenset({8123}))


def test_when_a_container_was_started_and_from_what_is_read_too() -> None:
    labels = {"com.docker.compose.config-hash": "digest", "com.docker.compose.image": "sha256:1"}
    state = {"Status": "running", "StartedAt": "1970-01-01T00:01:00.123456789Z"}
    container = _container({"Id": "abc", "State": state, "Config": {"Labels": labels}})
    assert (container.config, container.image, container.started) == ("digest", "sha256:1", pytest.approx(60.123456789))
