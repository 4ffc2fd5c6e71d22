"""`make demo`: the template at work on a machine that has Python and make, and nothing else.

Bakes the Iris example into a temporary folder, installs what it needs, starts its four services as plain
processes, asks for predictions synchronously and asynchronously, shows what comes, and stops everything. With
KEEP=1 (or --keep) it goes on serving until Ctrl-C. The exit code is 0 only if every answer was the expected one.

Needs Cookiecutter. The example's packages are kept beside it for the next time, in this environment's folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parent
EXAMPLE = "two_flowers"
START, CALLBACK, STOP = 180.0, 30.0, 10.0  # seconds


class DemoError(Exception):
    """Something did not go as it should; the text says what."""


def main(arguments: list[str]) -> int:
    """Run the demo."""
    unknown = set(arguments) - {"--keep", "KEEP=1", "KEEP=0", "KEEP="}
    if unknown:
        print(f"usage: make demo [KEEP=1], not {' '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="denzel-demo-", ignore_cleanup_errors=True) as folder:
            demonstrate(Path(folder), keep=bool({"--keep", "KEEP=1"} & set(arguments)))
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    except Exception as error:
        if not isinstance(error, DemoError) and type(error).__name__ != "CommandError":
            raise
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


NEXT = f"""
To look around while it serves:   make demo KEEP=1
To make a project of your own:    cookiecutter {shlex.quote(str(REPOSITORY))}"""


def demonstrate(folder: Path, keep: bool) -> None:
    """Everything from baking to stopping, in this folder."""
    step("Bake the Iris example")
    project = bake(folder)
    commands = project_commands(project)

    step("Install what it needs (kept for the next time)")
    install(project, commands)

    step("Start redis, api, denzel and monitor, without Docker: make dev")
    example = json.loads((project / "app" / "assets" / "examples" / f"{EXAMPLE}.json").read_text(encoding="utf-8"))
    arrivals: queue.Queue[Any] = queue.Queue()
    secret = commands.env.read_env()["CALLBACK_SECRET"]
    with (
        commands.inbox.receiving(arrivals.put, secret) as port,
        serving(project, commands, callback_allow=f"127.0.0.1:{port}") as dev,
    ):
        ask_synchronously(dev["api_url"], example, commands)
        ask_asynchronously(dev["api_url"], example, commands, f"http://127.0.0.1:{port}/iris", arrivals)
        if keep:
            step("Where it is")
            password = commands.env.read_env()["MONITOR_PASSWORD"]
            print(f"API      {dev['api_url']}   (POST /predict, GET /status/<task id>, /info, /ping, /ready)")
            print(f"Monitor  {dev['monitor_url']}   (user admin, password {password})")
            print(f"Project  {project}\n\nServing until Ctrl-C; the project's folder goes with it.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                wait_for_the_end(dev["make"])
        step("Stop everything")
    print("Stopped; nothing is left running.")
    if not keep:
        print(NEXT)


# -------------------------------------------------------------------------------------------- the steps


def bake(folder: Path) -> Path:
    """Bake the project with Cookiecutter, apart from the user's own configuration of it."""
    configuration = folder / "cookiecutter.yml"
    configuration.write_text(json.dumps({"replay_dir": str(folder), "cookiecutters_dir": str(folder)}))
    answers = ["project_name=Iris Classifier", "example=iris", "response=sync"]
    print(f"$ cookiecutter --no-input {REPOSITORY} {' '.join(map(quoted, answers))}")
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(configuration)]
    done = subprocess.run(
        [*command, "--output-dir", str(folder), str(REPOSITORY), *answers],
        env={**os.environ, "TMPDIR": str(folder)},  # where it leaves the hooks that it ran
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"Cookiecutter failed:\n{done.stdout}")
    return folder / "iris_classifier"


def project_commands(project: Path) -> SimpleNamespace:
    """The modules behind the project's own make targets."""
    sys.path.insert(0, str(project))
    sys.dont_write_bytecode = True
    from commands.local import embedded_redis, install, processes, venv
    from commands.service import receiver
    from commands.shared import env, http, inbox, ports, running, screen
    from commands.shared import project as base
    from denzel import examples

    return SimpleNamespace(
        embedded_redis=embedded_redis,
        env=env,
        examples=examples,
        http=http,
        inbox=inbox,
        install=install,
        ports=ports,
        processes=processes,
        project=base,
        receiver=receiver,
        running=running,
        screen=screen,
        venv=venv,
    )


