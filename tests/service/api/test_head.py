"""HEAD, by which monitors probe: wherever there is GET, with the same headers and without a body."""

from __future__ import annotations

import socket
import uuid

from tests.support.services import Service

VARYING = ("date", "content-length", "x-request-id")  # the time; a heartbeat's age; made for each request


def paths(service: Service) -> list[str]:
    task_id = service.predict({"data": {"a": 1}}).headers["Denzel-Task-Id"]
    return ["/ping", "/info", "/ready", f"/status/{task_id}", f"/status/{uuid.uuid4()}", "/nowhere"]


def test_head_is_get_without_the_body(service: Service) -> None:
    for path in paths(service):
        got, headed = service.get(path), service.request("HEAD", path)
        assert (headed.status_code, headed.content) == (got.status_code, b""), path
        assert int(headed.headers["Content-Length"]) > 0
        alike = [
            {name: value for name, value in response.headers.lower_items() if name not in VARYING}
            for response in (got, headed)
        ]
        assert alike[0] == alike[1], path
        if path not in ("/ready",):
            assert headed.headers["Content-Length"] == got.headers["Content-Length"], path


def test_not_ready_is_told(waiting: Service) -> None:
    assert waiting.request("HEAD", "/ready").status_code == 503


def test_nothing_follows_the_head_on_the_connection(service: Service) -> None:
    """What came behind it would be taken for the next answer."""
    with socket.create_connection(("127.0.0.1", service.ports["api"]), timeout=5) as connection:
        connection.sendall(
            b"HEAD /info HTTP/1.1\r\nHost: x\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        received = b""
        while part := connection.recv(65536):
            received += part
    first, _, second = received.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert second.endswith(b"\r\n\r\npong")
