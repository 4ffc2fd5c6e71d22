"""What `make launch` says of ports that are taken."""

from __future__ import annotations

import socket

import pytest

from commands.containers import launch
from commands.shared.project import CommandError

ADVICE = "Pass an available port using {name}"


def test_the_port_of_a_make_dev_in_this_folder_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "proxy_place", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        place = {"API_HOST": "127.0.0.1", "API_PORT": str(number), "MONITOR_PORT": "1"}
        dev = {"api_url": f"http://127.0.0.1:{number}", "monitor_url": "http://127.0.0.1:1"}
        monkeypatch.setattr(launch, "running_dev", lambda: dev)
        with pytest.raises(CommandError) as raised:
            launch.check_free(place, ADVICE)
        assert str(raised.value) == (
            f'Port {number} is that of this folder\'s "make dev": end that by Ctrl-C in its terminal, or: '
            "Pass an available port using API_PORT."
        )
        monkeypatch.setattr(launch, "running_dev", lambda: None)
        with pytest.raises(
            CommandError, match=rf"^Port {number} is already taken! Pass an available port using API_PORT"
        ):
            launch.check_free(place, ADVICE)
