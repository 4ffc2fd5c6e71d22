"""A RabbitMQ of a test's own, where its program is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.waiting import eventually

# Debian's program on PATH changes to another user; this is RabbitMQ's own.
PROGRAM = shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin{os.pathsep}{os.environ['PATH']}")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its address; its data lies in the folder."""
    assert PROGRAM
    port = free_port()
    environment = {
        **os.environ,
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"denzel{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "flags"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
    }
    log = folder / "out.log"
    with log.open("wb") as out:
        process = subprocess.Popen([PROGRAM], env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        eventually(lambda: "completed with" in log.read_text(), lambda: log.read_text()[-2000:], timeout=60)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
