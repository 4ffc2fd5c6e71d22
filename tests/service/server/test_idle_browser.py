"""A browser that connects ahead of its requests, and sends none: it holds up nobody and ends no process.

gunicorn's own worker for one request at a time waits on such a connection, until gunicorn takes it for hung and kills
it: `[CRITICAL] WORKER TIMEOUT`.
"""

from __future__ import annotations

import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.services import Service
from tests.support.waiting import eventually

CHROMIUM = shutil.which("chromium")
TIMEOUT = 2  # seconds after which gunicorn takes a process for hung, here
WARNING = "WORKER TIMEOUT"
# Chromium closes idle connections whenever an interface of the machine comes or goes: then it connects anew.
PAGE = """<script>
setInterval(() => {
    const link = document.createElement("link");
    link.rel = "preconnect";
    link.href = "http://127.0.0.1:PORT";
    document.head.append(link);
}, 500);
</script>"""


@pytest.fixture(autouse=True)
def browser() -> None:
    if CHROMIUM:
        return
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        pytest.fail("chromium is not installed")
    pytest.skip("chromium is not installed")


@contextmanager
def connecting_ahead(port: int, folder: Path) -> Iterator[None]:
    """Within the block Chromium has a page open that lets it connect to this port, and requests nothing there."""
    page = PAGE.replace("PORT", str(port)).encode()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server, (folder / "chromium.log").open("wb") as log:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        switches = "headless no-sandbox disable-gpu disable-dev-shm-usage no-first-run no-proxy-server"
        options = [f"--{name}" for name in (*switches.split(), "remote-debugging-port=0")]
        options.append(f"--user-data-dir={folder / 'profile'}")
        process = subprocess.Popen([CHROMIUM or "", *options, url], stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(lambda: connections_to(port), lambda: (folder / "chromium.log").read_text()[-2000:], 60)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            server.shutdown()


def connections_to(port: int) -> set[int]:
    """The connections of clients to a port of this machine: their own ports."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if state == "01" and int(remote.rpartition(":")[2], 16) == port:
            found.add(int(local.rpartition(":")[2], 16))
    return found


def test_the_api_serves_others_and_no_process_is_taken_for_hung(
    new_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = new_service(EXECUTOR="inline", LOG_LEVEL="debug")
    configuration = service.project / "denzel/server/gunicorn_conf.py"
    text, found = re.subn(r"(?m)^timeout = 60$", f"timeout = {TIMEOUT}", configuration.read_text())
    assert found
    configuration.write_text(text)
    service.start("api")
    with connecting_ahead(service.ports["api"], tmp_path):
        since: dict[int, float] = {}  # connections that are held, each since when

        def held_for_long() -> bool:
            assert service.predict({"a": 1}).status_code == 200
            now, held = time.monotonic(), connections_to(service.ports["api"])
            for number in {*since} - held:
                del since[number]
            return any(now - since.setdefault(number, now) > 2 * TIMEOUT for number in held)

        eventually(held_for_long, lambda: f"one connection is held for {2 * TIMEOUT} s: {since}", 60, interval=0.1)
    assert service.log("api").count("Booting worker") == 1
    assert WARNING not in service.log("api")


def test_this_browser_does_end_a_worker_that_waits_on_its_connection(tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    port, log = free_port(), tmp_path / "gunicorn.log"
    (tmp_path / "simple.py").write_text("def app(environ, start):\n    start('200 OK', [])\n    return [b'ok']\n")
    words = ["-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--timeout", str(TIMEOUT), "simple:app"]
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *words], cwd=tmp_path, stdout=out, stderr=out)
    try:
        eventually(lambda: "Booting worker" in log.read_text(), lambda: log.read_text())
        with connecting_ahead(port, tmp_path):
            eventually(lambda: WARNING in log.read_text(), lambda: log.read_text(), 60)
    finally:
        process.terminate()
        process.wait()
