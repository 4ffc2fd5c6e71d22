"""POST /predict of a service in full: what goes in, what comes out, which stage's error is told how."""

from __future__ import annotations

import math
import re
from uuid import UUID

import pytest

from tests.support.http import error_of
from tests.support.services import Service
from tests.support.waiting import eventually

ASYNC = "respond-async"


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
    from concurrent.futures import ThreadPoolExecutor

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


# ---- Bodies that are not JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"nonsense", b'{"a": 1', b'{"a": 1} x', b"{'a': 1}", b'{"a": 01}', b'"\xff"', b'"\xc3"',
        b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'{"a": NaN}', b"Infinity", b"[-Infinity]", b"1e400",
        b"18446744073709551616", b"[-9223372036854775809]", b"1" * 1000, b'"\\ud800"', b"[" * 2000 + b"]" * 2000,
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_malformed_json_is_refused(service: Service, body: bytes) -> None:
    response = service.predict(body)
    assert error_of(response) == (400, "Malformed JSON", "Could not decode the request body.")
    assert response.json()["reason"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the request has no body"),
        (b'{"a": 1,}', "line 1 column"),
        (b"[18446744073709551616]", "an integer is beyond 64 bits"),
    ],
)
def test_why_json_is_malformed_is_told(service: Service, body: bytes, reason: str) -> None:
    assert reason in service.predict(body).json()["reason"]


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 1e308, 5e-324, 0.1234567890123456789])
def test_the_largest_and_smallest_numbers_are_exact(service: Service, number: float) -> None:
    assert service.predict([number]).json() == {"answer": [number]}


def test_digits_in_text_are_no_number(service: Service) -> None:
    body = {"data": "1" * 100}
    assert service.predict(body).json() == {"answer": body}


@pytest.mark.parametrize("inner", [b"", b"1234567890123456789"])
@pytest.mark.parametrize("depth", [100, 249, 253, 254, 255, 600, 1024])
def test_deep_values_come_back_or_are_refused_but_never_break_anything(
    service: Service, depth: int, inner: bytes
) -> None:
    text = b"[" * depth + inner + b"]" * depth
    response = service.predict(text)
    task_id = response.headers.get("Denzel-Task-Id")
    if task_id is None:
        assert depth > 249
        assert error_of(response)[:2] == (400, "Malformed JSON")
    elif response.status_code == 200:
        assert response.content == b'{"answer":' + text + b"}"
        assert service.get(f"/status/{task_id}").content.count(b"[") == depth
    else:
        assert depth > 249
        assert error_of(response)[:2] == (500, "Error invoking predict")


@pytest.mark.parametrize(
    ("header", "body"),
    [(b"Content-Length: 100", b'{"note": "cut"}'), (b"Transfer-Encoding: chunked", b'a\r\n{"note": "\r\n')],
)
def test_a_body_cut_off_is_no_request(service: Service, header: bytes, body: bytes) -> None:
    before = len(service.events("verify_input"))
    received = service.raw(b"POST /predict HTTP/1.1\r\nHost: test\r\n" + header + b"\r\n\r\n" + body, half_close=True)
    assert b"200 OK" not in received
    service.predict({"a": 1})
    assert len(service.events("verify_input")) == before + 1


# ---- verify_input ---------------------------------------------------------------------------------------------------


