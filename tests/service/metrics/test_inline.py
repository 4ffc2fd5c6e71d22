"""GET /metrics of a service whose model runs in the API's process: no Redis, and nothing is lost over a reload."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.service.support.metrics import grown, outcomes, scrape, total, until
from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def inline(new_service: Callable[..., Service]) -> Service:
    service = new_service(EXECUTOR="inline", REDIS_URL="", CALLBACK_ALLOW="127.0.0.1", API_WORKERS=2)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready")
    return service


def test_requests_stages_and_what_runs(inline: Service) -> None:
    before = scrape(inline)
    for number in range(10):
        assert inline.predict({"number": number}).status_code == 200
    assert inline.predict({"predict": "1 / 0"}).status_code == 500
    assert inline.predict(b"{").status_code == 400
    task = inline.submit({})
    inline.wait(task)
    after = grown(inline, before, {"success": 10, "failure": 1, "refused": 1, "accepted": 1})
    for stage, count in (("verify", 12), ("queue", 12), ("process", 12), ("predict", 12), ("reply", 11)):
        name, label = "denzel_stage_duration_seconds_count", f'stage="{stage}"'
        assert total(after, name, label) - total(before, name, label) == count, stage
    assert "denzel_redis_up" not in after
    assert total(after, "denzel_ready") == 1
    assert total(after, "denzel_model_load_seconds") > 0
    inline.submit({"predict": "wait_for('go') and {}"})
    now = until(inline, lambda now: total(now, "denzel_tasks_running") == 1, "it runs")
    (inline.project / "go").touch()
    assert (now["denzel_tasks_waiting"], now["denzel_oldest_waiting_task_age_seconds"]) == (0, 0)
    until(inline, lambda now: not total(now, "denzel_tasks_running"), "it has ended")


def test_callbacks(inline: Service, receivers: Receivers) -> None:
    receiver = receivers.open()
    before = scrape(inline)
    inline.submit({"callback_uri": receiver.url})
    name, label = "denzel_callbacks_total", 'outcome="delivered"'
    until(inline, lambda now: total(now, name, label) - total(before, name, label) == 1, "it is counted")


def test_what_was_counted_outlives_the_process(inline: Service) -> None:
    before = scrape(inline)
    assert inline.predict({}).status_code == 200
    os.kill(inline.pid("api"), signal.SIGHUP)
    until(inline, lambda now: total(now, "denzel_reloads_total", 'result="done"') >= 1, "the reload is counted", 20)
    eventually(lambda: inline.get("/ready").status_code == 200, "it is ready")
    after = grown(inline, before, {"success": 1})
    assert outcomes(after)["success"] >= 1
