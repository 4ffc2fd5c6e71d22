"""GET /metrics of a real service: every request is counted once, whichever process does it, ends or is killed."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from tests.service.support.metrics import grown, more, outcomes, scrape, total, until
from tests.support.processes import children_of
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

USUAL = {"TE": "trailers"}  # a header that says nothing, and keeps a request from the quick way
STAGES = "denzel_stage_duration_seconds_count"
HOLDS = {"predict": "wait_for('go') and {'a': 1}"}


@pytest.fixture(scope="module")
def running(new_service: Callable[..., Service]) -> Service:
    """Two API and two prediction processes."""
    service = new_service(API_WORKERS=2, WORKER_CONCURRENCY=2, CALLBACK_ALLOW="127.0.0.1", CALLBACK_RETRY_SPAN=0)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


@pytest.fixture
def metered(running: Service) -> Iterator[Service]:
    """The same, complete again after the test."""
    (running.project / "go").unlink(missing_ok=True)
    yield running
    (running.project / "go").touch()
    eventually(lambda: len(running.predictors()) == 2, "whatever ended is started again")
    running.wait_ready(processes=2)


def settled(service: Service) -> dict[str, float]:
    """The samples once nothing more is being passed on."""
    last = scrape(service)
    while True:
        time.sleep(1.2)
        now = scrape(service)
        if outcomes(now) == outcomes(last):
            return now
        last = now


def test_the_quick_way_and_the_usual_way_count_once_each(metered: Service) -> None:
    before = settled(metered)
    for number in range(40):
        assert metered.predict({"number": number}).status_code == 200
    for number in range(20):
        assert metered.predict({"number": number}, headers=USUAL).status_code == 200
    after = grown(metered, before, {"success": 60})
    for stage in ("verify", "queue", "reply"):
        assert more(before, 60, STAGES, f'stage="{stage}"')(after), stage
    assert more(before, 60, "denzel_request_duration_seconds_count")(after)
    for stage in ("process", "predict"):  # calls, of one task each
        until(metered, more(before, 60, STAGES, f'stage="{stage}"'), f"{stage} is counted")
    until(metered, more(before, 60, "denzel_batch_size_count"), "calls are counted")


@pytest.mark.parametrize(
    ("body", "headers", "outcome"),
    [
        ({"predict": "1 / 0"}, {}, "failure"),
        ({"predict": "1 / 0"}, USUAL, "failure"),
        ({"verify_input": "throw(ValueError('no'))"}, {}, "refused"),
        ({"verify_input": "float('nan')"}, {}, "failure"),
        (b"{", {}, "refused"),
        (b"", {}, "refused"),
        ({}, {"Prefer": "respond-async"}, "accepted"),
        ({"predict": "wait_for('go') and {}"}, {"Prefer": "wait=0.2"}, "timeout"),
        ({}, {"Content-Encoding": "gzip"}, "refused"),
        ({}, {"Idempotency-Key": "k" * 256}, "refused"),
    ],
)
def test_every_outcome_is_counted_once(metered: Service, body: object, headers: dict[str, str], outcome: str) -> None:
    before = settled(metered)
    metered.predict(body, headers=headers)
    grown(metered, before, {outcome: 1})


def test_a_request_that_is_sent_again_is_counted_again(metered: Service) -> None:
    before = settled(metered)
    for _ in range(2):
        metered.predict({"n": 1}, headers={"Idempotency-Key": "twice", "Prefer": "respond-async"})
    metered.predict({"n": 1}, headers={"Idempotency-Key": "twice"})
    grown(metered, before, {"accepted": 2, "success": 1})


def test_a_cancelled_request_and_one_whose_client_has_gone(metered: Service) -> None:
    before = settled(metered)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(metered.predict, {**HOLDS, "note": "cancelled"}, prefer="wait=30")
        [task] = eventually(lambda: metered.redis.keys("denzel/tested:task:*") and running_tasks(metered), "it runs")
        assert metered.request("DELETE", f"/status/{task}").status_code == 202
        assert answer.result().status_code == 409
    with socket.create_connection(("127.0.0.1", metered.ports["api"])) as connection:
        body = b'{"predict": "wait_for(\'go\') and {}", "note": "gone"}'
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        eventually(lambda: any(words[3] == "gone" for words in metered.events("process")), "it runs")
    grown(metered, before, {"cancelled": 1, "gone": 1})


def running_tasks(service: Service) -> list[str]:
    """The ids of tasks that are known to run."""
    names = [key.decode() for key in service.redis.keys("denzel/tested:task:*")]
    return [name.rpartition(":")[2] for name in names if service.redis.hget(name, "status") == b"STARTED"]


def test_other_paths_and_methods_are_not_counted(metered: Service) -> None:
    before = settled(metered)
    metered.get("/predict")
    metered.request("OPTIONS", "/predict")
    metered.request("POST", "/nothing", data=b"{}")
    metered.get("/ready")
    metered.predict({})
    grown(metered, before, {"success": 1})


def test_a_killed_process_takes_no_count_along(metered: Service) -> None:
    """Prediction and API processes alike: what they have counted stays, and nothing counts twice."""
    before = settled(metered)
    sent = 0
    for name in ("api", "denzel"):
        for number in range(50):
            sent += metered.predict({"number": number}).status_code == 200
        if name == "api":
            workers = [pid for pid, command in children_of(metered.pid("api")).items() if "gunicorn" in command]
            for pid in workers[:1]:
                os.kill(pid, signal.SIGKILL)
        else:
            os.kill(metered.predictors()[0], signal.SIGKILL)
        for number in range(50):
            try:
                sent += metered.predict({"number": number}).status_code == 200
            except OSError:  # a connection that the killed process was about to accept
                continue
    after = grown(metered, before, {"success": sent})
    assert sent >= 198
    for stage in ("process", "predict"):
        told = f'stage="{stage}"'
        until(metered, lambda now, told=told: total(now, STAGES, told) - total(before, STAGES, told) >= sent, told)
    assert total(after, "denzel_ready") == 1


def test_processes_that_have_ended_tell_nothing_more(metered: Service) -> None:
    doomed = metered.predictors()[0]
    label = f'pid="{doomed}"'
    until(metered, lambda now: total(now, "denzel_process_resident_memory_bytes", label) > 1_000_000, "it is told of")
    os.kill(doomed, signal.SIGKILL)
    until(metered, lambda now: not total(now, "denzel_process_resident_memory_bytes", label), "it is not any more")


def test_counters_never_fall_while_everything_is_replaced(metered: Service) -> None:
    before = settled(metered)
    sent = 0
    last = before
    os.kill(metered.pid("api"), signal.SIGHUP)
    os.kill(metered.pid("denzel"), signal.SIGHUP)
    until_when = time.monotonic() + 6
    while time.monotonic() < until_when:
        sent += metered.predict({"n": sent}).status_code == 200
        now = scrape(metered)
        fallen = [key for key in last if is_counter(key) and now.get(key, 0) < last[key]]
        assert not fallen
        last = now
    after = grown(metered, before, {"success": sent})
    for service in ("api", "denzel"):
        labels = f'service="{service}"', 'result="done"'
        until(metered, more(before, 1, "denzel_reloads_total", *labels), f"the reload of {service} is counted", 20)
    assert total(after, "denzel_model_loads_total", 'result="done"') >= 4


def is_counter(key: str) -> bool:
    """Whether it must not fall; what a process tells of itself ends with it."""
    name = key.partition("{")[0]
    return name.endswith(("_total", "_bucket", "_count", "_sum")) and not name.startswith("denzel_process_")


def test_two_processes_tell_the_same(metered: Service) -> None:
    now = settled(metered)
    for _ in range(8):
        assert outcomes(scrape(metered)) == outcomes(now)
    assert total(now, "denzel_prediction_processes_up") == total(now, "denzel_prediction_processes") == 2
    titles = ("api", "master", "supervisor", "prediction", "callbacks")
    found = {
        title: sum(f'process="{title}"' in key for key in now if key.startswith("denzel_process_cpu_seconds_total"))
        for title in titles
    }
    assert found == {"api": 2, "master": 1, "supervisor": 1, "prediction": 2, "callbacks": 1}
    assert total(now, "denzel_memory_limit_bytes") > total(now, "denzel_memory_used_bytes") > 0


def test_what_waits_and_runs_is_told(metered: Service) -> None:
    tasks = [metered.submit(HOLDS) for _ in range(5)]
    now = until(
        metered,
        lambda now: (
            total(now, "denzel_tasks_running") == 2 and total(now, "denzel_oldest_waiting_task_age_seconds") > 1
        ),
        "two run, and the others wait",
    )
    assert total(now, "denzel_tasks_waiting") == 3
    assert total(now, "denzel_tasks_claimed") == 2
    (metered.project / "go").touch()
    for task in tasks:
        metered.wait(task)
    now = until(metered, lambda now: not total(now, "denzel_tasks_running"), "none runs")
    assert (total(now, "denzel_tasks_waiting"), total(now, "denzel_oldest_waiting_task_age_seconds")) == (0, 0)
    assert total(now, "denzel_stage_duration_seconds_bucket", 'stage="queue"', 'le="+Inf"') > 0


def test_callbacks_are_counted(metered: Service, receivers: Receivers) -> None:
    before = settled(metered)
    well = receivers.open(Reply())
    metered.submit({"callback_uri": well.url})
    metered.submit({"callback_uri": "http://127.0.0.1:9/closed"})

    for outcome in ("delivered", "failed"):
        until(metered, more(before, 1, "denzel_callbacks_total", f'outcome="{outcome}"'), outcome)
        until(metered, more(before, 1, "denzel_callback_attempts_total", f'result="{outcome}"'), f"{outcome}: attempts")
    until(metered, more(before, 2, "denzel_callback_tries_count"), "the attempts that they took")
    until(metered, more(before, 2, STAGES, 'stage="callback"'), "their time")


def test_the_last_minutes_are_noted(metered: Service) -> None:
    notes = eventually(
        lambda: len(found := metered.redis.lrange("denzel/tested:metrics:notes", 0, -1)) > 1 and found, "notes"
    )
    times = [float(note.split()[0]) for note in notes]
    assert all(3 < after - before < 12 for before, after in pairwise(times))


def test_formats(metered: Service) -> None:
    plain = metered.get("/metrics", headers={"Accept": "*/*"})
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"# EOF" not in plain.content
    head = metered.request("HEAD", "/metrics")
    assert (head.status_code, head.content) == (200, b"")
    assert metered.request("POST", "/metrics").status_code == 405


def test_without_redis_it_says_so_and_tells_what_the_api_knows(new_service: Callable[..., Service]) -> None:
    service = new_service(API_WORKERS=2)
    service.start("redis", "api")
    before = until(
        service, lambda now: total(now, "denzel_redis_up") == 1 and "denzel_tasks_waiting" in now, "all is there"
    )
    assert 'denzel_requests_total{outcome="success"}' in before
    service.stop("redis")
    assert service.predict({}).status_code == 503
    now = until(
        service, lambda now: total(now, "denzel_api_requests_total", 'outcome="unavailable"') == 1, "it is counted"
    )
    assert (total(now, "denzel_redis_up"), total(now, "denzel_ready")) == (0, 0)
    assert not outcomes(now)
    assert 'denzel_requests_total{outcome="success"}' not in now
    service.start("redis")
    until(service, lambda now: outcomes(now) == {"unavailable": 1}, "it is passed on", 20)


def test_busy_and_too_large(waiting: Service) -> None:
    before = settled(waiting)
    for _ in range(5):
        waiting.predict({}, prefer="respond-async")
    waiting.predict(b" " * 2000)
    grown(waiting, before, {"accepted": 3, "busy": 2, "refused": 1})


def test_a_restart_of_everything_goes_on_counting(new_service: Callable[..., Service]) -> None:
    service = new_service(API_WORKERS=2, WORKER_CONCURRENCY=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    for number in range(20):
        assert service.predict({"number": number}).status_code == 200
    for name in ("api", "denzel"):  # in order: what was counted in the last second is passed on
        service.restart(name)
    service.wait_ready()
    now = until(service, lambda now: total(now, "denzel_batch_size_count") == 20, "every call is there")
    assert outcomes(now) == {"success": 20}


def test_it_can_be_switched_off(new_service: Callable[..., Service]) -> None:
    service = new_service(METRICS="off")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    assert service.predict({}).status_code == 200
    assert service.get("/metrics").status_code == 404
    time.sleep(1.5)
    assert not service.redis.keys("denzel/tested:metrics:*")
