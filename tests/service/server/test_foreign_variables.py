"""The services are steered by our settings alone, whatever an orchestrator or an image has put into the environment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.bakery import TEMPLATE
from tests.support.services import Service

FOREIGN = {
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/7",
    "CELERY_BROKER_READ_URL": "redis://127.0.0.1:1/7",
    "CELERY_BROKER_WRITE_URL": "redis://127.0.0.1:1/7",
    "FLOWER_PORT": "tcp://10.0.0.1:5555",
    "GUNICORN_CMD_ARGS": "--bind 127.0.0.1:1 --workers 7",
    "WEB_CONCURRENCY": "auto",
    "API_PORT": "tcp://10.0.0.1:8000",
    "PYTHONOPTIMIZE": "1",
    "PYTHONSAFEPATH": "1",
    "DJANGO_SETTINGS_MODULE": "no_such_site.settings",
}


def test_the_services_work(new_service: Callable[..., Service]) -> None:
    service = new_service(**FOREIGN)
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready()
    assert service.predict({"data": {"a": 1}}).status_code == 200
    task_id = service.submit({"data": {"a": 1}})
    assert service.wait(task_id)["status"] == "SUCCESS"
    assert service.redis.exists(f"{service.prefix}_kombu.binding.denzel.tested")


@pytest.mark.parametrize("name", ["api", "denzel", "monitor", "redis"])
def test_every_entrypoint_removes_them(name: str) -> None:
    assert "clean_environment.sh" in (TEMPLATE / "entrypoints" / f"{name}.sh").read_text()


def test_what_is_removed_and_what_stays(tmp_path: Path) -> None:
    """A value of several lines misleads nobody; what belongs to the user's code is there."""
    stays = {"PYTHONPATH": "/x", "PYTHONHASHSEED": "0", "MINE": "a\nGUNICORN=\nMINE_PORT=tcp:", "API_PORT": "8000"}
    script = f". '{TEMPLATE}/entrypoints/clean_environment.sh'; env -0"
    done = subprocess.run(
        ["sh", "-euc", script],
        env={"PATH": "/usr/bin:/bin", **FOREIGN, "REDIS_PORT": "tcp://10.0.0.1:6379", **stays, "PWD": str(tmp_path)},
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    left = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    assert {name: value for name, value in left.items() if name not in ("PATH", "PWD", "OLDPWD", "SHLVL", "_")} == {
        **stays,
        "DJANGO_SETTINGS_MODULE": "no_such_site.settings",
    }
