"""A receiver of callbacks that counts them, as a process beside the measurement."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator

from paths import HERE
from processes import free_port


@contextlib.contextmanager
def receiving() -> Iterator[int]:
    """The receiver, for as long as the block lasts; its port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, HERE / "sink.py", str(port)])
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                delivered(port)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def delivered(port: int) -> int:
    """How many callbacks have come so far."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/")
    count = int(connection.getresponse().read())
    connection.close()
    return count


def wait_for_silence(port: int) -> None:
    """Wait until no callback has come for a second."""
    count = -1
    while count != (now := delivered(port)):
        count = now
        time.sleep(1)
