"""The log of a whole service: every line has its ids, as JSON every line parses, and thousands of requests fit."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.service.support.merging import together
from tests.service.support.sending import SECRET
from tests.support.http import ASYNC
from tests.support.receivers import Receivers
from tests.support.services import NAMES, Service
from tests.support.waiting import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TALKS = {
    "verify_input": "(print('checked'), request)[1]",
    "predict": "(print('printed'), __import__('logging').getLogger('mine').warning('logged'), {'a': 1})[2]",
}


@pytest.fixture(scope="module", params=["json", "text"])
def talking(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> Service:
    service = new_service(
        LOG_FORMAT=request.param, SYNC_TIMEOUT=5, CALLBACK_ALLOW="127.0.0.1", CALLBACK_SECRET=SECRET, LOG_SAMPLE=50
    )
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready()
    return service


def lines(service: Service, name: str) -> list[dict[str, Any]]:
    """The objects of a service's log; each line must be one."""
    found = []
    for line in service.log(name).splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            raise AssertionError(f"{name}: {line!r}") from None
        assert isinstance(found[-1], dict), line
    return found


def about(service: Service, name: str, request_id: str) -> list[str]:
    """The messages of a service that have this request's id."""
    if service.environment["LOG_FORMAT"] == "json":
        return [one["message"] for one in lines(service, name) if one.get("request_id") == request_id]
    return [line for line in service.log(name).splitlines() if f"request {request_id}" in line and line.endswith("]")]


@pytest.mark.parametrize("prefer", [None, ASYNC])
def test_a_request_is_found_in_the_lines_of_all(talking: Service, receivers: Receivers, prefer: str | None) -> None:
    receiver = receivers.open()
    request_id = f"mine-{prefer or 'sync'}"
    headers = {"X-Request-Id": request_id, "traceparent": TRACEPARENT}
    body = {**TALKS, "callback_uri": receiver.url} if prefer else TALKS
    answer = talking.predict(body, prefer=prefer, headers=headers)
    assert answer.headers["X-Request-Id"] == request_id
    task_id = answer.headers["Denzel-Task-Id"]
    eventually(lambda: len(about(talking, "api", request_id)) >= 2, "the API tells")
    told = "\n".join(about(talking, "api", request_id))
    assert "checked" in told
    assert "POST /predict 200 in" in told
    eventually(lambda: "logged" in "\n".join(about(talking, "denzel", request_id)), "the worker tells")
    assert "printed" in "\n".join(about(talking, "denzel", request_id))
    assert "logged" in (talking.project / "logs/worker.log").read_text()
    if prefer:
        [callback] = receiver.wait()
        sent = {name.lower(): value for name, value in callback.headers.items()}
        assert (sent["x-request-id"], sent["traceparent"]) == (request_id, TRACEPARENT)
        eventually(lambda: "Callback to" in "\n".join(about(talking, "denzel", request_id)), "the sender tells")
        assert "Task ended: SUCCESS" in "\n".join(about(talking, "denzel", request_id))
    if talking.environment["LOG_FORMAT"] == "json":
        found = [
            one for name in ("api", "denzel") for one in lines(talking, name) if one.get("request_id") == request_id
        ]
        assert all(one["trace_id"] == TRACEPARENT[3:35] for one in found)
        assert all(one.get("task_id", task_id) == task_id for one in found)


