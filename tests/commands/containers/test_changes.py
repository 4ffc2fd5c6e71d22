"""What needs a container to be replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands.containers import changes
from commands.shared.docker import Container


@pytest.mark.parametrize(
    ("service", "written", "health", "needs_a_start"),
    [
        ("api", "app/logic/pipeline.py", "healthy", False),
        ("api", "denzel/api/application.py", "healthy", True),
        ("denzel", "denzel/worker/process.py", "unhealthy", True),
        ("denzel", "app/assets/info.txt", "unhealthy", False),
        ("proxy", "proxy/nginx.conf", "healthy", True),
        ("prometheus", "metrics/mine.user.yml", "healthy", True),
        ("grafana", "metrics/grafana/dashboards/denzel.json", "healthy", True),
        ("monitor", "denzel/api/application.py", "starting", False),
        ("monitor", "denzel/api/application.py", "unhealthy", True),
    ],
)
def test_a_container_needs_a_start_when_the_framework_is_newer_or_it_is_unwell(
    service: str, written: str, health: str, needs_a_start: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    path = tmp_path / written
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (0, 0))  # as unpacked from an archive
    container = Container("id", service, "running", health, started=path.stat().st_ctime - 1)
    assert changes.unseen_by_compose({service: [container]}) == ({service} if needs_a_start else set())
    later = Container("id", service, "running", started=path.stat().st_ctime + 1)
    assert changes.unseen_by_compose({service: [later]}) == set()
