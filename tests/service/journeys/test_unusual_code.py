"""User code that does what nobody expects: its own request suffers, and no other."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.service.support.merging import frozen_process
from tests.support.processes import children_of, memory_of
from tests.support.services import Service
from tests.support.waiting import eventually

DEEP = "argument = np.int64(1)\nfor _ in range(248): argument = [argument]\nraise ValueError(argument)"


@pytest.fixture(scope="module")
def queue(new_service: Callable[..., Service]) -> Service:
    service = new_service("programs")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture(scope="module")
def inline(new_service: Callable[..., Service]) -> Service:
    service = new_service("programs", EXECUTOR="inline", REDIS_URL="", TEST_BATCHABLE=1, SYNC_RESULT_EXPIRES=1)
    (service.project / "load.txt").write_text("next(iter([]))")
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "loading is tried again, whatever was raised", 30)
    return service


@pytest.fixture(params=["queue", "inline"])
def either(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service that answers as ever when the test is over."""
    service = request.getfixturevalue(request.param)
    yield service
    assert service.predict({}, timeout=13).json() == {"fine": True}


# ---- verify_input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        ("next(iter([]))", "StopIteration"),
        ("raise ERROR", "always the same object"),
        ("class Odd(Exception):\n  def __str__(self): sys.exit(1)\nraise Odd", "Odd"),
        ("class Odd(BaseException):\n  def __str__(self): raise KeyError\nraise Odd", "Odd"),
        ("answer = {'a': 10**5000}", "verify_input returned a value that cannot be converted: ValueError: Exceeds"),
        ("class Odd:\n  def tolist(self): raise KeyError\nanswer = {'a': Odd()}", "cannot be converted: KeyError"),
        ("class Odd:\n  def tolist(self): sys.exit(1)\nanswer = {'a': Odd()}", "SystemExit: 1"),
    ],
)  # fmt: skip
def test_errors_of_verify_input_are_told(either: Service, statements: str, text: str) -> None:
    for _ in range(3):
        response = either.predict({"verify": statements}, timeout=13)
        assert response.status_code in (400, 500)
        assert text in response.json()["description"]


def test_an_object_that_verify_input_uses_again_is_nobody_elses(either: Service) -> None:
    program = "answer = KEPT\nKEPT.clear()\nKEPT.update(request, verify='', predict='answer = {\"n\": request[\"n\"]}')"

    def answered(number: int) -> bool:
        response = either.predict({"verify": "time.sleep(0.001)\n" + program, "n": number}, prefer="wait=20")
        return response.status_code == 200 and response.json() == {"n": number}

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(answered, range(300)))


def test_requests_that_are_refused_leave_the_memory(queue: Service) -> None:
    [api] = children_of(queue.pid("api"))
    body = json.dumps({"verify": "raise ValueError('no')", "more": [f"text {n}" for n in range(400_000)]}).encode()
    before = memory_of(api)
    for _ in range(16):
        assert queue.predict(body).status_code == 400
    assert memory_of(api) - before < 250  # two or three of them; each takes 35


@pytest.mark.parametrize("stage", ["verify", "predict"])
def test_an_error_that_is_raised_again_and_again_holds_no_requests(queue: Service, stage: str) -> None:
    body = json.dumps({stage: "raise ERROR", "more": ["x"] * 100_000}).encode()
    [process] = children_of(queue.pid("api")) if stage == "verify" else queue.predictors()
    before, lines = memory_of(process), len(queue.log("denzel").splitlines())
    for _ in range(40):
        assert queue.predict(body, prefer="wait=9").status_code in (400, 500)
    assert memory_of(process) - before < 100
    assert len(queue.log("denzel").splitlines()) - lines < 2000


# ---- predict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "name"),
    [
        (DEEP, "ValueError"),
        ("class Odd(Exception):\n  @property\n  def args(self): raise KeyError\nraise Odd", "Odd"),
        ("class Odd:\n  def tolist(self): sys.exit(1)\nraise ValueError(Odd())", "ValueError"),
    ],
)
def test_failures_that_are_hard_to_describe_are_told(either: Service, statements: str, name: str) -> None:
    record = either.wait(either.submit({"predict": statements}), 20)
    assert (record["status"], record["result"]["type"]) == ("FAILURE", name)


def test_answers_beyond_what_redis_takes_are_failures(new_service: Callable[..., Service]) -> None:
    service = new_service("programs", REDIS_MAXMEMORY="30mb")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    large = service.submit({"predict": "answer = {'a': 'x' * 40_000_000}"})
    record = service.wait(large, 40)
    assert record["status"] == "FAILURE"
    assert "no room for the answer" in record["result"]["args"][0]
    eventually(lambda: service.predict({}).status_code == 200, "others are served", 20)