def test_what_looks_like_a_mistake_in_verify_input_is_in_the_log(service: Service) -> None:
    """One of many in some time, so that clients cannot fill the log; others only with LOG_LEVEL=debug."""
    mistake = {"verify_input": "request['no such key']"}
    eventually(lambda: [service.predict(mistake)] and "KeyError: 'no such key'" in service.log("api"), "it is told")
    for _ in range(20):
        service.predict(mistake)
        service.predict({"verify_input": "throw(ValueError('no such flower'))"})
    log = service.log("api")
    assert log.count("KeyError: 'no such key'") <= 4
    assert "verify_input refused a request\nTraceback (most recent call last):\n  File" in log
    assert "no such flower" not in log


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("throw(ValueError('no flowers'))", "no flowers"),
        ("throw(KeyError('data'))", "KeyError: 'data'"),
        ("throw(AssertionError())", "AssertionError"),
        ("request['data']", "KeyError: 'data'"),
        ("undefined", "name 'undefined' is not defined"),
        ("throw(ValueError('a', 1))", "('a', 1)"),
        ("throw(ValueError('ü' * 3))", "üüü"),
        ("throw(ValueError('\\ud800'))", "\\ud800"),
        ("throw(Unprintable())", "Unprintable"),
    ],
)
def test_an_error_of_verify_input_is_the_requests(service: Service, expression: str, description: str) -> None:
    for prefer in (None, ASYNC):
        response = service.predict({"verify_input": expression}, prefer)
        assert error_of(response) == (400, "Bad input format", description)
        assert "Denzel-Task-Id" not in response.headers


def test_exit_in_verify_input_refuses_the_request_and_nothing_more(service: Service) -> None:
    for expression in ("exit(3)", "throw(KeyboardInterrupt())", "throw(GeneratorExit())"):
        status, title, _ = error_of(service.predict({"verify_input": expression}))
        assert (status, title) == (400, "Bad input format")
    assert service.predict({"a": 1}).status_code == 200


@pytest.mark.parametrize(
    ("expression", "description"),
    [
        ("note('nothing')", "verify_input returned None; end it with `return json_data`"),
        (
            "{'a': {'b': float('nan')}}",
            "verify_input returned a value that JSON cannot hold: $.a.b: NaN is not valid JSON",
        ),
        ("[object]", "verify_input returned a value that JSON cannot hold: $[0]: type is not valid JSON"),
    ],
)
def test_a_fault_of_verify_input_itself_is_not_the_requests(
    service: Service, expression: str, description: str
) -> None:
    response = service.predict({"verify_input": expression})
    assert error_of(response) == (500, "Error invoking predict", description)


# ---- process and predict --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["process", "predict"])
@pytest.mark.parametrize(
    ("expression", "message", "result"),
    [
        ("undefined", "name 'undefined' is not defined", ("NameError", ["name 'undefined' is not defined"])),
        ("throw(ValueError())", "ValueError", ("ValueError", [])),
        ("throw(KeyError('a'))", "KeyError: 'a'", ("KeyError", ["a"])),
        ("throw(OSError(2, 'gone', 'x'))", "[Errno 2] gone: 'x'", ("FileNotFoundError", [2, "gone"])),
        ("throw(ValueError('a', (1, None)))", "('a', (1, None))", ("ValueError", ["a", [1, None]])),
        ("throw(ValueError(np.float64(1.5)))", "1.5", ("ValueError", [1.5])),
        ("throw(ValueError(object))", "<class 'object'>", ("ValueError", ["<class 'object'>"])),
        ("throw(ValueError(float('nan')))", "nan", ("ValueError", ["nan"])),
        ("throw(ValueError('\\ud800'))", "\\ud800", ("ValueError", ["'\\ud800'"])),
        ("throw(Unprintable(1))", "Unprintable", ("Unprintable", [1])),
        ("throw(ValueError(Unprintable()))", "ValueError", ("ValueError", ["Unprintable"])),
        ("exit(3)", "SystemExit: 3", ("SystemExit", [3])),
        ("exit()", "SystemExit: None", ("SystemExit", [None])),
        ("throw(KeyboardInterrupt())", "KeyboardInterrupt", ("KeyboardInterrupt", [])),
        ("throw(asyncio.CancelledError())", "CancelledError", ("CancelledError", [])),
    ],
)
def test_an_error_of_a_task_is_told_to_who_waits_and_to_who_polls(
    service: Service, stage: str, expression: str, message: str, result: tuple[str, list]
) -> None:
    response = service.predict({stage: expression})
    assert error_of(response) == (500, "Error invoking predict", message)
    for task_id in (response.headers["Denzel-Task-Id"], service.submit({stage: expression})):
        record = service.wait(task_id)
        assert record["status"] == "FAILURE"
        assert record["result"] == {"args": result[1], "type": result[0]}
        assert record["attempts"] == 1


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[1]", "predict must return a dictionary, not list"),
        ("note('nothing')", "predict must return a dictionary, not NoneType"),
        ("np.zeros(2)", "predict must return a dictionary, not ndarray"),
        ("{'a123': {'score': float('nan')}}", "$.a123.score: NaN is not valid JSON"),
        ("{'a': [1, {'b c': -np.inf}]}", '$.a[1]["b c"]: -Infinity is not valid JSON'),
        ("{'a': np.array([1, np.nan])}", "$.a[1]: NaN is not valid JSON"),
        ("{'a': {1, 2}}", "$.a: set is not valid JSON"),
        ("{'a': b'bytes'}", "$.a: bytes is not valid JSON"),
        ("{'a': open}", "$.a: builtin_function_or_method is not valid JSON"),
        ("{('a', 'b'): 1}", "$: a key is of type tuple; keys must be text"),
        ("{'a': '\\ud800'}", "$.a: the text holds a lone surrogate, which is not valid Unicode"),
        ("(d := {}, d.update(a=d))[0]", "$.a: the value contains itself"),
    ],
)
def test_an_answer_that_cannot_be_json_fails_with_its_path(service: Service, expression: str, message: str) -> None:
    response = service.predict({"predict": expression})
    assert error_of(response) == (500, "Error invoking predict", message)
    assert service.status(response.headers["Denzel-Task-Id"])["status"] == "FAILURE"


