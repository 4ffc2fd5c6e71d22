"""What the API answers besides predictions: the text, the signs of life, a task's status, other paths."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.http import ASYNC, error_of
from tests.support.services import Service
from tests.support.waiting import eventually

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


@pytest.mark.parametrize("path", ["/nowhere", "/predict/", "/Predict", "/status", "/status/a/b", "/%00", "/é?a=b"])
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


# ---- Waiting tasks ---------------------------------------------------------------------------------------------------


def test_a_task_that_waits_is_pending(waiting: Service) -> None:
    record = waiting.status(waiting.submit({"a": 1}))
    assert record["status"] == "PENDING"
    assert record["result"] is None
    assert record["accepted"] == pytest.approx(time.time(), abs=5)
    assert not {"started", "ended", "worker", "attempts"} & set(record)


def test_an_accepted_task_never_expires_before_its_end(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    assert waiting.redis.ttl(f"denzel/tested:task:{task_id}") == -1


def test_a_cancelled_task_is_revoked_and_never_starts(waiting: Service) -> None:
    task_id = waiting.submit({"a": 1})
    response = waiting.request("DELETE", f"/status/{task_id}")
    assert response.status_code == 202
    for record in (response.json(), waiting.status(task_id)):
        assert record["status"] == "REVOKED"
        assert record["result"] == {"args": ["cancelled"], "type": "TaskRevokedError"}
    assert 0 < waiting.redis.ttl(f"denzel/tested:task:{task_id}") <= 86400
    assert error_of(waiting.request("DELETE", f"/status/{task_id}"))[:2] == (409, "Already ended")


def test_who_waits_for_a_task_that_is_cancelled_hears_of_it(new_service, waiting: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(waiting.predict, {"a": 1}, prefer="wait=1")
        task_id = (
            eventually(lambda: list(waiting.redis.scan_iter("denzel/tested:task:*")), "it is there")[0]
            .decode()
            .rpartition(":")[2]
        )
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
    assert waiting.redis.keys("denzel/tested:task:*").__len__() == 3
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
