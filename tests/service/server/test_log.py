"""gunicorn's log goes where gunicorn was told, in the form of the log."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from denzel.server import log
from denzel.settings import Settings


@pytest.fixture
def server_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., log.ServerLog]]:
    """Call it with gunicorn's settings."""
    settings = Settings.from_environment({"LOG_FORMAT": "json"})
    monkeypatch.setattr(log, "get_settings", lambda: settings)
    made = []

    def create(**given: Any) -> log.ServerLog:
        config = Config()
        for name, value in given.items():
            config.set(name, value)
        made.append(log.ServerLog(config))
        return made[-1]

    yield create
    for one in made:
        for handler in [found for found in one.error_log.handlers if hasattr(found, "_gunicorn")]:
            one.error_log.removeHandler(handler)
            handler.close()


def test_a_file_of_errors_is_written(
    server_log: Callable[..., log.ServerLog], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "errors.log"
    server_log(errorlog=str(file)).error("to %s", "a file")
    assert json.loads(file.read_text())["message"] == "to a file"
    assert capfd.readouterr().err == ""


def test_syslog_gets_what_stderr_gets(
    server_log: Callable[..., log.ServerLog], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(10)
        made = server_log(errorlog="-", syslog=True, syslog_addr=f"udp://127.0.0.1:{syslog.getsockname()[1]}")
        made.error("to both")
        assert json.loads(capsys.readouterr().err)["message"] == "to both"
        assert b'"message": "to both"' in syslog.recv(65536)
