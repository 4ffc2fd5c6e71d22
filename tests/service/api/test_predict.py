"""POST /predict: what goes in, what comes out, who waits for how long, what a key stands for."""

from __future__ import annotations

import math
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from tests.support.http import ASYNC, error_of
from tests.support.services import Service
from tests.support.waiting import eventually

# ---- Answers ---------------------------------------------------------------------------------------------------------


def test_sync_answers_exactly_what_predict_returned(service: Service) -> None:
    response = service.predict({"predict": "{'b': 1, 'a': [1.0, True, None, 'ü', {}], '': 2**64 - 1}"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.content == '{"b":1,"a":[1.0,true,null,"ü",{}],"":18446744073709551615}'.encode()


def test_every_stage_gets_what_the_one_before_returned(service: Service) -> None:
    response = service.predict(
        {
            "verify_input": "{**request, 'verified': 1}",
            "process": "{'predict': '[data, model]', **request}['verified'], model",
            "load_model": "ignored",
        }
    )
    assert response.json() == {"answer": [1, "model"]}


def test_the_task_id_of_a_sync_request_leads_to_its_record(service: Service) -> None:
    response = service.predict({"predict": "{'a': 1}"})
    record = service.status(str(UUID(response.headers["Denzel-Task-Id"])))
    assert record["status"] == "SUCCESS"
    assert record["result"] == {"a": 1}
    assert record["attempts"] == 1
    assert record["worker"].endswith("@tested")
    assert record["accepted"] <= record["started"] <= record["ended"]
    assert "callback" not in record


def test_async_answers_with_the_task_to_ask_for(service: Service) -> None:
    response = service.predict({"predict": "{'a': 1}"}, prefer=ASYNC)
    task_id = response.headers["Denzel-Task-Id"]
    assert response.status_code == 200
    assert response.json() == {"status": "success", "data": {"task_id": task_id}}
    assert response.headers["Location"] == f"/status/{task_id}"
    assert response.headers["Preference-Applied"] == ASYNC
    assert service.wait(task_id)["result"] == {"a": 1}


def test_status_goes_from_pending_through_started_to_success(service: Service) -> None:
    assert not (service.project / "go").exists()
    task_id = service.submit({"predict": "{'waited': wait_for('go')}"})
    try:
        started = eventually(
            lambda: (record := service.status(task_id))["status"] == "STARTED" and record, "the task starts"
        )
        assert started["result"] is None
        assert "ended" not in started
    finally:
        (service.project / "go").touch()
    assert service.wait(task_id)["result"] == {"waited": True}
    (service.project / "go").unlink()


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream", None])
def test_any_content_type_is_json(service: Service, content_type: str | None) -> None:
    response = service.predict(b' {"a": "\xc3\xbc"} \n', headers={"Content-Type": content_type})
    assert response.json() == {"answer": {"a": "ü"}}


@pytest.mark.parametrize("body", ["text", 1, 1.5, True, None, [], [1, [2]], {}, {"data": {}}])
def test_every_json_document_reaches_the_pipeline(service: Service, body: object) -> None:
    assert service.predict(body).json() == {"answer": body}


def test_values_that_mean_something_to_kombu_pass_through(service: Service) -> None:
    body = {"__type__": "foo", "__value__": 1, "data": {"__type__": "bytes", "__value__": "00"}}
    assert service.predict(body).json() == {"answer": body}
    assert service.wait(service.submit(body))["result"] == {"answer": body}


def test_a_chunked_body_is_read_whole(service: Service) -> None:
    response = service.request("POST", "/predict", data=iter([b'{"a', b'": [1,', b" 2]}"]))
    assert response.json() == {"answer": {"a": [1, 2]}}


def test_large_requests_and_answers_pass(service: Service) -> None:
    body = {"data": ["x" * 1000] * 9000}
    assert service.predict(body).json() == {"answer": body}


def test_requests_at_the_same_time_get_their_own_answers(service: Service) -> None:

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: service.predict({"number": number}).json(), range(200)))
    assert answers == [{"answer": {"number": number}} for number in range(200)]


def test_requests_on_one_connection_are_answered_in_turn(service: Service) -> None:
    requests = b"".join(
        b"POST /predict HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for body in (b'{"a": 1}', b"nonsense", b'{"a": 2}')
    )
    received = service.raw(requests)
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"400", b"200"]
    assert received.index(b'{"answer":{"a":1}}') < received.index(b'{"answer":{"a":2}}')


# ---- The wait --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=7", "wait=7"),
        ("wait=7.5", "wait=7.5"),
        ('wait="7"', "wait=7"),
        ("WAIT = 7", "wait=7"),
        ("wait=100000000", "wait=60"),
        ("handling=lenient, wait=7", "wait=7"),
        ("respond-async", "respond-async"),
        ("Respond-Async; foo=bar", "respond-async"),
        ("respond-async, wait=7", "wait=7"),
        ("wait=7, respond-async", "wait=7"),
    ],
)
def test_the_preference_that_was_followed_is_told(service: Service, prefer: str, applied: str) -> None:
    response = service.predict({"a": 1}, prefer)
    assert response.status_code == 200
    assert response.headers["Preference-Applied"] == applied
    assert ("Location" in response.headers) == (applied == "respond-async")