def test_merged_answers_are_those_of_predict_itself(new_service: Callable[..., Service]) -> None:
    service = new_service("programs", TEST_BATCHABLE=1, CALLBACK_ALLOW="127.0.0.1")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    defaults = (
        "import collections\nanswer = collections.defaultdict(lambda: 'nobody asked')\n"
        "answer.update(enumerate(request['data'].values()))"
    )
    uris = "answer = {name: request.get('callback_uri') for name in request['data']}"
    minimum = "min(request['data'])\nanswer = request['data']"
    for _ in range(8):  # it learns that merging pays
        with frozen_process(service):
            ids = [service.submit({"predict": defaults, "data": {"0": number}}) for number in range(4)]
            own = [f"http://127.0.0.1:9/{number}" for number in range(4)]
            told = [service.submit({"predict": uris, "data": {"a": 1}, "callback_uri": uri}) for uri in own]
            empty = [service.submit({"predict": minimum, "data": data}) for data in ({}, {"a": 1})]
        assert [service.wait(task_id)["result"] for task_id in ids] == [{"0": number} for number in range(4)]
        for task_id, uri in zip(told, own, strict=True):
            assert service.wait(task_id)["result"]["a"] in (None, uri), "its own, or none where several are merged"
        assert [service.wait(task_id)["status"] for task_id in empty] == ["FAILURE", "SUCCESS"]


# ---- Inline ----------------------------------------------------------------------------------------------------------


def test_inline_whatever_one_raises_the_others_are_answered(inline: Service) -> None:
    def submit(number: int) -> str:
        return inline.submit({"predict": DEEP if number == 20 else "time.sleep(0.02)\nanswer = {'a': 1}"})

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        ids = list(pool.map(submit, range(40)))
    statuses = [inline.wait(task_id)["status"] for task_id in ids]
    assert statuses == ["FAILURE" if number == 20 else "SUCCESS" for number in range(40)]


def test_inline_a_key_stands_for_its_task_as_long_as_with_the_queue(inline: Service) -> None:
    body = {"predict": "KEPT['runs'] = KEPT.get('runs', 0) + 1\nanswer = {'runs': KEPT['runs']}"}
    headers = {"Idempotency-Key": "the same"}
    other = inline.predict({}).headers["Denzel-Task-Id"]
    first = inline.predict(body, headers=headers)
    eventually(lambda: inline.get(f"/status/{other}").status_code != 200, "records without a key expire")
    assert inline.predict(body, headers=headers).json() == first.json() == {"runs": 1}


def test_inline_the_time_limit_ends_a_task_that_hangs(new_service: Callable[..., Service]) -> None:
    service = new_service("programs", EXECUTOR="inline", REDIS_URL="", TASK_TIME_LIMIT=2)
    service.start("api")
    eventually(lambda: service.get("/ready").status_code == 200, "it is ready", 30)
    hanging = service.predict({"predict": "time.sleep(1000)"}, prefer="wait=1").headers["Denzel-Task-Id"]
    assert service.predict({}, timeout=15).json() == {"fine": True}
    record = service.status(hanging)
    assert record["result"] == {"args": ["timed out after 2 s"], "type": "TimeLimitExceeded"}


def test_inline_what_is_answered_can_be_polled_however_deep(inline: Service) -> None:
    for depth in (*range(240, 260), *range(900, 1030, 10)):
        body = b'{"predict": "answer = request", "a": ' + b"[" * depth + b"]" * depth + b"}"
        response = inline.predict(body)
        if response.status_code == 200:
            assert inline.get(f"/status/{response.headers['Denzel-Task-Id']}").status_code == 200, depth
        else:
            assert response.status_code == 400 or "nested" in response.text, (depth, response.text)


# ---- Threads that user code leaves running ---------------------------------------------------------------------------


def test_threads_of_user_code_keep_no_process(new_service: Callable[..., Service]) -> None:
    service = new_service("programs", TEST_THREAD=1, STOP_GRACE=3)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    [replaced] = service.predictors()
    os.kill(service.pid("denzel"), signal.SIGHUP)
    eventually(lambda: service.ready()["workers"][0]["replaced"] == 1, "another has taken over", 20)
    eventually(lambda: replaced not in service.predictors(), "it ends", 20)
    service.submit(
        {"predict": "sys.modules['denzel.pipeline.batch'].failure = None\n1 / 0"}
    )  # an error in our own loop
    assert service.wait(service.submit({}), 40)["status"] == "SUCCESS"


def test_code_that_catches_every_interruption_holds_up_the_api_for_seconds_only(
    new_service: Callable[..., Service],
) -> None:
    service = new_service("programs", API_WORKERS=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    for _ in range(60):  # short calls, which are made on the event loop from now on
        service.predict({"verify": "answer = {}"}, prefer="respond-async")
    deaf = {"verify": "while True:\n  try: time.sleep(0.5)\n  except BaseException: pass"}
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(service.predict, deaf, timeout=100)
        with pytest.raises(requests.ConnectionError):
            hanging.result(timeout=30)
    eventually(lambda: service.predict({}).status_code == 200, "a new process serves", 20)
    assert "User code catches every interruption; this process ends." in service.log("api")
    assert "verify_input" in service.log("api")


def test_code_that_leaves_the_projects_folder_takes_nobody_along(queue: Service) -> None:
    assert queue.predict({"verify": "os.chdir('/'); answer = {}"}).status_code == 200
    assert queue.get("/info").status_code == 200


# ---- What others write into Redis ------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["abc", "", "nan", "-1", "1e300", "0x10"])
def test_a_response_setting_that_is_none_counts_as_not_set(queue: Service, value: str) -> None:
    queue.redis.set("denzel/tested:synchronous_timeout", value)
    try:
        answer: Any = queue.predict({})
        assert answer.json() == {"fine": True}
        assert queue.predict({}, headers={"Idempotency-Key": f"one {value}"}).json() == {"fine": True}
    finally:
        queue.redis.delete("denzel/tested:synchronous_timeout")