def test_numpy_dates_and_the_like_are_converted(service: Service) -> None:
    response = service.predict(
        {
            "predict": """{
                'scalars': [np.float32(0.5), np.int64(-1), np.bool_(True), np.str_('a')],
                'array': np.arange(4).reshape(2, 2),
                'date': datetime.date(2020, 1, 2),
                'moment': np.datetime64('2020-01-02T03:04'),
                np.str_('key'): (1, 2),
                np.int64(7): None,
            }"""
        }
    )
    assert response.json() == {
        "scalars": [0.5, -1, True, "a"],
        "array": [[0, 1], [2, 3]],
        "date": "2020-01-02",
        "moment": "2020-01-02T03:04",
        "key": [1, 2],
        "7": None,
    }


def test_a_process_outlives_the_errors_of_its_tasks(service: Service) -> None:
    before = service.predictors()
    for expression in ("exit(1)", "undefined", "throw(Unprintable())"):
        service.predict({"predict": expression})
    assert service.predictors() == before


# ---- The wait -------------------------------------------------------------------------------------------------------


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
    assert math.isclose(service.redis.ttl(f"denzel:task:{task_id}"), 86400, abs_tol=60)
    (service.project / "late").unlink()


def test_a_record_lives_as_long_as_its_way_of_answering_needs(service: Service) -> None:
    answered = service.predict({"a": 1}).headers["Denzel-Task-Id"]
    polled = service.submit({"a": 1})
    service.wait(polled)
    assert 0 < service.redis.ttl(f"denzel:task:{answered}") <= 60
    assert math.isclose(service.redis.ttl(f"denzel:task:{polled}"), 86400, abs_tol=60)


def test_ended_tasks_leave_nothing_but_their_records(service: Service) -> None:
    for number in range(20):
        service.predict({"number": number})
    service.wait(service.submit({"a": 1}))
    kinds = {re.sub(rb"[0-9a-f]{8}[0-9a-f-]{24,}", b"*", key) for key in service.redis.scan_iter(count=1000)}
    assert b"denzel:task:*" in kinds
    assert b"denzel:waiting" not in kinds
    assert b"denzel:claims:*" not in kinds
    assert not any(service.redis.hget(key, "request") for key in service.redis.scan_iter("denzel:task:*"))


# ---- callback_uri ---------------------------------------------------------------------------------------------------

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
