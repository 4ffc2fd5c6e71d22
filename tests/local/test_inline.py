"""`make dev` with EXECUTOR=inline in .env: the model in the API's process, no Redis, nothing else."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.running import Dev, dev, free_ports, make
from tests.support.receivers import Inbox


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    with Inbox() as inbox:
        yield inbox


@pytest.fixture(scope="module")
def inline(installed: Path, inbox: Inbox) -> Iterator[Dev]:
    env = installed / ".env"
    before = env.read_text()
    text = re.sub(r"(?m)^EXECUTOR=.*$", "EXECUTOR=inline", before)
    env.write_text(re.sub(r"(?m)^CALLBACK_ALLOW=.*$", f"CALLBACK_ALLOW={inbox.address}", text))
    try:
        with dev(installed, *free_ports()) as running:
            running.wait_until_ready()
            yield running
    finally:
        env.write_text(before)


def url(running: Dev) -> str:
    return json.loads(running.marker.read_text())["api_url"]


def post(running: Dev, body: Any, **headers: str) -> Any:
    request = urllib.request.Request(f"{url(running)}/predict", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def example(project: Path) -> dict[str, Any]:
    return json.loads((project / "app/assets/examples/two_flowers.json").read_text())


def test_the_api_runs_alone(inline: Dev) -> None:
    lines = list(inline.processes().values())
    others = "redis-server|denzel.worker.supervisor|denzel.worker.process|denzel.monitor|flower"
    assert not [line for line in lines if re.search(others, line)]
    assert [line for line in lines if "gunicorn" in line]


def test_status_shows_that_the_others_are_not_there(inline: Dev) -> None:
    port = url(inline).rpartition(":")[2]
    done = make(inline.project, "status")
    assert (done.returncode, done.stdout) == (
        0,
        "Services:\n\tdenzel - DOWN\n\tmonitor - DOWN\n"
        f"\tapi - UP [ Port: {port} ]\n\tredis - DOWN\nWorker: worker@iris_classifier - UP\n"
        "Queue: 0 tasks wait\nResponses: synchronous, within 5 seconds\n",
    )


def test_commands_ask_what_runs_and_no_redis_that_env_may_name_by_now(inline: Dev) -> None:
    env = inline.project / ".env"
    before = env.read_text()
    env.write_text(before.replace("EXECUTOR=inline", "EXECUTOR=queue"))
    try:
        for words in (["response", "MODE=async"], ["dead"]):
            done = make(inline.project, *words)
            assert done.returncode == 2
            assert "With EXECUTOR=inline" in done.stderr
    finally:
        env.write_text(before)


def test_it_answers_synchronously(inline: Dev) -> None:
    case = example(inline.project)
    assert post(inline, case["request"]) == case["response"]
    assert make(inline.project, "predict").returncode == 0


def test_it_answers_asynchronously_with_a_status_and_a_callback(inline: Dev, inbox: Inbox) -> None:
    case = example(inline.project)
    body = {**case["request"], "callback_uri": f"http://{inbox.address}/"}
    task_id = post(inline, body, Prefer="respond-async")["data"]["task_id"]
    assert inbox.wait_for(task_id) == case["response"]
    with urllib.request.urlopen(f"{url(inline)}/status/{task_id}", timeout=10) as response:
        status = json.load(response)
    assert (status["status"], status["result"]) == ("SUCCESS", case["response"])


def test_response_says_which_setting_it_is_here(inline: Dev) -> None:
    done = make(inline.project, "response", "MODE=async")
    assert done.returncode == 2
    assert "SYNC_TIMEOUT in .env" in done.stderr
