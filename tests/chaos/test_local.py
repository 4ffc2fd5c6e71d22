"""Processes die at random while clients ask: nothing that was accepted is lost, no answer is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.form import FORM
from tests.chaos.local import LocalTarget
from tests.chaos.run import REPLIES, require, use_pipeline, withstand
from tests.support.bakery import bake
from tests.support.receivers import Receivers
from tests.support.services import Service


@pytest.mark.timeout(FORM.timeout)
@pytest.mark.parametrize("tasks", ["merged", "apart"] if FORM.is_long else ["merged"])
def test_whatever_process_dies_nothing_accepted_is_lost(tasks: str, tmp_path: Path, say: Callable[[str], None]) -> None:
    project = bake(tmp_path, project_slug="chaos", example="none")
    use_pipeline(project, batchable=tasks == "merged")
    with Receivers() as receivers, Service(project, WORKER_CONCURRENCY=3, CALLBACK_ALLOW="127.0.0.1") as service:
        receiver = receivers.open(*REPLIES)
        service.start("redis", "api", "denzel")
        service.wait_ready(processes=3)
        verdict = withstand(LocalTarget(service), receiver, receiver.url, FORM, say)
        say(f"{FORM}\n{verdict}")
        require(verdict, FORM)
