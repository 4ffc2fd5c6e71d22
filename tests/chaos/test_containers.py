"""Containers die at random while clients ask: nothing that was accepted is lost, no answer is wrong."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.containers import ContainerTarget
from tests.chaos.form import FORM
from tests.chaos.run import REPLIES, require, use_pipeline, withstand
from tests.e2e.project import Project
from tests.support.bakery import bake
from tests.support.docker import require_docker
from tests.support.ports import free_port
from tests.support.receivers import Receivers


@pytest.mark.timeout(FORM.timeout)
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"] if FORM.is_long else ["redis"])
def test_whatever_container_dies_nothing_accepted_is_lost(
    broker: str, tmp_path: Path, say: Callable[[str], None]
) -> None:
    require_docker()
    slug = f"denzel_chaos_{uuid.uuid4().hex[:8]}"
    path = bake(tmp_path, project_slug=slug, example="none", broker=broker)
    use_pipeline(path, batchable=False)
    with Receivers() as receivers, Project(path, slug, api_port=free_port(), monitor_port=free_port()) as project:
        receiver = receivers.open(*REPLIES, host="0.0.0.0")
        address = f"host.docker.internal:{receiver.port}"
        project.set_env(CALLBACK_ALLOW=address, WORKER_CONCURRENCY="3", LAUNCH_TIMEOUT="120")
        project.launch()
        verdict = withstand(ContainerTarget(project), receiver, f"http://{address}/inbox", FORM, say)
        say(f"{broker}, {FORM}\n{verdict}")
        require(verdict, FORM)
