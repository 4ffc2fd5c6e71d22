"""Each of these tests has the Iris project for itself: callbacks, and how the real services end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.local.running import dev, environment, free_ports, make
from tests.support.ports import free_port
from tests.support.waiting import eventually


def post(url: str, document: dict, **headers: str) -> dict:
    request = urllib.request.Request(f"{url}/predict", json.dumps(document).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_where_nothing_runs_it_says_what_to_start(plain: Path) -> None:
    (plain / "app" / "assets" / "examples" / "one.json").write_text('{"request": {}, "response": {}}')
    done = make(plain, "predict")
    assert done.returncode == 2
    assert re.match(r"The project is not running\b.*make launch.*make dev", done.stderr)
    (plain / "app" / "assets" / "examples" / "one.json").unlink()
    assert "There is none yet: each is a file NAME.json in app/assets/examples/" in make(plain, "predict").stderr


# ------------------------------------------------------------------------------------------ make receiver


class Receiver:
    """A `make receiver`."""

    def __init__(self, project: Path, port: int) -> None:
        self.output = project / f"receiver-{port}.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                ["make", "--no-print-directory", "receiver", f"PORT={port}"],
                cwd=project,
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: "Ctrl-C" in self.text() or self.process.poll() is not None, self.text, 20)

    def text(self) -> str:
        return self.output.read_text()

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(5)


def test_callbacks_are_shown_as_they_arrive(installed: Path) -> None:
    """The receiver says what to allow; with that in .env it gets the callbacks, signed."""
    port = free_port()
    receiver = Receiver(installed, port)
    env = (installed / ".env").read_text()
    try:
        assert f'"callback_uri": "http://127.0.0.1:{port}/"' in receiver.text()
        line = re.search(r"^  (CALLBACK_ALLOW=\S*)$", receiver.text(), re.MULTILINE)
        assert line
        assert f"127.0.0.1:{port}" in line[1]
        (installed / ".env").write_text(re.sub(r"(?m)^CALLBACK_ALLOW=.*$", line[1], env))
        with dev(installed, *free_ports()) as running:
            url = running.wait_until_ready()["api_url"]
            example = json.loads((installed / "app/assets/examples/two_flowers.json").read_text())
            request = {**example["request"], "callback_uri": f"http://127.0.0.1:{port}/here?a=b"}
            task_id = post(url, request, Prefer="respond-async")["data"]["task_id"]
            eventually(lambda: "(signature: valid)" in receiver.text(), receiver.text, 30)
            eventually(lambda: receiver.text().endswith("}\n"), receiver.text, 5)
            arrival = receiver.text().split("POST /here?a=b\n")[1]
            assert f"Webhook-Id: {task_id}" in arrival
            assert "Content-Type: application/json" in arrival
            assert json.loads(arrival[arrival.index("{") :]) == example["response"]

            # the same run shows how real services end when nobody can stop them in order
            os.kill(running.child(" commands dev"), signal.SIGKILL)
            running.assert_gone(5.0)
        again = Receiver(installed, free_port())
        again.stop()
        assert f"CALLBACK_ALLOW={line[1].partition('=')[2]}," in again.text(), "what is allowed stays so"
    finally:
        (installed / ".env").write_text(env)
        receiver.stop()


def test_a_taken_port_of_the_receiver_is_named(installed: Path) -> None:
    receiver = Receiver(installed, free_port())
    try:
        port = int(receiver.output.stem.partition("-")[2])
        done = make(installed, "receiver", f"PORT={port}")
    finally:
        receiver.stop()
    assert done.returncode == 2
    assert done.stderr.startswith(f"Port {port} cannot be used on 127.0.0.1 (Address already in use). ")
    assert f"make receiver PORT={port + 1}" in done.stderr


# ----------------------------------------------------------------------------------------------- the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_real_services_stop_in_time_and_leave_nothing(installed: Path, number: signal.Signals) -> None:
    with dev(installed, *free_ports()) as running:
        url = running.wait_until_ready()["api_url"]
        example = json.loads((installed / "app/assets/examples/two_flowers.json").read_text())
        assert post(url, example["request"]) == example["response"]
        programs = (
            "redis-server",
            "gunicorn",
            "denzel.worker.supervisor",
            "denzel.worker.process",
            "denzel.callbacks",
            "denzel.monitor",
        )
        lines = " ".join(running.processes().values())
        assert all(program in lines for program in programs), lines
        started = time.monotonic()
        if number == signal.SIGTERM:
            running.make.terminate()
        else:
            os.killpg(running.make.pid, number)
        running.assert_gone(5.0)
        assert time.monotonic() - started < 5.0
        assert "dev     | Stopped." in running.text()