def install(project: Path, commands: SimpleNamespace) -> None:
    """Fill the project's .venv, which lies where the next demo finds it again."""
    if sys.prefix == sys.base_prefix:
        commands.install.ensure_installed()
        return
    cache = Path(sys.prefix) / "demo" / "python{}.{}".format(*sys.version_info[:2])
    cache.mkdir(parents=True, exist_ok=True)
    (project / ".venv").symlink_to(cache)
    with open(cache.with_name(f"{cache.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two demos share the folder
        commands.install.ensure_installed()
    print(f"Installed in {cache}")


@contextlib.contextmanager
def serving(project: Path, commands: SimpleNamespace, callback_allow: str) -> Iterator[dict[str, Any]]:
    """`make dev` until the block ends: its URLs, and its process as "make"."""
    commands.env.update_env(CALLBACK_ALLOW=callback_allow)
    # what is set by the make around it is not the demo's
    others = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "KEEP"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment["PYTHON"] = commands.venv.base_python()
    api_port, monitor_port = commands.embedded_redis.free_port(), commands.embedded_redis.free_port()
    while monitor_port == api_port:
        monitor_port = commands.embedded_redis.free_port()
    # ends with this process, should that be killed
    command = commands.processes.command(["make", "dev", f"API_PORT={api_port}", f"MONITOR_PORT={monitor_port}"])
    with subprocess.Popen(
        command,
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as make:
        assert make.stdout
        last_lines: deque[str] = deque(maxlen=40)
        threading.Thread(target=relay, args=(make.stdout, last_lines), daemon=True).start()
        try:
            wait_until_ready(commands, make, api_port, last_lines)
            yield {**commands.running.running_dev(), "make": make}
        finally:
            with uninterrupted():
                stop(make, commands, [api_port, monitor_port])


def wait_until_ready(commands: SimpleNamespace, make: subprocess.Popen[str], port: int, lines: deque[str]) -> None:
    """Wait until the service can predict."""
    started = time.monotonic()
    deadline = started + START
    while True:
        with contextlib.suppress(commands.project.CommandError):
            if commands.http.send(f"http://127.0.0.1:{port}/ready", timeout=2).status == 200:
                print(f"Ready after {time.monotonic() - started:.1f} s")
                return
        if make.poll() is not None or time.monotonic() > deadline:
            what = "make dev ended" if make.poll() is not None else f"Not ready within {START:.0f} s"
            raise DemoError("\n".join([f"{what}. Its last lines:", *lines]))
        time.sleep(0.1)


def relay(stream: Any, last_lines: deque[str]) -> None:
    """Keep the last lines of `make dev`, and show what it says itself, which is not the services' log."""
    for line in stream:
        last_lines.append(line.rstrip())
        name, bar, text = line.partition(" | ")
        if not bar or (name.strip() == "dev" and not text.startswith(("  ", "Ready", "Stopped"))):
            print(text or line, end="", flush=True)


def ask_synchronously(url: str, example: dict[str, Any], commands: SimpleNamespace) -> None:
    """Two predictions in one request, answered at once."""
    step("Ask for two predictions: the answer comes at once")
    print(f"POST {url}/predict\n{commands.http.pretty(example['request'])}\n")
    answer = commands.http.send(f"{url}/predict", example["request"])
    print(commands.http.shown(answer))
    check(commands, example["response"], answer.json())


def ask_asynchronously(
    url: str, example: dict[str, Any], commands: SimpleNamespace, callback_uri: str, arrivals: queue.Queue[Any]
) -> None:
    """The same, answered with a task id; the predictions come to the callback_uri."""
    step("Ask again, asynchronously: a task id comes at once, the predictions to the callback_uri")
    request = {**example["request"], "callback_uri": callback_uri}
    print(f"POST {url}/predict\nPrefer: respond-async\n{commands.http.pretty(request)}\n")
    answer = commands.http.send(f"{url}/predict", request, {"Prefer": "respond-async"})
    print(commands.http.shown(answer))
    task_id = ((answer.json() or {}).get("data") or {}).get("task_id")
    if not task_id:
        raise DemoError("This is no asynchronous answer.")

    print("\nThe callback, as it arrived:", end="")
    try:
        arrival = arrivals.get(timeout=CALLBACK)
    except queue.Empty:
        status = commands.http.send(f"{url}/status/{task_id}")
        raise DemoError(f"none within {CALLBACK:.0f} s. {commands.http.shown(status)}") from None
    print(commands.receiver.shown(arrival))
    check(commands, example["response"], json.loads(arrival.body))
    if arrival.headers.get("Webhook-Id") != task_id or arrival.signature != "valid":
        raise DemoError(f"The callback should carry the task's id and a valid signature ({arrival.signature}).")

    print(f"\nGET {url}/status/{task_id}")
    print(commands.http.shown(status_after_delivery(f"{url}/status/{task_id}", commands)))


def status_after_delivery(url: str, commands: SimpleNamespace) -> Any:
    """The task's status, once the sender has noted that the callback was taken; it notes that after we got it."""
    deadline = time.monotonic() + 5
    while True:
        answer = commands.http.send(url)
        callback = (answer.json() or {}).get("callback") or {}
        if callback.get("state") == "delivered" or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


def check(commands: SimpleNamespace, expected: Any, found: Any) -> None:
    """Whether the answer is the example's."""
    if differences := list(commands.examples.differences(expected, found)):
        raise DemoError("\n  ".join(["Not what the example expects:", *differences]))
    print(commands.screen.colour("As expected.", "green"))


def stop(make: subprocess.Popen[str], commands: SimpleNamespace, ports: list[int]) -> None:
    """SIGTERM to make, and make sure that nothing listens any more."""
    if make.poll() is None:
        make.terminate()
    try:
        make.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(make.pid, signal.SIGKILL)
        raise DemoError(f"make dev did not stop within {STOP:.0f} s and was killed.") from None
    if left := [port for port in ports if commands.ports.port_taken("127.0.0.1", port)]:
        raise DemoError(f"Something still listens on {left}.")


# ---------------------------------------------------------------------------------------------- helpers


def step(title: str) -> None:
    """A heading."""
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(f"\n\033[1m== {title}\033[0m" if bold else f"\n== {title}", flush=True)


def quoted(word: str) -> str:
    """An answer as one would type it."""
    name, _, value = word.partition("=")
    return f'{name}="{value}"' if " " in value else word


def wait_for_the_end(make: subprocess.Popen[str]) -> None:
    """Wait for Ctrl-C, or for `make dev` to end by itself."""
    make.wait()
    raise DemoError("make dev ended by itself.")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a second Ctrl-C wait until everything is stopped."""
    old = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
