"""Tasks that take their process with them, or hang in it, among others: each is responsible for itself alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.service.support.merging import frozen_process, submit_to_frozen, together
from tests.support.processes import children_of
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def batched(new_service: Callable[..., Service]) -> Service:
    """A service that merges what waits, in one process; nothing may take longer than two seconds."""
    service = new_service("batched", TASK_TIME_LIMIT=2, CALLBACK_ALLOW="127.0.0.1", CALLBACK_TIMEOUT=4)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture
def service(batched: Service) -> Iterator[Service]:
    yield batched
    batched.wait_ready()
    assert batched.redis.llen("denzel/tested:waiting") == batched.redis.zcard("denzel/tested:delayed") == 0
    assert batched.redis.keys("denzel/tested:claim*") == []


def good(number: int) -> str:
    return f"note('good', '{number}') or {number}"


def check_good(service: Service, ids: list[str]) -> None:
    """Each has its own answer, and is not to blame for anything."""
    for number, task_id in enumerate(ids):
        record = service.wait(task_id, timeout=30)
        assert (record["status"], record["result"]) == ("SUCCESS", {"answer": number}), record
        assert service.redis.hget(f"denzel/tested:task:{task_id}", "deaths") is None
        assert record["attempts"] <= 2


def test_only_the_culprit_of_a_merged_call_is_given_up(service: Service, receivers: Receivers) -> None:
    receiver = receivers.open()
    *others, poison = together(service, *map(good, range(5)), "os._exit(9)", callback_uri=receiver.url)
    began = time.monotonic()
    check_good(service, others)
    record = service.wait(poison, timeout=40)
    assert record["status"] == "FAILURE"
    reason = "the process that ran this task died, 3 times (exit code 9)"
    assert record["result"] == {"args": [reason], "type": "WorkerLostError"}
    assert record["attempts"] == 4  # once with the others, three times alone
    assert time.monotonic() - began < 30, "within seconds"
    assert len(service.events("good")) == 10  # each once with the culprit, once alone
    received = receiver.wait(6, timeout=30)
    assert {request.task_id for request in received} == {*others, poison}
    body = next(request for request in received if request.task_id == poison).body
    assert b"WorkerLostError" in body


def test_integers_that_verify_input_makes_may_be_of_any_size(service: Service) -> None:
    check_good(service, together(service, *map(good, range(3)), power=70))


def test_a_task_that_breaks_the_loop_of_the_process_is_given_up(service: Service) -> None:
    breaking = "setattr(__import__('denzel.pipeline.batch').pipeline.batch, 'failure', None) or 1 / 0"
    *others, poison = together(service, *map(good, range(3)), breaking)
    check_good(service, others)
    record = service.wait(poison, timeout=40)
    reason = "the process that ran this task died, 3 times (exit code 1)"
    assert record["result"] == {"args": [reason], "type": "WorkerLostError"}
    assert "Tasks could not be run; this process ends" in service.log("denzel")


def test_requests_nested_as_deep_as_the_api_takes_them_hold_up_nobody(service: Service) -> None:
    ids = []
    with frozen_process(service):
        for depth in (*range(240, 260), *range(940, 1030, 10)):
            body = '{"data": {"answer": "1"}, "more": ' + "[" * depth + "]" * depth + "}"
            for _ in range(2):
                response = service.predict(body.encode(), prefer="respond-async")
                if response.status_code == 200:
                    ids.append(response.json()["data"]["task_id"])
                else:
                    assert response.status_code == 400, response.text
    assert ids
    for task_id in ids:
        assert service.wait(task_id)["status"] in ("SUCCESS", "FAILURE")
    assert service.wait(service.submit({"data": {"answer": "1"}}))["status"] == "SUCCESS"


def test_a_task_that_uses_up_the_memory_is_given_up(service: Service) -> None:
    task_id = service.submit({"data": {"answer": "os.kill(os.getpid(), 9)"}})  # what the kernel does then
    record = service.wait(task_id, timeout=40)
    assert (record["status"], record["attempts"]) == ("FAILURE", 3)
    assert f"ended while it ran task {task_id} (SIGKILL, often: out of memory)" in service.log("denzel")
    assert record["result"]["args"] == ["the process that ran this task died, 3 times (SIGKILL, often: out of memory)"]


def test_a_merged_call_over_its_time_is_taken_apart(service: Service) -> None:
    *others, slow = together(service, *map(good, range(3)), "time.sleep(60)")
    check_good(service, others)
    record = service.wait(slow, timeout=40)
    assert record["status"] == "FAILURE"
    assert record["result"] == {"args": ["timed out after 2 s"], "type": "TimeLimitExceeded"}
    assert record["attempts"] == 2


def test_no_call_is_so_large_that_all_clients_wait_for_it(service: Service) -> None:
    before = len(service.events("call"))
    for task_id in submit_to_frozen(service, ["0"] * 200, {}):
        service.wait(task_id)
    assert max(int(words[3]) for words in service.events("call")[before:]) <= 32


def test_the_time_limit_is_that_of_each_call(service: Service) -> None:
    """A merged call that fails, and then each of its tasks by itself: none takes two seconds, all together do."""
    ids = together(service, *["alone(time.sleep(0.9) or 1)"] * 3)
    for task_id in ids:
        record = service.wait(task_id)
        assert (record["result"], record["attempts"]) == ({"answer": 1}, 1)


def test_answers_are_stored_before_the_next_task_runs(service: Service) -> None:
    """A merged call that fails is run again task by task in the same process; the second one takes its time."""
    first, second, third = together(
        service, "alone(1)", "len(ids) == 1 and wait_for('second')", "len(ids) == 1 and os.path.exists('second')"
    )
    assert service.wait(first)["result"] == {"answer": 1}
    assert service.status(second)["status"] == service.status(third)["status"] == "STARTED"
    (service.project / "second").touch()
    for task_id in (second, third):
        record = service.wait(task_id)
        assert (record["result"], record["attempts"]) == ({"answer": True}, 1)


def test_what_was_computed_before_the_culprit_is_not_computed_again(service: Service) -> None:
    before = len(service.events("good"))
    first, poison, last = together(
        service, "alone(note('good') or 1)", "len(ids) == 1 and os._exit(9)", "len(ids) == 1 and (note('good') or 2)"
    )
    assert service.wait(first)["attempts"] == 1
    assert service.wait(last, timeout=30)["result"] == {"answer": 2}
    assert service.wait(poison, timeout=40)["status"] == "FAILURE"
    # The first in the merged call and by itself, the last one by itself alone.
    assert len(service.events("good")) - before == 3


def test_a_cancelled_task_of_a_merged_call_lets_it_end(service: Service) -> None:
    [process] = eventually(service.predictors, "there is a process")
    cancelled, kept = together(service, "2", "wait_for('ended') and 1")
    response = service.request("DELETE", f"/status/{cancelled}")
    assert (response.status_code, response.json()["status"]) == (202, "REVOKED")
    (service.project / "ended").touch()
    assert service.wait(kept)["result"] == {"answer": 1}
    record = service.status(cancelled)
    assert (record["status"], record["result"]["type"]) == ("REVOKED", "TaskRevokedError")
    assert service.predictors() == [process]


def test_a_stop_in_the_middle_of_a_batch_leaves_the_rest_for_later(service: Service) -> None:
    first, *rest = together(
        service, "alone(1)", "len(ids) == 1 and wait_for('stopped') and 1", "len(ids) == 1 and note('rest') or 1"
    )
    service.wait(first)
    os.kill(service.pid("denzel"), signal.SIGTERM)
    eventually(lambda: "Warm shutdown" in service.log("denzel"), "the process knows that it is to stop")
    (service.project / "stopped").touch()
    assert service.stop("denzel") == 0
    assert service.events("rest") == []
    assert [service.status(task_id)["status"] for task_id in rest] == ["SUCCESS", "PENDING"]
    service.start("denzel")
    assert service.wait(rest[1], timeout=30)["result"] == {"answer": 1}


# ---- Processes with children -----------------------------------------------------------------------------------------


def test_a_process_is_dead_even_if_its_own_children_live_on(service: Service) -> None:
    child = "__import__('subprocess').Popen(['sleep', '30']).pid"
    task_id = service.submit({"data": {"answer": f"os.path.exists('child') or ({child}, wait_for('child'))[1]"}})
    [predictor] = eventually(service.predictors, "there is a process")
    process = eventually(lambda: next(iter(children_of(predictor)), None), "it has a child")
    os.kill(predictor, signal.SIGKILL)
    try:
        (service.project / "child").touch()
        record = service.wait(task_id, timeout=10)
        assert (record["result"], record["attempts"]) == ({"answer": True}, 2)
    finally:
        os.kill(process, signal.SIGKILL)


# ---- The commands ----------------------------------------------------------------------------------------------------


def control(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return service.run("denzel.control", *arguments)


def test_given_up_tasks_are_listed_with_their_requests_and_run_again(service: Service, receivers: Receivers) -> None:
    service.redis.delete("denzel/tested:dead")  # what earlier tests have left
    receiver = receivers.open()
    assert control(service, "dead").stdout == "No task was given up\n"
    request = "os.path.exists('repaired') and 1 or time.sleep(60)"
    ids = [
        service.submit({"data": {"answer": request, "padding": "'" + "x" * size + "'"}, "callback_uri": receiver.url})
        for size in (1, 5000)
    ]
    for task_id in ids:
        assert service.wait(task_id, timeout=30)["status"] == "FAILURE"
    listed = control(service, "dead").stdout.splitlines()
    assert len(listed) == 5
    for title, shown in zip(listed[:4:2], listed[1:4:2], strict=True):
        task_id = title.partition(" ")[0]
        assert task_id in ids
        assert re.fullmatch(rf"{task_id}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  timed out after 2 s", title)
        assert request in shown
        assert len(shown) < 2100
    assert listed[-1] == 'Run them again with "make replay ID=..." (or ID=all)'
    receiver.wait(2)

    (service.project / "repaired").touch()
    assert control(service, "replay", ids[0]).stdout == "1 task queued again\n"
    assert service.wait(ids[0])["result"]["answer"] == 1
    assert control(service, "replay", "all").stdout == "1 task queued again\n"
    assert service.wait(ids[1])["result"]["answer"] == 1
    answers = receiver.wait(4)[2:]
    assert {answer.task_id for answer in answers} == set(ids)
    assert all(b'"answer":1' in answer.body for answer in answers)
    assert control(service, "dead").stdout == "No task was given up\n"


def test_the_callback_of_a_task_that_was_run_again_is_not_taken_for_the_one_before(
    service: Service, receivers: Receivers
) -> None:
    receiver = receivers.open(Reply(after=3), Reply())
    uri = receiver.url
    task_id = service.submit({"data": {"answer": "os.path.exists('again') or time.sleep(60)"}, "callback_uri": uri})
    assert service.wait(task_id, timeout=30)["status"] == "FAILURE"
    receiver.wait(1)  # the receiver takes its time
    (service.project / "again").touch()
    control(service, "replay", task_id)
    assert service.wait(task_id)["result"] == {"answer": True}
    answers = receiver.wait(2, timeout=30)
    assert b"timed out" in answers[0].body
    assert answers[1].body == b'{"answer":true}'
    eventually(lambda: service.status(task_id)["callback"]["state"] == "delivered", "/status tells")


def test_a_synchronous_task_that_is_run_again_calls_nobody(service: Service, receivers: Receivers) -> None:
    receiver = receivers.open()
    request = {"data": {"answer": "os.path.exists('polled') or time.sleep(60)"}, "callback_uri": receiver.url}
    response = service.predict(request, prefer="wait=20")
    assert (response.status_code, response.json()["description"]) == (500, "timed out after 2 s")
    task_id = response.headers["Denzel-Task-Id"]
    (service.project / "polled").touch()
    control(service, "replay", task_id)
    eventually(lambda: service.status(task_id)["status"] == "SUCCESS", "it runs")
    assert "callback" not in service.status(task_id)
    assert service.redis.zscore("denzel/tested:callbacks", task_id) is None
    assert receiver.received == []


def test_a_callback_is_sent_again(service: Service, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(410), Reply())
    task_id = service.submit({"data": {"answer": "1"}, "callback_uri": receiver.url})
    eventually(lambda: service.status(task_id)["callback"]["state"] == "gone", "the receiver wants no more")
    done = control(service, "redeliver", task_id)
    assert (done.returncode, done.stdout) == (0, f"The callback of {task_id} is sent again\n")
    assert receiver.wait(2)[1].task_id == task_id
    eventually(lambda: service.status(task_id)["callback"]["state"] == "delivered", "/status tells")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "nobody"], "There is no task 'nobody' to run again; `make dead` lists them\n"),
        (["redeliver", "nobody"], "There is no task 'nobody'\n"),
    ],
)
def test_what_cannot_be_done_again_says_why(service: Service, arguments: list[str], message: str) -> None:
    done = control(service, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message)


@pytest.mark.parametrize("arguments", [["dead"], ["replay", "all"], ["redeliver", "x"]])
def test_without_a_queue_nothing_can_be_done_again(batched: Service, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "denzel.control", *arguments],
        cwd=batched.project, env={**batched.environment, "EXECUTOR": "inline"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "With EXECUTOR=inline tasks live in the API's process: nothing can be run or sent again\n"