@pytest.mark.parametrize("prefer", ["wait=0", "wait=-1", "wait=soon", "wait", "wait=1e3", "nonsense", "", ",;="])
def test_a_preference_that_makes_no_sense_is_ignored(service: Service, prefer: str) -> None:
    response = service.predict({"a": 1}, headers={"Prefer": prefer})
    assert response.json() == {"answer": {"a": 1}}
    assert "Preference-Applied" not in response.headers


def test_when_the_wait_runs_out_the_task_goes_on_and_is_polled(service: Service) -> None:
    response = service.predict({"predict": "{'waited': wait_for('late')}"}, prefer="wait=0.2")
    task_id = response.headers["Denzel-Task-Id"]
    assert response.status_code == 202
    assert response.json() == {"status": "success", "data": {"task_id": task_id}}
    assert response.headers["Location"] == f"/status/{task_id}"
    assert response.headers["Preference-Applied"] == "wait=0.2"
    assert service.status(task_id)["status"] == "STARTED"
    (service.project / "late").touch()
    record = service.wait(task_id)
    assert record["result"] == {"waited": True}
    assert math.isclose(service.redis.ttl(f"denzel/tested:task:{task_id}"), 86400, abs_tol=60)
    (service.project / "late").unlink()


def test_a_record_lives_as_long_as_its_way_of_answering_needs(service: Service) -> None:
    answered = service.predict({"a": 1}).headers["Denzel-Task-Id"]
    polled = service.submit({"a": 1})
    service.wait(polled)
    eventually(lambda: service.redis.exists(f"denzel/tested:task:{answered}"), "its record follows the answer")
    assert 0 < service.redis.ttl(f"denzel/tested:task:{answered}") <= 60
    assert math.isclose(service.redis.ttl(f"denzel/tested:task:{polled}"), 86400, abs_tol=60)


def test_ended_tasks_leave_nothing_but_their_records(service: Service) -> None:
    for number in range(20):
        service.predict({"number": number})
    service.wait(service.submit({"a": 1}))
    kinds = {re.sub(rb"[0-9a-f]{8}[0-9a-f-]{24,}", b"*", key) for key in service.redis.scan_iter(count=1000)}
    assert b"denzel/tested:task:*" in kinds
    assert b"denzel/tested:waiting" not in kinds
    assert b"denzel/tested:claims:*" not in kinds
    assert not any(service.redis.hget(key, "request") for key in service.redis.scan_iter("denzel/tested:task:*"))


# ---- callback_uri ----------------------------------------------------------------------------------------------------


BAD_URIS = [
    "", "nonsense", "example.com/inbox", "ftp://example.com/", "file:///etc/passwd", "http://", "http://exa mple.com/",
    "http://example.com:99999/", "https://user:secret@example.com/", "http://example.com/\r\nX: 1", "//example.com",
    7, True, ["http://example.com/"], {"uri": "http://example.com/"},
]  # fmt: skip

NOT_ALLOWED = [
    "http://127.0.0.1/", "http://localhost/", "http://127.1/", "http://10.1.2.3/", "http://169.254.169.254/latest/",
    "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://0.0.0.0/", "http://2130706433/", "http://192.168.0.1:8080/",
]  # fmt: skip


@pytest.mark.parametrize("uri", [*BAD_URIS, *NOT_ALLOWED], ids=repr)
def test_a_bad_callback_uri_is_refused_when_the_request_is_asynchronous(service: Service, uri: object) -> None:
    status, title, description = error_of(service.predict({"callback_uri": uri}, prefer=ASYNC))
    assert (status, title) == (400, "Bad input format")
    assert description


@pytest.mark.parametrize("uri", ["http://10.1.2.3/", "http://localhost/", "http://[::1]/"])
def test_a_callback_uri_that_is_not_allowed_says_how_to_allow_it(service: Service, uri: str) -> None:
    assert "CALLBACK_ALLOW in .env" in service.predict({"callback_uri": uri}, prefer=ASYNC).json()["description"]


@pytest.mark.parametrize("uri", [*BAD_URIS, *NOT_ALLOWED], ids=repr)
def test_a_synchronous_request_ignores_its_callback_uri(service: Service, uri: object) -> None:
    for prefer in (None, "wait=5"):
        response = service.predict({"callback_uri": uri}, prefer)
        assert response.json() == {"answer": {"callback_uri": uri}}
        assert "callback" not in service.status(response.headers["Denzel-Task-Id"])


def test_no_callback_uri_is_needed(service: Service) -> None:
    for body in ({"callback_uri": None}, {}, [], "text"):
        assert "callback" not in service.wait(service.submit(body))


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
    assert service.redis.ttl(f"denzel/tested:task:{task_id}") > 80_000, (
        "the answer is there for as long as the key may be"
    )
    keys = service.redis.scan_iter("denzel/tested:idempotency:*")
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
    assert waiting.redis.llen("denzel/tested:waiting") == 3
