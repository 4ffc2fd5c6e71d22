"""The proxy in front of the API: its own errors look like the API's, and both have the same limits."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from tests.e2e.project import Project
from tests.support.ports import free_port
from tests.support.waiting import eventually

BODY = b'{"data": {"a": 1}}'
MOST_BODY = 20_000
CLOSE = b"Host: localhost\r\nConnection: close\r\n"
PING = b"GET /ping HTTP/1.1\r\n" + CLOSE + b"\r\n"
POST = b"POST /predict HTTP/1.1\r\n" + CLOSE
GZIP = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"
PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def launched(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose API can be asked through its proxy and directly."""
    project = new_project(tmp_path_factory.mktemp("proxy"))
    project.use_pipeline("doubling")
    project.set_env(
        COMPOSE_FILE="docker-compose.yml:docker-compose.proxy.yml", PROXY_PORT=str(free_port()),
        MAX_BODY_BYTES=str(MOST_BODY), HEAD_TIMEOUT="2", KEEPALIVE_TIMEOUT="3.5",
    )  # fmt: skip
    project.launch()
    return project


@pytest.fixture(scope="module")
def alone(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The only way in to a project of which nothing else runs."""
    project = new_project(tmp_path_factory.mktemp("alone"))
    project.set_env(
        COMPOSE_FILE="docker-compose.yml:docker-compose.nginx.yml", PROXY_PORT=str(free_port()), CORS_ORIGINS=PAGE
    )
    output = project.compose("up", "--detach", "--no-build", "--no-deps", "nginx")
    assert output.code == 0, output
    wait_for_proxy(project)
    yield project
    project.compose("down", "--timeout", "1")


def wait_for_proxy(project: Project) -> None:
    def answers() -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{url_of(project)}/metrics", timeout=5).status_code == 404
        return False

    eventually(answers, lambda: project.compose("logs", "--tail", "20").out, 30, interval=0.2)


def url_of(project: Project) -> str:
    return f"http://127.0.0.1:{project.env('PROXY_PORT')}"


def exchange(port: int, sent: bytes) -> bytes:
    """What is answered until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        with suppress(ConnectionError):  # it may be refused already
            connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def told(answer: bytes) -> tuple[int, str]:
    """The status of an answer; of an error its title, too."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status == 200:
        return status, ""
    assert re.search(rb"\r\ncontent-type: application/json\r\n", head, re.IGNORECASE), answer
    assert re.search(rb"\r\nx-request-id: \S+", head, re.IGNORECASE), answer
    error = json.loads(body)
    assert set(error) >= {"title", "description"}
    assert error["description"]
    return status, error["title"]


def head_of(size: int, lines: int) -> bytes:
    """A request for /ping whose head has this size; the proxy adds some 150 bytes to it."""
    room = size - len(PING)
    line = b"X: " + b"x" * (room // lines - 5) + b"\r\n"
    return PING[:-2] + line * lines + b"\r\n"


# What is sent, and what both answer.
REQUESTS = {
    "a request": (POST + LENGTH % len(BODY) + BODY, (200, "")),
    "no host": (b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n", (400, "Bad request")),
    "two hosts": (b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + CLOSE + b"\r\n", (400, "Bad request")),
    "a list of hosts": (PING.replace(b"localhost", b"localhost, localhost"), (400, "Bad request")),
    "an empty host": (PING.replace(b"localhost", b""), (400, "Bad request")),
    "a host with a path": (PING.replace(b"localhost", b"localhost/"), (400, "Bad request")),
    "a foreign host": (POST.replace(b"localhost", b"evil.example") + LENGTH % 2 + b"{}", (403, "Host not allowed")),
    "HTTP/1.0 without a host": (b"GET /info HTTP/1.0\r\n\r\n", (200, "")),
    "HTTP/1.0 with two hosts": (b"GET /ping HTTP/1.0\r\nHost: localhost\r\n" + CLOSE + b"\r\n", (400, "Bad request")),
    "HTTP/1.0, chunked": (POST.replace(b"1.1", b"1.0") + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", (400, "Bad request")),
    "HTTP/2.0": (PING.replace(b"1.1", b"2.0"), (505, "HTTP version not supported")),
    "compressed chunks": (POST + CHUNKED.replace(b"chunked", b"gzip, chunked"), (501, "Not implemented")),
    "a compressed body": (POST + GZIP, (415, "Unsupported Content-Encoding")),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", (400, "Bad request")),
    "a length and chunks": (POST + b"Content-Length: 2\r\n" + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n", (400, "Bad request")),
    "no HTTP": (b"nonsense\r\n\r\n", (400, "Bad request")),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400, "Bad request")),
    "a large head": (head_of(65_000, 1), (200, "")),
    "a large head of many lines": (head_of(65_000, 300), (200, "")),
    "a head too large": (head_of(66_000, 1), (431, "Request head too large")),
    "a head of too many lines": (head_of(67_000, 300), (431, "Request head too large")),
    "a head far too large": (head_of(500_000, 1), (431, "Request head too large")),
    "a head of far too many lines": (head_of(500_000, 300), (431, "Request head too large")),
    "a URL too long": (PING.replace(b"/ping", b"/ping?" + b"x" * 70_000), (431, "Request head too large")),
    "the largest body": (POST + LENGTH % MOST_BODY + BODY.ljust(MOST_BODY), (200, "")),
    "a body too large": (POST + LENGTH % (MOST_BODY + 1) + b" " * (MOST_BODY + 1), (413, "Request too large")),
    "a body far too large": (POST + LENGTH % 9_000_000 + b" " * 9_000_000, (413, "Request too large")),
    "chunks too large": (POST + CHUNKED + b"5000\r\n" + b" " * 20_480 + b"\r\n0\r\n\r\n", (413, "Request too large")),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_the_proxy_answers_as_the_api_does(launched: Project, name: str) -> None:
    sent, expected = REQUESTS[name]
    assert told(exchange(launched.api_port, sent)) == expected
    assert told(exchange(int(launched.env("PROXY_PORT")), sent)) == expected


@pytest.mark.parametrize(
    ("sent", "least", "most"),
    [(b"", 1, 4.5), (PING[:20], 1, 4.5), (PING.replace(b"Connection: close\r\n", b""), 2.5, 6)],
    ids=["nothing", "half a head", "nothing after an answer"],
)
def test_the_proxy_is_as_patient_as_the_api(launched: Project, sent: bytes, least: float, most: float) -> None:
    for port in (launched.api_port, int(launched.env("PROXY_PORT"))):
        began = time.monotonic()
        exchange(port, sent)
        assert least < time.monotonic() - began < most


def test_a_stuck_body_is_given_up_by_both(launched: Project) -> None:
    for port in (launched.api_port, int(launched.env("PROXY_PORT"))):
        began = time.monotonic()
        exchange(port, POST + b"Content-Length: 100\r\n\r\n{")
        assert 8 < time.monotonic() - began < 14


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [
        ("GET", "/ping", 503, "Service unavailable"),
        ("POST", "/predict", 503, "Service unavailable"),
        ("GET", "/monitor/", 503, "Service unavailable"),
        ("GET", "/monitor/metrics", 404, "Not found"),
        ("GET", "/metrics", 404, "Not found"),
        ("GET", "/.error", 404, "Not found"),
        ("TRACE", "/ping", 405, "Method not allowed"),
    ],
)
def test_errors_of_the_proxy_itself_look_like_those_of_the_api(
    alone: Project, method: str, path: str, status: int, title: str
) -> None:
    headers = {"Origin": PAGE, "X-Request-Id": "mine-1"}
    answer = requests.request(method, url_of(alone) + path, headers=headers, timeout=15)
    assert (answer.status_code, answer.json()["title"]) == (status, title)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Request-Id"] == "mine-1"
    if status == 503:
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        service = "The monitor" if path.startswith("/monitor") else "The API"
        assert answer.json()["description"] == f"{service} does not answer; try again later."


def test_an_error_of_the_proxy_has_an_id_of_its_own_where_the_client_sends_none(alone: Project) -> None:
    for headers in ({}, {"X-Request-Id": "no id"}):
        answer = requests.get(f"{url_of(alone)}/ping", headers=headers, timeout=15)
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert requests.head(f"{url_of(alone)}/ping", timeout=15).status_code == 503
    other = requests.get(f"{url_of(alone)}/ping", headers={"Origin": "https://other.example"}, timeout=15)
    assert "Access-Control-Allow-Origin" not in other.headers


def test_a_configuration_of_before_still_works(alone: Project) -> None:
    """And the log says what to add to it."""
    path = alone.path / "proxy/nginx.conf"
    text = path.read_text(encoding="utf-8")
    before = re.sub(r"(?m)^ *include /tmp/(limits|errors)-from-env\.conf;.*\n", "", text)
    before = before.replace(
        "    client_body_buffer_size", "    client_header_timeout 15s;\n    client_body_buffer_size"
    )
    before = before.replace("$api_host", "$http_host")
    path.write_text(before, encoding="utf-8")
    try:
        assert alone.compose("restart", "nginx").code == 0
        wait_for_proxy(alone)
        answer = requests.get(f"{url_of(alone)}/monitor/", timeout=15)
        assert (answer.status_code, answer.json()["title"]) == (503, "Service unavailable")
        said = alone.compose("logs", "nginx").out
        for name, block in (("limits", "http"), ("errors", "server")):
            line = f"add the line 'include /tmp/{name}-from-env.conf;' to its {block} block"
            assert line in said
    finally:
        path.write_text(text, encoding="utf-8")
        alone.compose("restart", "nginx")
