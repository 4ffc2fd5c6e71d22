"""Ports and URLs of this machine."""

from __future__ import annotations

import socket

import pytest

from commands.shared import ports
from commands.shared.project import CommandError


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
)
def test_a_url_is_one_that_this_machine_reaches(host: str, url: str) -> None:
    assert ports.url(host, 80) == url


@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize("wanted", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_taken_while_something_listens(listening: str, wanted: str) -> None:
    with socket.create_server((listening, 0)) as server:
        port = server.getsockname()[1]
        assert ports.port_taken(wanted, port)
    assert not ports.port_taken(wanted, port)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(CommandError, match=r"192\.0\.2\.1 is not an address of this machine"):
        ports.port_taken("192.0.2.1", 8000)