def test_without_an_id_it_is_that_of_the_task(talking: Service) -> None:
    answer = talking.predict(TALKS)
    assert answer.headers["X-Request-Id"] == answer.headers["Denzel-Task-Id"]
    for bad in ("a b", "x" * 200, "a,b"):
        answer = talking.predict(TALKS, headers={"X-Request-Id": bad})
        assert answer.headers["X-Request-Id"] == answer.headers["Denzel-Task-Id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/ping"),
        ("GET", "/ready"),
        ("GET", "/x"),
        ("DELETE", "/status/x"),
        ("PUT", "/predict"),
        ("GET", "/info"),
    ],
)
def test_every_answer_has_an_id(talking: Service, method: str, path: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", talking.request(method, path).headers["X-Request-Id"])
    named = talking.request(method, path, headers={"X-Request-Id": "mine"})
    assert named.headers["X-Request-Id"] == "mine"


def test_what_is_refused_before_it_is_read_has_one_too(talking: Service) -> None:
    assert b"x-request-id: " in talking.raw(b"nonsense\r\n\r\n").lower()
    large = talking.raw(b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n").lower()
    assert b" 413 " in large
    assert b"x-request-id: " in large


def test_a_failure_is_told_with_its_traceback(talking: Service) -> None:
    answer = talking.predict({"predict": "throw(ValueError('one\\ntwo'))"}, headers={"X-Request-Id": "failing"})
    assert answer.status_code == 500
    eventually(lambda: about(talking, "denzel", "failing"), "the worker tells")
    eventually(lambda: "500" in "\n".join(about(talking, "api", "failing")), "the API tells")
    if talking.environment["LOG_FORMAT"] == "json":
        [line] = [one for one in lines(talking, "denzel") if one.get("request_id") == "failing"]
        assert "ValueError: one" in line["traceback"]
        assert line["message"].endswith(r"failed: ValueError: one\ntwo")


def test_what_a_program_writes_past_python_is_a_line_too(talking: Service) -> None:
    talking.predict({"predict": "(os.write(1, b'raw\\n'), {})[1]"})
    eventually(lambda: "raw" in talking.log("denzel"), "it is there")


def test_thousands_of_requests_do_not_make_thousands_of_lines(talking: Service) -> None:
    before, began = len(talking.log("api").splitlines()), time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: talking.predict({"number": number}), range(1500)))
    eventually(lambda: "answers were not logged (LOG_SAMPLE)" in talking.log("api"), "it says what was left out")
    seconds = time.monotonic() - began
    assert len(talking.log("api").splitlines()) - before < 52 * (seconds + 2)


def test_what_a_merged_call_says_is_about_all_of_its_tasks(new_service: Callable[..., Service]) -> None:
    service = new_service("batched", LOG_FORMAT="json")
    service.start("redis", "api", "denzel")
    ids = together(service, "print('all') or alone(1)", "2", "3")
    for task_id in ids:
        service.wait(task_id)
    said = [one for one in lines(service, "denzel") if one["message"] == "all"]
    assert set(said[0]["task_ids"]) == set(said[0]["request_ids"]) == set(ids)
    assert said[0]["tasks"] == 3
    assert said[1]["task_id"] in ids, "it runs again apart"


def test_every_line_of_json_is_an_object(talking: Service) -> None:
    """Also of what comes as the service stops and starts."""
    if talking.environment["LOG_FORMAT"] == "text":
        pytest.skip("this is text")
    talking.restart("denzel")
    talking.restart("api")
    talking.wait_ready()
    talking.stop("monitor")
    for name in NAMES:
        found = lines(talking, name)
        assert found
        assert all(one["level"] and one["service"] and "message" in one for one in found), name
    assert any(one["logger"] == "gunicorn.error" for one in lines(talking, "api"))
    assert any(one["logger"].startswith("celery") for one in lines(talking, "denzel"))
    for line in (talking.project / "logs/worker.log").read_text().splitlines():
        assert "message" in json.loads(line)


def test_nothing_that_is_printed_passes_for_a_line_of_the_log(talking: Service) -> None:
    if talking.environment["LOG_FORMAT"] == "text":
        pytest.skip("text is for people")
    forged = json.dumps({"time": "2026", "level": "error", "service": "api", "logger": "forged", "message": "forged"})
    says = f"print({forged!r}), print('{{\"time\": no}}')"
    raw = f"os.write(1, {forged.encode()!r} + b'\\n'), os.write(2, b'begun')"
    secret = "throw(LookupError('known')) if any('LOG_MARK' in name for name in os.environ) else {}"
    answer = talking.predict({"verify_input": f"({says}, request)[-1]", "predict": f"({says}, {raw}, {secret})[-1]"})
    assert answer.status_code == 200, answer.text
    talking.predict({"predict": "(print('after'), {})[-1]"})
    eventually(lambda: "after" in [one["message"] for one in lines(talking, "denzel")], "it is told")
    for name in ("api", "denzel"):
        found = [one for one in lines(talking, name) if "forged" in one["message"]]
        assert found
        assert {one["logger"] for one in found} <= {"print.stdout", "denzel.output"}
        assert {one["level"] for one in found} == {"info"}
    assert "begun" in [one["message"] for one in lines(talking, "denzel")]
