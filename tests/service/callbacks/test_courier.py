"""The delivery of callbacks: by the real process, from a real Redis, to real HTTP receivers."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from denzel.callback_policy import CallbackPolicy
from denzel.callbacks import courier, sender
from denzel.callbacks.delivery import HISTORY, advance, postpone
from denzel.callbacks.dispatcher import BROKEN_AFTER, Dispatcher, LeasedCallback, Receiver
from denzel.callbacks.sender import Attempt, Sender
from denzel.queue import callbacks
from denzel.signing import read_secret, signature
from tests.service.support.sending import Sending
from tests.support.ports import free_port
from tests.support.receivers import CLOSE_SILENTLY, DROP, ENDLESS, HANG, Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # the specification's example
DAY = 86_400.0


@pytest.fixture
def sending(redis_service: Service) -> Iterator[Sending]:
    """The process at work, on a Redis that holds nothing."""
    redis_service.redis.flushall()
    with Sending(redis_service, CALLBACK_TIMEOUT=5, CALLBACK_SECRET=SECRET) as sending:
        yield sending


# ---- Through the whole service ----


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


# ---- What is sent ----


def test_a_callback_is_the_answer_signed_as_standard_webhooks(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open()
    body = '{"a":1.0,"ä":"ö","nested":[1,2,{"b":null}]}'
    (task_id,) = sending.finish(receiver.url + "/%2F?q=a%20b&c=%7B%7D", result=body)
    (request,) = receiver.wait()
    assert request.path == "/inbox/%2F?q=a%20b&c=%7B%7D", "sent as it was given"
    assert request.body == body.encode(), "byte for byte"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == "denzel"
    assert request.headers["webhook-id"] == task_id
    assert abs(int(request.headers["webhook-timestamp"]) - time.time()) < 60
    assert Webhook(SECRET).verify(request.body, request.headers) == json.loads(body)
    state = sending.wait(task_id, state="delivered")
    assert state["attempts"] == 1
    assert state["last_status"] == 200
    assert state["last_error"] is None
    assert state["next_attempt"] is None
    assert abs(state["delivered_at"] - time.time()) < 60
    assert [attempt["status"] for attempt in state["history"]] == [200]
    assert sending.left() == 0


@pytest.mark.parametrize("argument", ["name 'np' is not defined", 2**70])
def test_a_failed_task_sends_the_body_of_its_status(sending: Sending, receivers: Receivers, argument: Any) -> None:
    receiver = receivers.open()
    result = {"args": [argument], "type": "NameError"}
    sending.finish(receiver.url, status="FAILURE", result=json.dumps(result), message='"name ..."', worker="worker@x")
    (request,) = receiver.wait()
    body = json.loads(request.body)
    assert body["status"] == "FAILURE"
    assert body["result"] == result
    assert body["worker"] == "worker@x"
    assert "callback" not in body
    assert "callback_uri" not in body


def test_without_a_secret_nothing_is_signed(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open()
    with Sending(redis_service, CALLBACK_SECRET="") as sending:
        sending.finish(receiver.url)
        (request,) = receiver.wait()
    assert "webhook-signature" not in request.headers
    assert {"webhook-id", "webhook-timestamp"} <= request.headers.keys()


def test_connections_are_used_again(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open()
    sending.finish(receiver.url, count=500)
    receiver.wait(500)
    assert receiver.connections <= 100
    assert len(receiver.ids()) == 500
    eventually(lambda: sending.left() == 0, "all are recorded")


def test_a_connection_closed_while_idle_costs_no_attempt(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(CLOSE_SILENTLY, Reply())
    (first,) = sending.finish(receiver.url)
    sending.wait(first, state="delivered")
    (second,) = sending.finish(receiver.url)
    assert sending.wait(second, state="delivered")["attempts"] == 1
    assert receiver.connections == 2


# ---- What receivers answer ----


def test_callbacks_go_out_at_once(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open()
    sending.wait(*sending.finish(receiver.url), state="delivered")  # it is up
    began = time.monotonic()
    for number in range(2, 8):
        sending.finish(receiver.url)
        receiver.wait(number)
    assert time.monotonic() - began < courier.POLL * 3, "without a wake-up each would wait for the next look"


def test_errors_are_tried_again_with_growing_delays(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(500), Reply(503), Reply(404), Reply(204, body=b""))
    (task_id,) = sending.finish(receiver.url)
    for attempt, delay in enumerate((5, 10, 20), 1):
        state = sending.wait(task_id, attempts=attempt)
        assert state["state"] == "pending"
        assert state["last_error"] == f"HTTP {state['last_status']}"
        wait = state["next_attempt"] - time.time()
        assert delay * 0.8 - 3 <= wait <= delay * 1.2 + 0.1
        assert abs(sending.redis.zscore("denzel:callbacks", task_id) - state["next_attempt"]) < 1
        sending.make_due(task_id)
    state = sending.wait(task_id, state="delivered")
    assert [attempt["status"] for attempt in state["history"]] == [500, 503, 404, 204]
    assert "Callbacks to 127.0.0.1:" in sending.log()


def test_retries_come_by_themselves(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(500), Reply())
    (task_id,) = sending.finish(receiver.url)
    sending.wait(task_id, state="delivered")
    first, second = receiver.received
    assert 3 < second.at - first.at < 14


def test_410_ends_it(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(410))
    (task_id,) = sending.finish(receiver.url)
    state = sending.wait(task_id, state="gone")
    assert state["attempts"] == 1
    assert state["last_error"] == "HTTP 410: the receiver wants no more"
    assert sending.left() == 0


def test_retry_after_is_honoured(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(429, {"Retry-After": "100"}))
    (task_id,) = sending.finish(receiver.url)
    state = sending.wait(task_id, attempts=1)
    assert 90 < state["next_attempt"] - time.time() <= 100


def test_redirects_are_not_followed(sending: Sending, receivers: Receivers) -> None:
    target = receivers.open()
    receiver = receivers.open(Reply(302, {"Location": target.url}), Reply(307, {"Location": target.url}))
    (task_id,) = sending.finish(receiver.url)
    sending.wait(task_id, attempts=1, last_error="HTTP 302: redirects are not followed")
    sending.make_due(task_id)
    sending.wait(task_id, attempts=2, last_error="HTTP 307: redirects are not followed", state="pending")
    assert target.connections == 0


def test_proxies_of_the_environment_are_not_used(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    proxy, receiver = receivers.open(), receivers.open()
    url = f"http://127.0.0.1:{proxy.port}"
    with Sending(redis_service, http_proxy=url, HTTP_PROXY=url, ALL_PROXY=url) as sending:
        sending.finish(receiver.url)
        receiver.wait()
    assert proxy.connections == 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (DROP, "the receiver closed the connection without an answer"),
        (HANG, "no answer within 1 s"),
        (None, "no connection: Connection refused"),
    ],
    ids=["drop", "hang", "refused"],
)
def test_receivers_without_an_answer_are_tried_again(
    redis_service: Service, receivers: Receivers, reply: Reply | None, error: str
) -> None:
    redis_service.redis.flushall()
    port = free_port()
    if reply:
        receivers.open(reply, port=port)
    with Sending(redis_service, CALLBACK_TIMEOUT=1) as sending:
        (task_id,) = sending.finish(f"http://127.0.0.1:{port}/")
        state = sending.wait(task_id, attempts=1)
    assert state["state"] == "pending"
    assert state["last_status"] is None
    assert state["last_error"].startswith(error)


def test_an_endless_answer_is_not_read(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open(ENDLESS)
    with Sending(redis_service, CALLBACK_TIMEOUT=60) as sending:
        (task_id,) = sending.finish(receiver.url)
        assert sending.wait(task_id, state="delivered")["attempts"] == 1
        eventually(lambda: receiver.open == 0, "the connection is closed")


def test_a_receiver_that_speaks_no_http_is_an_error(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(body=b"x", headers={"Content-Length": "nonsense"}))
    (task_id,) = sending.finish(receiver.url)
    state = sending.wait(task_id, attempts=1)
    assert state["state"] == "pending"
    assert "\n" not in state["last_error"]


def test_large_results_arrive_whole(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(DROP, Reply())
    body = json.dumps({"a": "x" * 5_000_000})
    (task_id,) = sending.finish(receiver.url, result=body)
    sending.wait(task_id, attempts=1)
    sending.make_due(task_id)
    sending.wait(task_id, state="delivered")
    assert [request.body == body.encode() for request in receiver.received] == [True, True]


# ---- Only where allowed ----


def test_a_refused_address_is_a_final_failure_with_the_reason(sending: Sending) -> None:
    (task_id,) = sending.finish("http://10.0.0.5/inbox")
    state = sending.wait(task_id, state="failed")
    assert 'add "10.0.0.5" to CALLBACK_ALLOW in .env' in state["last_error"]
    assert state["next_attempt"] is None
    assert sending.left() == 0
    assert f"Task {task_id}: its callback to" in sending.log()


class Resolver(AbstractResolver):
    """Answers with the given lists of addresses in order."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self._answers.pop(0)
        ]

    async def close(self) -> None:
        pass


