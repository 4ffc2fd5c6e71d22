"""A pipeline that takes minutes to import: the API's process that does it is not taken for one that hangs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import yaml

from tests.support.bakery import TEMPLATE
from tests.support.services import Service
from tests.support.waiting import eventually

SECONDS = 6  # of the import; gunicorn grants a process that has begun to serve a third of it here


def test_a_process_that_imports_is_left_alone(new_service: Callable[..., Service]) -> None:
    service = new_service(EXECUTOR="inline")
    configuration = service.project / "denzel/server/gunicorn_conf.py"
    text, found = re.subn(r"(?m)^timeout = 60$", f"timeout = {SECONDS // 3}", configuration.read_text())
    assert found
    configuration.write_text(text)
    pipeline = service.project / "app/logic/pipeline.py"
    pipeline.write_text(f"import time\ntime.sleep({SECONDS})\n{pipeline.read_text()}")
    began = time.monotonic()
    service.start_only("api")
    eventually(lambda: service._api_answers(), "the API answers", timeout=60)
    assert time.monotonic() - began >= SECONDS
    assert service.log("api").count("Booting worker") == 1
    assert "WORKER TIMEOUT" not in service.log("api")


def test_health_checks_wait_for_as_long_as_make_launch() -> None:
    """`docker compose up --wait` fails as soon as a container is unhealthy, which it can only be after this time."""
    for name, services in {"docker-compose.yml": ("api", "denzel"), "docker-compose.proxy.yml": ("proxy",)}.items():
        found = yaml.safe_load((TEMPLATE / name).read_text())["services"]
        for service in services:
            assert found[service]["healthcheck"]["start_period"] == "${LAUNCH_TIMEOUT:-600}s"
