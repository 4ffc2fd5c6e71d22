"""What the API answers besides predictions: other paths, an API without workers, its limits, its live setting."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import error_of
from tests.support.services import Service
from tests.support.waiting import eventually

ASYNC = "respond-async"


@pytest.fixture(scope="module")
def waiting_service(new_service: Callable[..., Service]) -> Service:
    """An API without workers: what is accepted waits. Three tasks may."""
    service = new_service(MAX_QUEUE=3, MAX_BODY_BYTES=1000, MAX_WAIT=1, VERIFY_TIMEOUT=0.5)
    service.start("redis", "api")
    return service


@pytest.fixture
def waiting(waiting_service: Service) -> Service:
    """The same, and nothing waits."""
    waiting_service.redis.flushall()
    return waiting_service


# ---- Other paths -----------------------------------------------------------------------------------------------------


def test_ping(service: Service) -> None:
    response = service.get("/ping")
    assert (response.status_code, response.text) == (200, "pong")


def test_info_is_the_text_of_the_file_as_it_is_now(waiting: Service) -> None:
    path = waiting.project / "app/assets/info.txt"
    for text in ("Größe: 3 µm\n", "", "{{ not rendered }} ✓"):
        path.write_text(text, encoding="utf-8")
        response = waiting.get("/info")
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.content.decode() == text


def test_info_says_what_to_do_when_its_file_is_missing(waiting: Service) -> None:
    path = waiting.project / "app/assets/info.txt"
    path.rename(path.with_suffix(".away"))
    status, title, description = error_of(waiting.get("/info"))
    assert (status, title) == (404, "No information")
    assert "app/assets/info.txt" in description
    assert "write into it" in description
    path.with_suffix(".away").rename(path)
    assert waiting.get("/info").status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/predict/", "/Predict", "/status", "/status/a/b", "/%00", "/é?a=b"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_names_the_paths(waiting: Service, path: str, method: str) -> None:
    status, title, description = error_of(waiting.request(method, path, headers={"Accept": "text/html"}))
    assert (status, title) == (404, "Not found")
    assert "/predict, /status/{task_id}, /info, /ping, /ready" in description


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/predict", "POST"),
        ("DELETE", "/info", "GET"),
        ("POST", "/ping", "GET"),
        ("POST", f"/status/{uuid.uuid4()}", "GET, DELETE"),
        ("PATCH", "/ready", "GET"),
    ],
)
def test_a_wrong_method_names_the_right_ones(waiting: Service, method: str, path: str, allowed: str) -> None:
    response = waiting.request(method, path)
    status, title, description = error_of(response)
    assert (status, title) == (405, "Method not allowed")
    assert set(re.split(", ", response.headers["Allow"])) >= set(allowed.split(", "))
    assert all(name in description for name in allowed.split(", "))


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "task_id", [str(uuid.uuid4()), str(uuid.uuid4()).upper(), "nonsense", "1", "x" * 5000, "%2e%2e", "*", "é"]
)
def test_an_unknown_task_is_not_found(waiting: Service, method: str, task_id: str) -> None:
    status, title, _ = error_of(waiting.request(method, f"/status/{task_id}"))
    assert (status, title) == (404, "Unknown task")


def test_a_malformed_http_request_is_refused(waiting: Service) -> None:
    assert waiting.raw(b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert waiting.get("/ping").status_code == 200


# ---- Too large -------------------------------------------------------------------------------------------------------


def test_a_body_too_large_is_refused_before_it_is_read(waiting: Service) -> None:
    received = waiting.raw(b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: 1001\r\n\r\n")
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body) == {
        "title": "Request too large",
        "description": "The request body is larger than 1000 bytes (MAX_BODY_BYTES in .env).",
    }


def test_a_body_too_large_that_is_sent_all_the_same_gets_the_same_answer(waiting: Service) -> None:
    assert error_of(waiting.predict(b'"' + b"x" * 100_000 + b'"'))[:2] == (413, "Request too large")


def test_a_chunked_body_too_large_is_refused(waiting: Service) -> None:
    response = waiting.request("POST", "/predict", data=iter([b'"', *[b"x" * 100] * 10, b'"']))
    assert error_of(response)[:2] == (413, "Request too large")


def test_a_body_just_not_too_large_is_read(waiting: Service) -> None:
    body = b'"' + b"x" * 998 + b'"'
    assert waiting.predict(body, prefer=ASYNC).status_code == 200
    assert waiting.request("POST", "/predict", data=iter([body]), headers={"Prefer": ASYNC}).status_code == 200


# ---- Waiting tasks ---------------------------------------------------------------------------------------------------


def test_a_task_that_waits_is_pending(waiting: Service) -> None:
    record = waiting.status(waiting.submit({"a": 1}))
    assert record["status"] == "PENDING"
    assert record["result"] is None
    assert record["accepted"] == pytest.approx(time.time(), abs=5)
    assert not {"started", "ended", "worker", "attempts"} & set(record)


def test_an_accepted_task_never_expires_before_its_end(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    assert waiting.redis.ttl(f"denzel:task:{task_id}") == -1


def test_a_cancelled_task_is_revoked_and_never_starts(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    response = waiting.request("DELETE", f"/status/{task_id}")
    assert response.status_code == 202
    for record in (response.json(), waiting.status(task_id)):
        assert record["status"] == "REVOKED"
        assert record["result"] == {"args": ["cancelled"], "type": "TaskRevokedError"}
    assert 0 < waiting.redis.ttl(f"denzel:task:{task_id}") <= 86400
    assert error_of(waiting.request("DELETE", f"/status/{task_id}"))[:2] == (409, "Already ended")


def test_who_waits_for_a_task_that_is_cancelled_hears_of_it(new_service, waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"a": 1}, prefer="wait=1")
        task_id = eventually(lambda: list(waiting.redis.scan_iter("denzel:task:*")), "it is there")[0].decode()[12:]
        assert waiting.request("DELETE", f"/status/{task_id}").status_code == 202
    response = answer.result()
    assert error_of(response)[:2] == (409, "Task cancelled")
    assert response.headers["Denzel-Task-Id"] == task_id


def test_a_wait_is_no_longer_than_allowed(waiting: Service) -> None:
    began = time.monotonic()
    response = waiting.predict({"a": 1}, prefer="wait=1000")
    assert 0.9 < time.monotonic() - began < 3
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=1"


def test_more_tasks_than_may_wait_are_refused_until_there_is_room(waiting: Service) -> None:
    accepted = [waiting.submit({"number": number}) for number in range(3)]
    for prefer in (None, "wait=1", ASYNC):
        response = waiting.predict({"a": 1}, prefer)
        assert error_of(response) == (429, "Too many requests", "3 tasks are waiting already; try again later.")
        assert int(response.headers["Retry-After"]) > 0
        assert "Denzel-Task-Id" not in response.headers
    assert waiting.redis.keys("denzel:task:*").__len__() == 3
    waiting.request("DELETE", f"/status/{accepted[0]}")
    assert waiting.status(waiting.submit({"a": 1}))["status"] == "PENDING"


def test_a_task_id_that_has_expired_is_gone_and_not_unknown(new_service: Callable[..., Service]) -> None:
    service = new_service(SYNC_RESULT_EXPIRES=1, RESULT_EXPIRES=1)
    service.start("redis", "api")
    task_id = service.submit({"a": 1})
    service.request("DELETE", f"/status/{task_id}")
    eventually(lambda: service.get(f"/status/{task_id}").status_code != 200, "it expires")
    assert error_of(service.get(f"/status/{task_id}"))[:2] == (410, "Expired")
    other = task_id[:-1] + ("0" if task_id[-1] != "0" else "1")
    assert service.get(f"/status/{other}").status_code == 404


# ---- Idempotency-Key -------------------------------------------------------------------------------------------------


def test_an_idempotency_key_stands_for_one_task(service: Service) -> None:
    key, body = str(uuid.uuid4()), {"predict": "{'time': time.time()}"}
    answers = [service.predict(body, headers={"Idempotency-Key": key}) for _ in range(3)]
    assert len({answer.headers["Denzel-Task-Id"] for answer in answers}) == 1
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].status_code == 200
    response = service.predict(body, ASYNC, headers={"Idempotency-Key": key})
    task_id = response.json()["data"]["task_id"]
    assert task_id == answers[0].headers["Denzel-Task-Id"]
    assert service.redis.ttl(f"denzel:task:{task_id}") > 80_000, "the answer is there for as long as the key may be"
    keys = service.redis.scan_iter("denzel:idempotency:*")
    assert [service.redis.ttl(name) > 80_000 for name in keys if task_id.encode() in service.redis.get(name)] == [True]


def test_an_idempotency_key_of_another_request_is_refused(service: Service) -> None:
    key = str(uuid.uuid4())
    service.predict({"a": 1}, headers={"Idempotency-Key": key})
    assert error_of(service.predict({"a": 2}, headers={"Idempotency-Key": key}))[0] == 422


def test_an_idempotency_key_of_a_request_that_was_not_accepted_is_good_for_the_next_try(waiting: Service) -> None:
    accepted = [waiting.submit({"number": number}) for number in range(3)]
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    assert waiting.predict({"a": 1}, ASYNC, headers=headers).status_code == 429
    waiting.request("DELETE", f"/status/{accepted[0]}")
    ids = {waiting.predict({"a": 1}, ASYNC, headers=headers).json()["data"]["task_id"] for _ in range(2)}
    assert [waiting.status(task_id)["status"] for task_id in ids] == ["PENDING"]
    assert waiting.redis.llen("denzel:waiting") == 3


# ---- The live setting ------------------------------------------------------------------------------------------------


@pytest.fixture
def switched(service: Service) -> Iterator[Service]:
    """A service whose response setting is put back afterwards."""
    yield service
    service.redis.delete("synchronous_timeout")


def modes(service: Service, requests: int = 40) -> set[str]:
    """How each of many requests at the same time was answered, in every API process."""
    with ThreadPoolExecutor(requests) as pool:
        answers = list(
            pool.map(lambda number: service.predict({"verify_input": "{'api': os.getpid()}"}), range(requests))
        )
    processes = set()
    for answer in answers:
        record = service.wait(answer.headers["Denzel-Task-Id"])
        processes.add(record["result"]["answer"]["api"])
    assert len(processes) == 2, "all requests went to the same process"
    return {"async" if "Location" in answer.headers else "sync" for answer in answers}


def test_the_response_is_switched_live_in_every_api_process(switched: Service) -> None:
    assert modes(switched) == {"sync"}
    for arguments, sentence, mode in (
        (("async",), "Responses are asynchronous", "async"),
        (("sync",), "Responses are synchronous, with a timeout of 5 s", "sync"),
        (("async",), "Responses are asynchronous", "async"),
        (("sync", "7.5"), "Responses are synchronous, with a timeout of 7.5 s", "sync"),
    ):
        done = switched.run("denzel.control", "response", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, sentence + "\n", "")
        assert modes(switched) == {mode}


def test_a_preference_outweighs_the_live_setting(switched: Service) -> None:
    switched.run("denzel.control", "response", "async")
    assert switched.predict({"a": 1}, prefer="wait=5").json() == {"answer": {"a": 1}}
    switched.run("denzel.control", "response", "sync", "5")
    assert "Location" in switched.predict({"a": 1}, prefer=ASYNC).headers


def test_the_live_timeout_is_how_long_a_request_waits(switched: Service) -> None:
    switched.run("denzel.control", "response", "sync", "0.3")
    began = time.monotonic()
    response = switched.predict({"predict": "{'waited': wait_for('slow')}"})
    assert 0.25 < time.monotonic() - began < 3
    assert response.status_code == 202
    (switched.project / "slow").touch()
    assert switched.wait(response.headers["Denzel-Task-Id"])["result"] == {"waited": True}


def test_a_live_timeout_beyond_what_a_client_may_ask_for_holds(waiting: Service) -> None:
    waiting.run("denzel.control", "response", "sync", "2")
    began = time.monotonic()
    assert waiting.predict({"a": 1}).status_code == 202
    assert time.monotonic() - began > 1.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync", "0"], "Sync timeout must be greater than 0"),
        (["sync", "-1"], "Sync timeout must be greater than 0"),
        (["sync", "nan"], "Sync timeout must be greater than 0"),
        (["sync", "inf"], "Sync timeout must be greater than 0"),
        (["sync", "soon"], "Sync timeout must be greater than 0"),
        (["async", "5"], "TIMEOUT goes with MODE=sync only"),
        (["both"], "MODE must be sync or async, not 'both'"),
        ([""], "MODE must be sync or async, not ''"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_and_changes_nothing(
    waiting: Service, arguments: list[str], message: str
) -> None:
    done = waiting.run("denzel.control", "response", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert waiting.redis.get("synchronous_timeout") is None


@pytest.mark.parametrize("arguments", [[], ["response"], ["response", "sync", "1", "2"], ["nonsense"]])
def test_a_wrong_command_shows_the_commands(waiting: Service, arguments: list[str]) -> None:
    done = waiting.run("denzel.control", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "denzel.control response" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_env_says_holds_until_the_first_switch(new_service: Callable[..., Service]) -> None:
    service = new_service(SYNC_TIMEOUT=0)
    service.start("redis", "api")
    response = service.predict({"a": 1})
    assert response.status_code == 200
    assert "Location" in response.headers
    assert error_of(service.predict({"callback_uri": "nonsense"}))[0] == 400
    service.run("denzel.control", "response", "sync", "0.1")
    assert service.predict({"callback_uri": "nonsense"}).status_code == 202
    service.restart("redis")
    assert service.redis.get("synchronous_timeout") == b"0.1"


# ---- A verify_input that hangs ---------------------------------------------------------------------------------------


def test_a_hanging_verify_input_ends_as_503_and_stops_nothing_else(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"verify_input": "time.sleep(60)"})
        slowest = 0.0
        while not answer.done():
            asked = time.monotonic()
            assert waiting.get("/ping").status_code == 200
            assert waiting.status(task_id)["status"] == "PENDING"
            slowest = max(slowest, time.monotonic() - asked)
    response = answer.result()
    assert error_of(response)[:2] == (503, "Service busy")
    assert "verify_input did not return within 0.5 seconds" in response.json()["description"]
    assert int(response.headers["Retry-After"]) > 0
    assert 0.5 <= time.monotonic() - began < 5
    assert slowest < 2
    assert waiting.predict({"a": 1}, ASYNC).status_code == 200


def test_requests_behind_a_hanging_one_are_served(waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(waiting.predict, {"verify_input": "(note('hangs'), time.sleep(60))"})
        eventually(lambda: waiting.events("hangs"), "it hangs")
        assert waiting.predict({"a": 1}, ASYNC).status_code == 200
        assert hanging.result().status_code == 503


# Computes for three seconds.
BUSY = "any(time.monotonic() > end for end in [time.monotonic() + 3] for _ in iter(int, 1))"


def test_a_verify_input_that_computes_for_long_leaves_the_rest_alive(waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"verify_input": BUSY})
        slowest = 0.0
        while not answer.done():
            asked = time.monotonic()
            assert waiting.get("/ping").status_code == 200
            slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 2


# ---- Stopping --------------------------------------------------------------------------------------------------------


def test_idle_connections_do_not_hold_up_a_stop(waiting: Service) -> None:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        assert session.get(waiting.url + "/ping").status_code == 200
        began = time.monotonic()
        assert waiting.stop("api") == 0
        assert time.monotonic() - began < 5
    waiting.start("api")


def test_a_request_in_flight_is_answered_before_the_api_ends(waiting: Service) -> None:
    answers: list = []
    client = threading.Thread(target=lambda: answers.append(waiting.predict({"a": 1}, prefer="wait=1")))
    client.start()
    eventually(lambda: waiting.redis.keys("denzel:task:*"), "the task is there")
    assert waiting.stop("api") == 0
    client.join()
    assert answers[0].status_code == 202
    waiting.start("api")


def test_the_api_ends_promptly_while_it_starts(waiting: Service) -> None:
    pipeline = waiting.project / "app/logic/pipeline.py"
    shutil.copy(pipeline, waiting.project / "pipeline.bak")
    waiting.stop("api")
    pipeline.write_text("import time\nopen('importing', 'w').close()\ntime.sleep(60)\n")
    try:
        waiting.start_only("api")
        eventually((waiting.project / "importing").exists, "the pipeline is being imported")
        began = time.monotonic()
        waiting.stop("api")
        assert time.monotonic() - began < 5
    finally:
        shutil.move(waiting.project / "pipeline.bak", pipeline)
        waiting.start("api")
