"""The process that sends callbacks, on a real Redis: nothing is lost, and nobody starves."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from standardwebhooks import Webhook

from denzel.callbacks import courier
from denzel.callbacks.dispatcher import BROKEN_AFTER
from tests.service.support.sending import SECRET, Sending
from tests.support.receivers import HANG, Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

# ---- Through the whole service ---------------------------------------------------------------------------------------


def test_answers_and_failures_of_the_service_are_called_back(
    new_service: Callable[..., Service], receivers: Receivers
) -> None:
    service = new_service(CALLBACK_ALLOW="127.0.0.1", CALLBACK_SECRET=SECRET)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    receiver = receivers.open()
    request = {"data": {"a": 1}, "callback_uri": receiver.url}
    expected = service.predict(request, prefer="wait=10").content
    task_id = service.submit(request)
    (received,) = receiver.wait()
    assert received.body == expected
    assert received.task_id == task_id
    Webhook(SECRET).verify(received.body, received.headers)
    eventually(lambda: service.status(task_id)["callback"]["state"] == "delivered", "/status tells")
    assert service.status(task_id)["callback"]["attempts"] == 1

    task_id = service.submit({**request, "predict": "throw(ValueError('wrong'))"})
    received = receiver.wait(2)[1]
    assert received.task_id == task_id
    ended = service.wait(task_id)
    assert ended["status"] == "FAILURE"
    assert json.loads(received.body) == {key: value for key, value in ended.items() if key != "callback"}


# ---- Nobody starves --------------------------------------------------------------------------------------------------


def test_a_hundred_hanging_receivers_do_not_delay_a_good_one(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    hanging = [receivers.open(HANG) for _ in range(100)]
    good = receivers.open()
    with Sending(redis_service, CALLBACK_TIMEOUT=60) as sending:
        for receiver in hanging:
            sending.finish(receiver.url, count=50, wake=False)
        sending.finish(hanging[0].url)
        eventually(lambda: all(receiver.received for receiver in hanging), "all are connected to")
        began = time.monotonic()
        sending.finish(good.url, count=300)
        good.wait(300, timeout=20)
        assert time.monotonic() - began < 20, "the hanging ones would take 60 s"
        eventually(lambda: sending.left() == 5001, "the good ones are recorded")
        assert all(receiver.open <= 4 for receiver in hanging)


def test_a_receiver_that_does_not_answer_is_not_tried_by_every_callback(
    redis_service: Service, receivers: Receivers
) -> None:
    redis_service.redis.flushall()
    hanging = receivers.open(HANG)
    with Sending(redis_service, CALLBACK_TIMEOUT=1) as sending:
        ids = sending.finish(hanging.url, count=100)
        eventually(lambda: all(sending.state(task_id) for task_id in ids), "all have been looked at")
        states = [sending.state(task_id) for task_id in ids]
        tried = sum(state["attempts"] for state in states)
        assert BROKEN_AFTER <= tried <= 10
        assert sum(state.get("postponed", 0) for state in states) >= 90
        assert all(state["state"] == "pending" and state["next_attempt"] for state in states)
        postponed = next(state for state in states if not state["attempts"])
        assert postponed["last_error"] == f"not tried: 127.0.0.1:{hanging.port} gave no answer 4 times in a row"

        hanging.replies[:] = [Reply()]
        for task_id in ids:
            sending.make_due(task_id)
        eventually(lambda: sending.left() == 0, "all arrive once it answers", timeout=30)
        assert {sending.state(task_id)["state"] for task_id in ids} == {"delivered"}


# ---- Nothing is lost -------------------------------------------------------------------------------------------------


def test_a_callback_sent_but_not_recorded_is_sent_again(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(after=2), Reply())
    (task_id,) = sending.finish(receiver.url)
    receiver.wait()
    sending.kill()
    assert sending.state(task_id) == {}
    assert 0 < sending.redis.zscore("denzel/tested:callbacks", task_id) - time.time() <= courier.LEASE
    sending.start()
    sending.wait(task_id, state="delivered", timeout=courier.LEASE + 15)
    first, second = receiver.received
    assert first.task_id == second.task_id == task_id
    assert first.body == second.body


def test_leases_are_renewed_while_a_receiver_takes_its_time(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open(Reply(after=courier.LEASE + 3))
    with Sending(redis_service, CALLBACK_TIMEOUT=60) as sending:
        (task_id,) = sending.finish(receiver.url)
        receiver.wait()
        left = []

        def delivered() -> bool:
            score = sending.redis.zscore("denzel/tested:callbacks", task_id)
            if score is not None:
                left.append(score - time.time())
            return score is None

        eventually(delivered, "it is delivered", timeout=40)
    assert min(left) > 1, "another process would have taken it for lost"
    assert len(receiver.received) == 1


def test_several_processes_share_the_work(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open()
    with Sending(redis_service) as one, Sending(redis_service):
        ids = one.finish(receiver.url, count=1000)
        receiver.wait(1000, timeout=30)
        eventually(lambda: one.left() == 0, "all are recorded")
    assert sorted(request.task_id for request in receiver.received) == sorted(ids), "each exactly once"


def test_a_restart_of_redis_loses_nothing(new_service: Callable[..., Service], receivers: Receivers) -> None:
    service = new_service()
    service.start("redis")
    slow, quick = receivers.open(Reply(after=3)), receivers.open()
    with Sending(service) as sending:
        (during,) = sending.finish(slow.url)
        waiting = sending.finish(quick.url, due=3, count=50)
        slow.wait()
        service.kill("redis")
        eventually(lambda: "Callbacks wait for Redis" in sending.log(), "it notices")
        service.start("redis")
        assert sending.wait(during, state="delivered", timeout=30)["attempts"] == 1
        quick.wait(50, timeout=30)
        eventually(lambda: sending.left() == 0, "all are recorded")
        assert quick.ids() == set(waiting)
        assert "Redis serves again" in sending.log()
        # Wake-ups work on the new connection, too.
        eventually(lambda: service.redis.pubsub_numsub("denzel/tested:callbacks:wake")[0][1] == 1, "it listens again")
        (after,) = sending.finish(quick.url)
        sending.wait(after, state="delivered")


def test_a_full_redis_delays_callbacks_only(new_service: Callable[..., Service], receivers: Receivers) -> None:
    service = new_service()
    service.start("redis")
    receiver = receivers.open()
    with Sending(service) as sending:
        ids = sending.finish(receiver.url, count=20, due=1)
        service.redis.config_set("maxmemory", 1)
        eventually(lambda: "used memory > 'maxmemory'" in sending.log(), "it says so")
        assert receiver.received == []
        service.redis.config_set("maxmemory", 0)
        receiver.wait(20)
        eventually(lambda: sending.left() == 0, "all are recorded")
        assert receiver.ids() == set(ids)


def test_sigterm_lets_attempts_end_and_gives_the_rest_back(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    slow, stuck = receivers.open(Reply(after=2)), receivers.open(HANG)
    with Sending(redis_service, CALLBACK_TIMEOUT=60) as sending:
        ids = sending.finish(slow.url, count=4 + 10, wake=False)
        others = sending.finish(stuck.url)
        slow.wait(4)
        stuck.wait(1)
        assert sending.stop() == 0
        assert len(slow.received) == 4
        now = time.time()
        due = dict(sending.redis.zrange("denzel/tested:callbacks", 0, -1, withscores=True))
        assert {task_id.decode() for task_id in due} == set(others) | (set(ids) - slow.ids())
        assert all(score <= now + 1 for score in due.values()), "others can have them at once"
        assert {sending.state(task_id)["state"] for task_id in slow.ids()} == {"delivered"}
        assert sending.state(others[0]) == {}


def test_the_record_outlives_its_callback(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open(Reply(503, {"Retry-After": "7200"}), Reply())
    with Sending(redis_service, RESULT_EXPIRES=60) as sending:
        (task_id,) = sending.finish(receiver.url, due=1)
        sending.redis.expire(f"denzel/tested:task:{task_id}", 60)
        sending.wait(task_id, attempts=1)
        assert sending.redis.ttl(f"denzel/tested:task:{task_id}") > 7200
        sending.make_due(task_id)
        sending.wait(task_id, state="delivered")
        assert 0 < sending.redis.ttl(f"denzel/tested:task:{task_id}") <= 60, "then it expires as any other"


def test_a_hundred_thousand_waiting_retries_take_no_memory(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open()
    with Sending(redis_service) as sending:
        sending.finish(receiver.url, count=200)
        receiver.wait(200)
        before = sending.memory()
        sending.fill(receiver.url, 100_000)
        assert sending.left() == 100_000
        ids = sending.finish(receiver.url, count=200)
        eventually(lambda: set(ids) <= receiver.ids(), "others are delivered")
        eventually(lambda: sending.left() == 100_000, "and recorded")
        assert sending.memory() - before < 10
    redis_service.redis.flushall()


@pytest.mark.parametrize(
    "record",
    [{}, {"status": "PENDING", "callback_uri": "http://127.0.0.1/"}, {"status": "SUCCESS", "result": "{}"}],
    ids=["expired", "queued again", "no callback_uri"],
)
def test_ids_with_nothing_to_send_are_dropped(sending: Sending, record: dict[str, str]) -> None:
    if record:
        sending.redis.hset("denzel/tested:task:x", mapping=record)
    sending.redis.zadd("denzel/tested:callbacks", {"x": 1})
    sending.redis.publish("denzel/tested:callbacks:wake", "")
    eventually(lambda: sending.left() == 0, "it is gone")
    assert sending.redis.hgetall("denzel/tested:task:x") == {
        key.encode(): value.encode() for key, value in record.items()
    }


def test_damaged_records_stop_nothing(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open()
    sending.finish(receiver.url, callback="{nonsense")
    (second,) = sending.finish(receiver.url, status="FAILURE", result="{nonsense")
    (third,) = sending.finish(receiver.url)
    sending.finish(b"http://127.0.0.1:1\xff/")
    sending.wait(third, state="delivered")
    assert len(receiver.wait(2)) == 2
    assert sending.wait(second, attempts=1)["last_error"] == "internal error: JSONDecodeError"


# ---- Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"CALLBACK_ALLOW": "10.0.0.0/99"}, "CALLBACK_ALLOW is '10.0.0.0/99': cannot read \"10.0.0.0/99\""),
        ({"CALLBACK_PORTS": "http"}, "CALLBACK_PORTS is 'http': \"http\" is not a port"),
        ({"CALLBACK_SECRET": "whsec_???"}, "CALLBACK_SECRET: cannot be read; expected whsec_ and base64"),
        ({"CALLBACK_TIMEOUT": "soon"}, "CALLBACK_TIMEOUT"),
    ],
)
def test_settings_that_cannot_be_read_are_named(redis_service: Service, settings: dict, message: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "denzel.callbacks"],
        cwd=redis_service.project, env=redis_service.environment | settings,
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "???" not in ended.stderr