def send(policy: CallbackPolicy, uri: str, resolver: AbstractResolver | None = None, timeout: float = 5.0) -> Attempt:
    async def once() -> Attempt:
        async with Sender(policy, SECRET, timeout, resolver) as sender:
            return await sender.send("id", uri, b"{}")

    return asyncio.run(once())


def test_dns_rebinding_does_not_help(receivers: Receivers) -> None:
    # 127.0.0.2 stands for a public address: it is allowed, and can be connected to.
    policy = CallbackPolicy("127.0.0.2", "")
    public = receivers.open(host="127.0.0.2")
    private = receivers.open(port=public.port)
    resolver = Resolver(["127.0.0.2"], ["127.0.0.1"])
    uri = f"http://rebinding.example:{public.port}/"
    policy.check_uri(uri)
    assert send(policy, uri, resolver).status == 200
    answer = send(policy, uri, resolver)
    assert answer.refused
    assert answer.error == (
        '"rebinding.example" leads to 127.0.0.1, which is not a public address (loopback); '
        'to allow it, add "rebinding.example" to CALLBACK_ALLOW in .env'
    )
    assert (public.connections, private.connections) == (1, 0)


def test_of_several_addresses_only_an_allowed_one_is_connected_to(receivers: Receivers) -> None:
    public = receivers.open(host="127.0.0.2")
    private = receivers.open(port=public.port)
    uri = f"http://both.example:{public.port}/"
    answer = send(CallbackPolicy("127.0.0.2", ""), uri, Resolver(["127.0.0.1", "127.0.0.3", "127.0.0.2"]))
    assert answer.status == 200
    assert (public.connections, private.connections) == (1, 0)


