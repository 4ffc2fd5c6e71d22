"""A web page that somebody opens on the service's machine: it can neither post to the service nor pretend to be it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support.http import error_of
from tests.support.services import Service

REQUEST = {"data": {"a": 1}}
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def loopback(new_service: Callable[..., Service]) -> Service:
    """A service as it comes, on the queue, that names one host and one page."""
    service = new_service(ALLOWED_HOSTS="model.internal,*.lab.example", CORS_ORIGINS="https://app.example.com")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture(scope="module")
def plain(new_service: Callable[..., Service]) -> Service:
    """A service that names nothing, so that the quick way is open."""
    service = new_service(ALLOWED_HOSTS="")
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


def asked_as(service: Service, host: str, path: str = "/info", method: str = "GET", **headers: str) -> int:
    """The status of the answer to a request that names this host."""
    return service.request(method, path, headers={"Host": host, **headers}).status_code


# ---- Names ---------------------------------------------------------------------------------------------------------

OWN = ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:8000", "host.docker.internal:80"]
NAMED = ["model.internal", "Model.Internal:8000", "a.lab.example", "b.a.lab.example:1"]
FOREIGN = [
    *("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"),
    *("192.168.0.1", "lab.example", "evillab.example", "0.0.0.0", "127.0.0.2", "[::2]", "*", "2130706433", "a" * 5000),
]  # fmt: skip
NO_NAMES = [
    *("localhost@evil.example", "::1", "evil.example#localhost", "localhost,evil.example", "[::1]x", "", ":8000"),
    *("model.internal:80:80", "localhost:80:80", "localhost:999999", "localhost:x"),
    *("model.internal/", "\xe9.example", "[localhost"),
]  # fmt: skip


@pytest.mark.parametrize("host", [*OWN, *NAMED])
def test_the_services_own_names_are_let_in(loopback: Service, host: str) -> None:
    assert asked_as(loopback, host) == 200


@pytest.mark.parametrize(("host", "expected"), [*((one, 403) for one in FOREIGN), *((one, 400) for one in NO_NAMES)])
def test_other_names_are_refused(loopback: Service, host: str, expected: int) -> None:
    """DNS rebinding: a page's own name that points to this machine."""
    head = f"GET /info HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")
    assert loopback.raw(head).split(b" ", 2)[1] == b"%d" % expected


def test_each_of_several_names_must_be_right(loopback: Service) -> None:
    for hosts in (["localhost", "evil.example"], ["evil.example", "localhost"]):
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        answer = loopback.raw(f"GET /info HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert answer.split(b" ", 2)[1] == b"400"


def test_nothing_is_done_for_a_foreign_name(plain: Service) -> None:
    for method, path in [("POST", "/predict"), ("GET", "/ready"), ("GET", "/metrics"), ("GET", "/docs"), ("GET", "/"),
                         ("GET", "/openapi.json"), ("DELETE", f"/status/{'0' * 36}"), ("GET", "/nowhere")]:  # fmt: skip
        found = plain.request(method, path, json=REQUEST, headers={"Host": "evil.example"})
        status, title, description = error_of(found)
        assert (status, title) == (403, "Host not allowed")
        assert "'evil.example'" in description
        assert "ALLOWED_HOSTS" in description
    assert asked_as(plain, "evil.example", "/ping") == 200  # which tells nothing: health checks ask by addresses
    assert not plain.events("verify_input")


def test_the_quick_way_lets_in_no_foreign_name(plain: Service) -> None:
    """It takes requests by their heads alone, and learns the names that are right."""
    for _ in range(3):
        assert plain.predict(REQUEST).status_code == 200
    with socket.create_connection(("127.0.0.1", plain.ports["api"]), timeout=10) as connection:
        for host, status in [("localhost", b"200"), ("localhost", b"200"), ("evil.example", b"403"),
                             ("localhost", b"200"), ("evil.example", b"403")]:  # fmt: skip
            body = b'{"data": {}}'
            head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            answer = connection.recv(65536)
            assert answer.split(b" ", 2)[1] == status


def test_many_ports_behind_a_name_take_no_memory(plain: Service) -> None:
    for port in range(1, 1500, 7):
        assert asked_as(plain, f"localhost:{port}", "/ping") == 200
    assert asked_as(plain, "localhost:1") == 200


def test_elsewhere_any_name_is_right_unless_some_are_named(new_service: Callable[..., Service]) -> None:
    port_settings = {"EXECUTOR": "inline", "API_OPEN": "yes", "API_LISTENS_ON": "192.0.2.1"}
    service = new_service(ALLOWED_HOSTS="", **port_settings)
    service.start("api")
    assert asked_as(service, "ml.example.com") == 200
    named = new_service(ALLOWED_HOSTS="ml.example.com", **port_settings)
    named.start("api")
    assert [asked_as(named, host) for host in ("ml.example.com", "192.0.2.1:80", "localhost")] == [200] * 3
    assert asked_as(named, "evil.example") == 403


# ---- Pages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [
    EVIL, "null", "", "http://localhost:3000", "https://app.example.com.evil.example", "http://app.example.com",
    "https://app.example.com:444", "http://127.0.0.1", "file://", "https://evil.example, https://app.example.com",
])  # fmt: skip
@pytest.mark.parametrize("fixture", ["plain", "loopback"])
def test_a_page_of_another_origin_is_refused(request: pytest.FixtureRequest, fixture: str, origin: str) -> None:
    service: Service = request.getfixturevalue(fixture)
    before = len(service.events("verify_input"))
    for method, path in [
        ("POST", "/predict"),
        ("DELETE", f"/status/{'0' * 36}"),
        ("GET", "/info"),
        ("OPTIONS", "/predict"),
    ]:
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site", "Access-Control-Request-Method": "POST"}
        found = service.request(method, path, json=REQUEST, headers=headers)
        assert error_of(found)[:2] == (403, "Origin not allowed")
        assert "access-control-allow-origin" not in {name.lower() for name in found.headers}
    assert len(service.events("verify_input")) == before


def test_what_a_form_can_send_without_asking_is_refused(plain: Service) -> None:
    """Requests that browsers send to any host without a preflight."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        found = plain.predict(b'{"data": {}}', headers={"Origin": EVIL, "Content-Type": kind})
        assert found.status_code == 403


def test_named_pages_and_the_services_own_are_let_in(plain: Service, loopback: Service) -> None:
    assert loopback.predict(REQUEST, headers={"Origin": "https://app.example.com"}).status_code == 200
    assert plain.predict(REQUEST, headers={"Origin": plain.url}).status_code == 200
    # Behind a proxy that asks by another host; browsers forbid scripts to set this header.
    behind = {"Origin": "https://ml.example.com", "Sec-Fetch-Site": "same-origin"}
    assert plain.predict(REQUEST, headers=behind).status_code == 200
    assert plain.predict(REQUEST).status_code == 200


def test_the_connection_of_a_refused_request_serves_on(plain: Service) -> None:
    body = b'{"data": "' + b"x" * 200_000 + b'"}'
    head = "POST /predict HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", plain.ports["api"]), timeout=10) as connection:
        for origin, status in [(f"Origin: {EVIL}\r\n", b"403"), ("", b"200")]:
            connection.sendall(head.format(origin, len(body)).encode() + body)
            received = b""
            with suppress(TimeoutError):
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
            while len(received.partition(b"\r\n\r\n")[2]) < _length(received):
                received += connection.recv(1 << 20)
            assert received.split(b" ", 2)[1] == status


def _length(answer: bytes) -> int:
    return int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
