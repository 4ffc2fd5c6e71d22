"""The direct way from the API to a prediction process: what it spares, and that it breaks no promise at any step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def whole(new_service: Callable[..., Service]) -> Service:
    service = new_service(API_WORKERS=2, WORKER_CONCURRENCY=2, TASK_TIME_LIMIT=4, DIRECT="on")
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


@pytest.fixture
def two(whole: Service) -> Iterator[Service]:
    """A service with two API and two prediction processes, complete again after the test."""
    eventually(lambda: goes_directly(whole), "requests go directly")
    yield whole
    eventually(lambda: len(whole.predictors()) == 2, "whatever ended is started again")
    whole.wait_ready(processes=2)


def id_of(answer: requests.Response) -> str:
    return answer.headers["Denzel-Task-Id"]


def is_direct(service: Service, task_id: str) -> bool:
    """Whether a task has a record that followed its answer: one in the queue says where its reply goes."""
    eventually(lambda: service.redis.exists(f"denzel/tested:task:{task_id}"), "the task has a record")
    return not service.redis.hexists(f"denzel/tested:task:{task_id}", "reply_to")


def goes_directly(service: Service) -> bool:
    return all(is_direct(service, id_of(service.predict({"number": number}))) for number in range(4))


def runs_of(service: Service, note: str) -> list[int]:
    """The processes in which the task with this note was begun, in order."""
    return [int(words[1]) for words in service.events("process") if words[3] == note]


def begun(service: Service, note: str, times: int = 1) -> int:
    return eventually(lambda: len(found := runs_of(service, note)) >= times and found, f"{note} runs")[-1]


def test_the_record_follows_the_answer_and_every_api_process_finds_it(two: Service) -> None:
    for number in range(30):
        answer = two.predict({"number": number})
        assert answer.json() == {"answer": {"number": number}}
        record = two.status(id_of(answer))
        assert (record["status"], record["result"], record["attempts"]) == ("SUCCESS", answer.json(), 1)
        assert record["accepted"] <= record["started"] <= record["ended"] <= time.time()
        assert record["worker"].endswith("@tested")
    assert 0 < two.redis.ttl(f"denzel/tested:task:{id_of(answer)}") <= 60


def test_failures_are_recorded_too(two: Service) -> None:
    answer = two.predict({"predict": "1 / 0"})
    assert (answer.status_code, answer.json()["description"]) == (500, "division by zero")
    assert is_direct(two, id_of(answer))
    assert two.status(id_of(answer))["result"] == {"args": ["division by zero"], "type": "ZeroDivisionError"}


def test_what_must_be_stored_first_goes_through_the_queue(two: Service) -> None:
    assert not is_direct(two, two.submit({"number": 1}))
    assert not is_direct(two, id_of(two.predict({"number": 2}, headers={"Idempotency-Key": f"{time.time()}"})))


def test_the_live_setting_is_followed_from_one_request_to_the_next(two: Service) -> None:
    for _ in range(5):
        assert two.run("denzel.control", "response", "async").returncode == 0
        assert all("task_id" in two.predict({"number": 1}).json()["data"] for _ in range(4))
        assert two.run("denzel.control", "response", "sync").returncode == 0
        assert all(two.predict({"number": 1}).json() == {"answer": {"number": 1}} for _ in range(4))


def test_a_task_that_runs_for_long_is_known_while_it_runs(two: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(two.predict, {"note": "long", "predict": "{'go': wait_for('long')}"}, prefer="wait=20")
        begun(two, "long")
        claimed = eventually(lambda: [*two.redis.scan_iter("denzel/tested:claims:*")], "it is claimed")
        (task_id,) = two.redis.smembers(claimed[0])
        assert two.status(task_id.decode())["status"] == "STARTED"
        (two.project / "long").touch()
        assert answer.result().json() == {"go": True}
        assert id_of(answer.result()) == task_id.decode()
    eventually(lambda: not [*two.redis.scan_iter("denzel/tested:claims:*")], "nothing is claimed any more")
    assert two.status(task_id.decode())["status"] == "SUCCESS"
    assert runs_of(two, "long") == [eventually(lambda: runs_of(two, "long"), "it ran")[0]]


def test_it_can_be_cancelled_then(two: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(two.predict, {"note": "cancelled", "predict": "time.sleep(60)"}, prefer="wait=20")
        process = begun(two, "cancelled")
        claimed = eventually(lambda: [*two.redis.scan_iter("denzel/tested:claims:*")], "it is claimed")
        (task_id,) = two.redis.smembers(claimed[0])
        assert two.request("DELETE", f"/status/{task_id.decode()}").status_code == 202
        assert answer.result().status_code == 409
    eventually(lambda: f"Task {task_id.decode()} was cancelled: its call" in two.log("denzel"), "its call ends")
    assert process in two.predictors()
    assert runs_of(two, "cancelled") == [process]


def test_its_time_is_limited(two: Service) -> None:
    answer = two.predict({"note": "endless", "predict": "time.sleep(60)"}, prefer="wait=20")
    assert (answer.status_code, answer.json()["description"]) == (500, "timed out after 4 s")
    assert len(runs_of(two, "endless")) == 1


def test_a_client_that_is_told_to_poll_finds_its_task_and_its_end(two: Service) -> None:
    for seconds, call in ((0.03, 0.05), (0.05, 1), (0.2, 1), (0.6, 1)):  # before its record is due, and after
        note = f"polled-{seconds}"
        body = {"note": note, "predict": f"(time.sleep({call}), {{'slept': {seconds}}})[1]"}
        answers = (two.predict(body, prefer=f"wait={seconds}") for _ in range(20))  # a busy machine may be late
        sent, answer = next((number, one) for number, one in enumerate(answers, 1) if one.status_code == 202)
        record = two.wait(id_of(answer))
        assert record["result"] == {"slept": seconds}
        assert two.redis.ttl(f"denzel/tested:task:{id_of(answer)}") > 3600, "it is kept for who polls"
        assert len(runs_of(two, note)) == sent, "each ran once"


# ---- Kills, at each step ---------------------------------------------------------------------------------------------


def test_frozen_before_it_has_begun_it_runs_elsewhere(two: Service) -> None:
    frozen = two.predictors()[0]
    os.kill(frozen, signal.SIGSTOP)
    try:
        answers = [two.predict({"number": number}, prefer="wait=30") for number in range(10)]  # 10 s, if it was handed
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert [answer.json() for answer in answers] == [{"answer": {"number": number}} for number in range(10)]


@pytest.mark.parametrize("after", [0.0, 0.6])
def test_killed_while_it_runs_it_runs_again(two: Service, after: float) -> None:
    """Before it has a record, and after."""
    note = f"killed-after-{after}"
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(two.predict, {"note": note, "predict": f"{{'go': wait_for('{note}')}}"}, prefer="wait=20")
        process = begun(two, note)
        if after:
            eventually(lambda: [*two.redis.scan_iter("denzel/tested:claims:*")], "it has a record")
        os.kill(process, signal.SIGKILL)
        begun(two, note, times=2)
        (two.project / note).touch()
        assert answer.result().json() == {"go": True}
    assert two.status(id_of(answer.result()))["attempts"] == 2
    assert len(runs_of(two, note)) == 2


def test_killed_while_redis_is_away_it_runs_again(two: Service) -> None:
    """Its record could not be written, as its process dies."""
    with ThreadPoolExecutor() as pool:
        body = {"note": "unwritten", "predict": "{'go': wait_for('unwritten')}"}
        with two.paused("redis"):
            answer = pool.submit(two.predict, body, prefer="wait=30")
            process = begun(two, "unwritten")
            eventually(lambda: "Redis did not serve" in two.log("api"), "the record cannot be written")
            os.kill(process, signal.SIGKILL)
        begun(two, "unwritten", times=2)
        (two.project / "unwritten").touch()
        assert answer.result().json() == {"go": True}


def test_one_that_kills_every_process_is_given_up(two: Service) -> None:
    answer = two.predict({"note": "poison", "predict": "os._exit(7)"}, prefer="wait=30")
    assert answer.status_code == 500
    assert "died, 3 times (exit code 7)" in answer.json()["description"]
    assert len(runs_of(two, "poison")) == 3


def test_a_worker_that_is_stopped_finishes_it(two: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(two.predict, {"note": "stopped", "predict": "{'go': wait_for('stop')}"}, prefer="wait=20")
        begun(two, "stopped")
        stopping = pool.submit(two.stop, "denzel")
        (two.project / "stop").touch()
        assert answer.result().json() == {"go": True}
        stopping.result()
    assert len(runs_of(two, "stopped")) == 1
    waiting = two.predict({"number": 1}, prefer="wait=0.2")
    assert waiting.status_code == 202, "nobody is there"
    two.start("denzel")
    assert two.wait(id_of(waiting))["result"] == {"answer": {"number": 1}}


def test_what_was_promised_outlives_the_api_process(two: Service) -> None:
    """A 202 was answered; then the process that could have stored the outcome is killed."""
    answer = two.predict({"note": "promised", "predict": "(time.sleep(1), {'kept': True})[1]"}, prefer="wait=0.1")
    assert answer.status_code == 202
    for process in children_of(two.pid("api")):
        os.kill(process, signal.SIGKILL)
    eventually(lambda: reaches(two), "the API is back")
    assert two.wait(id_of(answer))["result"] == {"kept": True}


def test_what_was_promised_to_nobody_ends_with_the_api_process(two: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(two.predict, {"note": "cut", "predict": "{'go': wait_for('cut')}"}, prefer="wait=20")
        begun(two, "cut")
        for process in children_of(two.pid("api")):
            os.kill(process, signal.SIGKILL)
        assert isinstance(answer.exception(), requests.ConnectionError)
    (two.project / "cut").touch()
    eventually(lambda: reaches(two), "the API is back")
    eventually(lambda: not [*two.redis.scan_iter("denzel/tested:claims:*")], "nothing is claimed any more")
    assert two.redis.llen("denzel/tested:waiting") == 0


def reaches(service: Service) -> bool:
    try:
        return service.get("/ping").status_code == 200
    except requests.ConnectionError:
        return False


# ---- Where there is none ---------------------------------------------------------------------------------------------


def test_it_can_be_switched_off(new_service: Callable[..., Service]) -> None:
    service = new_service(DIRECT="off")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    assert not any(is_direct(service, id_of(service.predict({"number": number}))) for number in range(4))


def test_without_a_place_for_sockets_all_goes_through_the_queue(new_service: Callable[..., Service]) -> None:
    service = new_service(DIRECT="on", DIRECT_FOLDER="/proc/nowhere")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    assert service.predict({"number": 1}).json() == {"answer": {"number": 1}}


def test_a_place_may_lie_deep(new_service: Callable[..., Service]) -> None:
    """A socket's path may have but some hundred bytes."""
    service = new_service(DIRECT="on", DIRECT_FOLDER=f".denzel/{'deep/' * 40}")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    eventually(lambda: goes_directly(service), "requests go directly")