def test_an_allowed_name_may_lead_anywhere(receivers: Receivers) -> None:
    receiver = receivers.open()
    uri = f"http://inside.example:{receiver.port}/"
    assert send(CallbackPolicy("inside.example"), uri, Resolver(["127.0.0.1"])).status == 200
    assert send(CallbackPolicy("outside.example", ""), uri, Resolver(["127.0.0.1"])).refused


def test_the_address_of_each_connection_is_judged_literal_ones_too(receivers: Receivers) -> None:
    class Blind(CallbackPolicy):
        def check_uri(self, uri: object) -> tuple[str, int]:
            return "", 0

    receiver = receivers.open()
    for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "0x7f.1"):
        answer = send(Blind(ports=""), f"http://{host}:{receiver.port}/")
        assert answer.refused, host
        assert "not a public address (loopback)" in str(answer.error)
    assert receiver.connections == 0


def test_a_name_that_does_not_resolve_is_tried_again() -> None:
    answer = send(CallbackPolicy(), "http://does-not-exist.invalid/")
    assert not answer.refused
    assert str(answer.error).startswith("the host's name cannot be resolved")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


def test_tls_certificates_are_verified(receivers: Receivers, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    receiver = receivers.open(tls=context)
    answer = send(CallbackPolicy("127.0.0.1"), f"https://localhost:{receiver.port}/")
    assert not answer.refused
    assert str(answer.error).startswith("no secure connection: ")
    assert "self-signed certificate" in str(answer.error)
    assert receiver.received == []


# ---- Nobody starves ----


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


def test_connections_left_by_slow_receivers_serve_quick_ones() -> None:
    dispatcher = Dispatcher(connections=40)
    now = time.monotonic()
    quick = dispatcher.receiver("quick")
    quick.learn(Attempt(200, seconds=0.1))
    for number in range(100):
        receiver = dispatcher.receiver(f"slow{number}")
        for index in range(10):
            dispatcher.add(LeasedCallback(f"{number}.{index}", "", receiver, 1, b"", now))
    assert len(dispatcher.start()) == 30
    for index in range(20):
        dispatcher.add(LeasedCallback(f"quick{index}", "", quick, 1, b"", now))
    chosen = dispatcher.start()
    assert {delivery.receiver.name for delivery in chosen} == {"quick"}
    assert len(chosen) == 5, "as many as it has shown to take"
    for delivery in chosen:
        dispatcher.end(delivery)
        quick.learn(Attempt(200, seconds=0.1))
    assert len(dispatcher.start()) == 10, "then more, up to all connections"
    assert dispatcher.start() == []


def test_a_receiver_gets_more_connections_while_it_answers_well() -> None:
    receiver = Receiver("x")

    def room() -> int:
        receiver.active = 0
        while receiver.room:
            receiver.active += 1
        return receiver.active

    assert room() == 4
    for _ in range(200):
        receiver.learn(Attempt(200, seconds=0.1))
    assert room() == 100
    receiver.learn(Attempt(200, seconds=3))
    assert room() == 16, "slow"
    receiver.learn(Attempt(500, "HTTP 500", seconds=0.1))
    assert room() == 50
    for _ in range(BROKEN_AFTER):
        assert not receiver.broken
        receiver.learn(Attempt(error="no answer within 15 s", seconds=15))
    assert receiver.broken
    receiver.learn(Attempt(200, seconds=0.1))
    assert not receiver.broken


def test_large_bodies_are_not_in_memory_all_at_once() -> None:
    dispatcher = Dispatcher()
    for index in range(10):
        receiver = dispatcher.receiver(str(index))
        dispatcher.add(LeasedCallback(str(index), "", receiver, 30 << 20, b"", time.monotonic()))
    chosen = dispatcher.start()
    assert len(chosen) == 2
    dispatcher.undo(chosen)
    assert len(dispatcher.start()) == 2
    huge = Dispatcher()
    huge.add(LeasedCallback("a", "", huge.receiver("x"), 1 << 30, b"", time.monotonic()))
    assert len(huge.start()) == 1


def queue(dispatcher: Dispatcher, name: str, count: int) -> Receiver:
    receiver = dispatcher.receiver(name)
    for index in range(count):
        dispatcher.add(LeasedCallback(f"{name}{index}", "", receiver, 1, b"", time.monotonic()))
    return receiver


def test_long_queues_that_hardly_move_make_room() -> None:
    dispatcher = Dispatcher(connections=1)
    slow, quick = queue(dispatcher, "slow", 1000), queue(dispatcher, "quick", 1000)
    now = time.monotonic() + 2
    quick.ended = 1999
    assert dispatcher.too_long(quick, now) == 0, "it will be through in a second"
    released = dispatcher.relieve(now)
    assert [delivery.id for delivery in released] == [f"slow{index}" for index in range(999, 15, -1)], "the newest"
    assert len(dispatcher.held) == 1016
    queue(dispatcher, "slow", 10)
    assert dispatcher.too_long(slow, now) == 10
    quick.ended = 99
    assert len(dispatcher.relieve(now)) == pytest.approx(10 + 750, abs=20), "with 20 ms each, 5 s are 250"


def test_without_scarcity_queues_may_be_long() -> None:
    dispatcher = Dispatcher(connections=1)
    slow = queue(dispatcher, "slow", 900)
    assert dispatcher.too_long(slow, time.monotonic() + 100) == 0


def test_the_pace_is_that_of_late() -> None:
    receiver = Receiver("x", busy_since=1000.0, ended=10_000)
    assert receiver.pace(1010.0) == pytest.approx(0.001, rel=0.01)
    for second in range(1011, 1101):
        pace = receiver.pace(second)
    assert pace > 2, "it has not moved for 90 s"


def test_callbacks_that_found_a_queue_too_long_come_back_in_time() -> None:
    dispatcher = Dispatcher(connections=1)
    receiver = queue(dispatcher, "x", 100)
    now = time.monotonic() + 1
    receiver.ended = 99
    delays = [dispatcher.break_for(receiver, now) for _ in range(10_000)]
    assert all(2.5 <= delay <= 5 for delay in delays[:300]), "in 5 s the queue will be empty"
    assert 40 < max(delays) <= 60


# ---- Nothing is lost ----


def test_a_callback_sent_but_not_recorded_is_sent_again(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(after=2), Reply())
    (task_id,) = sending.finish(receiver.url)
    receiver.wait()
    sending.kill()
    assert sending.state(task_id) == {}
    assert 0 < sending.redis.zscore("denzel:callbacks", task_id) - time.time() <= courier.LEASE
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
            score = sending.redis.zscore("denzel:callbacks", task_id)
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
        eventually(lambda: service.redis.pubsub_numsub("denzel:callbacks:wake")[0][1] == 1, "it listens again")
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
        due = dict(sending.redis.zrange("denzel:callbacks", 0, -1, withscores=True))
        assert {task_id.decode() for task_id in due} == set(others) | (set(ids) - slow.ids())
        assert all(score <= now + 1 for score in due.values()), "others can have them at once"
        assert {sending.state(task_id)["state"] for task_id in slow.ids()} == {"delivered"}
        assert sending.state(others[0]) == {}


def test_the_record_outlives_its_callback(redis_service: Service, receivers: Receivers) -> None:
    redis_service.redis.flushall()
    receiver = receivers.open(Reply(503, {"Retry-After": "7200"}), Reply())
    with Sending(redis_service, RESULT_EXPIRES=60) as sending:
        (task_id,) = sending.finish(receiver.url, due=1)
        sending.redis.expire(f"denzel:task:{task_id}", 60)
        sending.wait(task_id, attempts=1)
        assert sending.redis.ttl(f"denzel:task:{task_id}") > 7200
        sending.make_due(task_id)
        sending.wait(task_id, state="delivered")
        assert 0 < sending.redis.ttl(f"denzel:task:{task_id}") <= 60, "then it expires as any other"


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
        sending.redis.hset("denzel:task:x", mapping=record)
    sending.redis.zadd("denzel:callbacks", {"x": 1})
    sending.redis.publish("denzel:callbacks:wake", "")
    eventually(lambda: sending.left() == 0, "it is gone")
    assert sending.redis.hgetall("denzel:task:x") == {key.encode(): value.encode() for key, value in record.items()}


def test_damaged_records_stop_nothing(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open()
    sending.finish(receiver.url, callback="{nonsense")
    (second,) = sending.finish(receiver.url, status="FAILURE", result="{nonsense")
    (third,) = sending.finish(receiver.url)
    sending.finish(b"http://127.0.0.1:1\xff/")
    sending.wait(third, state="delivered")
    assert len(receiver.wait(2)) == 2
    assert sending.wait(second, attempts=1)["last_error"] == "internal error: JSONDecodeError"


# ---- Sending again by hand ----


def test_redeliver_sends_again_with_a_fresh_span(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(410), Reply())
    (task_id,) = sending.finish(receiver.url)
    sending.wait(task_id, state="gone")
    assert callbacks.redeliver(sending.redis, task_id) == "queued"
    assert sending.wait(task_id, state="delivered")["attempts"] == 1


def test_redeliver_says_why_not(empty_redis: redis.Redis) -> None:
    def task(**fields: str) -> str:
        empty_redis.delete("denzel:task:x")
        empty_redis.hset("denzel:task:x", mapping={"mode": "async", "callback_uri": "http://x/", **fields})
        return callbacks.redeliver(empty_redis, "x")

    assert callbacks.redeliver(empty_redis, "x") == "unknown"
    assert task(status="STARTED") == "not ended"
    assert task(status="SUCCESS", callback_uri="") == "no callback"
    assert task(status="SUCCESS", mode="sync") == "no callback"
    assert empty_redis.zcard("denzel:callbacks") == 0


# ---- Settings ----


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


# ---- The plan of retries ----


def test_retries_spread_over_the_span_and_end_with_it() -> None:
    state, now, delays = {}, 1_000_000.0, []
    while True:
        state, delay = advance(state, Attempt(500, "HTTP 500", seconds=1), now, DAY)
        if delay is None:
            break
        assert state["state"] == "pending"
        assert state["next_attempt"] == pytest.approx(now + delay, abs=0.01)
        delays.append(delay)
        now += delay
    assert 4 <= delays[0] <= 6
    for earlier, later in pairwise(delays[:9]):
        assert earlier < later
    assert max(delays) <= 3600 * 1.2
    assert sum(delays) == pytest.approx(DAY, abs=1)
    assert 25 <= len(delays) <= 45
    assert state["state"] == "failed"
    assert state["attempts"] == len(delays) + 1
    assert state["next_attempt"] is None
    assert len(state["history"]) == HISTORY
    assert len(json.dumps(state)) < 2000


def test_delays_differ_so_that_retries_do_not_come_all_at_once() -> None:
    delays = {advance({}, Attempt(500, "HTTP 500"), 0, DAY)[1] for _ in range(100)}
    assert len(delays) == 100


def test_a_span_of_zero_means_one_attempt() -> None:
    state, delay = advance({}, Attempt(None, "no answer"), 0, 0)
    assert (state["state"], delay) == ("failed", None)


@pytest.mark.parametrize(("wish", "delay"), [(0.0, 5), (300.0, 300), (7200.0, 7200), (1e9, DAY)])
def test_wishes_are_honoured_within_the_span(wish: float, delay: float) -> None:
    _, found = advance({}, Attempt(429, "HTTP 429", retry_after=wish), 0, DAY)
    assert found == pytest.approx(delay, rel=0.21)


def test_postponed_attempts_grow_their_delay_and_end_with_the_span() -> None:
    state, now, count = {}, 0.0, 0
    while True:
        state, delay = postpone(state, "not tried", now, DAY)
        count += 1
        if delay is None:
            break
        now += delay
    assert state["state"] == "failed"
    assert state["attempts"] == 0
    assert state["postponed"] == count
    assert count < 50


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("120", 120), (" 120 ", 120), ("999999999", 999_999_999), ("1" * 500, None), ("-1", None),
        ("1.5", None), ("soon", None), ("", None), (None, None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_read(text: str | None, seconds: float | None) -> None:
    assert sender.parse_retry_after(text) == seconds


@pytest.mark.parametrize("offset", [100, 5000])
def test_retry_after_may_be_a_date(offset: int) -> None:
    text = formatdate(time.time() + offset, usegmt=True)
    assert sender.parse_retry_after(text) == pytest.approx(offset, abs=5)


# ---- Signatures ----


def test_the_signature_is_that_of_the_specification() -> None:
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_secrets_are_read_with_and_without_padding() -> None:
    assert read_secret("") == b""
    assert read_secret("whsec_YWI=") == read_secret("whsec_YWI") == b"ab"
    for wrong in ("whsec_a", "whsec_ä", "whsec_a b", "whsec_!!!!"):
        with pytest.raises(ValueError, match="CALLBACK_SECRET"):
            read_secret(wrong)
