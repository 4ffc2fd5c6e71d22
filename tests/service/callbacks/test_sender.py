"""One attempt to deliver: what is sent, what receivers make of it, and where it may go."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from denzel.callback_addresses import CallbackPolicy
from denzel.callbacks import courier, sender
from denzel.callbacks.sender import Attempt, Sender
from tests.service.support.sending import SECRET, Sending
from tests.support.ports import free_port
from tests.support.receivers import CLOSE_SILENTLY, DROP, ENDLESS, HANG, Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

# ---- What is sent ----------------------------------------------------------------------------------------------------


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


# ---- What receivers answer -------------------------------------------------------------------------------------------


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
        assert abs(sending.redis.zscore("denzel/tested:callbacks", task_id) - state["next_attempt"]) < 1
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


# ---- Only where allowed ----------------------------------------------------------------------------------------------


def test_a_refused_address_is_a_final_failure_with_the_reason(sending: Sending) -> None:
    (task_id,) = sending.finish("http://10.0.0.5/inbox")
    state = sending.wait(task_id, state="failed")
    assert state["last_error"] == state["history"][0]["error"] == "address not allowed"
    assert 'add "10.0.0.5" to CALLBACK_ALLOW in .env' in sending.log()
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
    assert answer.error == "address not allowed"
    assert answer.logged == (
        'address not allowed: "rebinding.example" leads to 127.0.0.1, which is not a public address (loopback); '
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
        assert answer.error == "address not allowed"
        assert "not a public address (loopback)" in str(answer.logged)
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


# ---- Retry-After -----------------------------------------------------------------------------------------------------


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
