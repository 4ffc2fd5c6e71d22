"""What is no HTTP, or more of it than anyone needs: refused, without memory for it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.processes import children_of, memory_of
from tests.support.services import Service


@pytest.fixture(scope="module")
def queue(new_service: Callable[..., Service]) -> Service:
    service = new_service("programs")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.mark.parametrize("offer", [b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA", b"UPGRADE:websocket", b"upgrade:  h2c"])
def test_offers_of_other_protocols_are_ignored(queue: Service, offer: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n" + offer
    body = b'{"upgrade": "h2c"}'
    answer = queue.raw(head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"fine":true}')


def test_offers_of_other_protocols_are_ignored_wherever_the_packets_end(queue: Service) -> None:
    body = b'{"upgrade": "\\r\\nupgrade: h2c"}'
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nUp: 1\r\n"
    sent = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection(("127.0.0.1", queue.ports["api"]), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

        def send_in_parts(*parts: bytes) -> None:
            for part in parts:
                connection.sendall(part)
                time.sleep(0.002)  # so that each is read by itself, as a rule
            answer = connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'{"fine":true}')

        for place in range(1, len(sent)):
            send_in_parts(sent[:place], sent[place:])
        send_in_parts(*(sent[place : place + 1] for place in range(len(sent))))


def test_a_response_comes_in_one_piece(queue: Service) -> None:
    """Its head and its body by themselves would take two system calls, and wake the client twice."""
    with socket.create_connection(("127.0.0.1", queue.ports["api"]), timeout=5) as connection:
        for _ in range(100):
            connection.sendall(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65536).endswith(b"\r\n\r\npong")


def test_the_body_of_a_request_whose_offer_was_not_seen_is_no_request(queue: Service) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", queue.ports["api"]), timeout=5) as connection:
        connection.sendall(ping + head % len(ping))
        received = connection.recv(65536)
        connection.sendall(ping)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                received += part
    assert received.count(b"pong") == 1
    assert b"HTTP/1.1 400 " in received
    assert b"\r\nconnection: close\r\n" in received


def test_trailers_without_end_are_refused(queue: Service) -> None:
    [api] = children_of(queue.pid("api"))
    before = memory_of(api)
    begin = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert queue.raw(begin + b"x: " + b"y" * 50_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    for line in (b"", b": y\r\n" + b"x" * 100):
        with socket.create_connection(("127.0.0.1", queue.ports["api"]), timeout=5) as connection:
            connection.sendall(begin + b"x: ")
            with pytest.raises(ConnectionError):
                connection.sendall((line + b"y" * 100_000) * 1000)
    assert memory_of(api) - before < 20


def test_a_client_that_keeps_back_a_body_too_large_finds_the_connection_closed(queue: Service) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", queue.ports["api"]), timeout=5) as connection:
        connection.sendall(head)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 413 ")


def test_offers_without_end_are_refused(queue: Service) -> None:
    sent = b"\r\nUpgrade: " + b"x" * 200_000
    for begin in (b"", b"GET /ping HTTP/1.1"):
        with contextlib.suppress(ConnectionError):  # the connection may end while it is still sending
            assert queue.raw(begin + sent).startswith(b"HTTP/1.1 431 ")


def test_heads_without_end_are_refused(queue: Service) -> None:
    with contextlib.suppress(requests.ConnectionError):  # it may still be sending
        response = requests.get(f"{queue.url}/ping", headers={"More": "x" * 5_000_000}, timeout=10)
        assert response.status_code == 431
        assert response.json()["title"] == "Request head too large"
    [api] = children_of(queue.pid("api"))
    before = memory_of(api)
    for _ in range(3):
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{queue.url}/ping", headers={"More": "x" * 50_000_000}, timeout=10)
    assert memory_of(api) - before < 40
    assert requests.get(f"{queue.url}/ping", headers={"More": "x" * 50_000}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    "sent", [b"NONSENSE / HTTP/1.1\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_not_http_is_refused_in_json(queue: Service, sent: bytes) -> None:
    head, _, body = queue.raw(sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["description"]
