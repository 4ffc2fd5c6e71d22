"""`make dev`: the four services of the Procfile as plain processes of this machine, with one log.

What is guaranteed:
- Ctrl-C, SIGTERM to make or a closed terminal stop everything within 5 seconds; nothing survives, not even
  when this process is killed with -9 (commands/local/processes.py).
- A service that dies is reported with its last lines and started again, after 1 second, doubling to 30, as
  its container would be. Only a Redis that never comes up ends `make dev`.
- A terminal that does not read (Ctrl-S) never holds up the services: lines are left out instead.
- `.denzel/dev.json` says where everything is while it runs; `.denzel/dev.log` holds the log, at most twice
  LOG_BYTES with its predecessor `.denzel/dev.log.1`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import fcntl
import ipaddress
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from commands.local import embedded_redis, processes
from commands.local.install import VENV, ensure_installed
from commands.shared import advice, checks
from commands.shared.arguments import address, parse_arguments, port
from commands.shared.docker import containers
from commands.shared.env import read_env
from commands.shared.ports import port_taken, url
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.running import DEV_FILE, running_dev, write_marker
from commands.shared.screen import colour, say, warn

PROCFILE = ROOT / "Procfile"
DATA = MARKERS / "redis"
LOG_FILE = MARKERS / "dev.log"
LOG_BYTES = 5_000_000
LONGEST_LINE = 16_384

REDIS_START = 15.0  # seconds for the embedded Redis to load its data
STOP_SERVICES, STOP_REDIS = 2.5, 1.0  # seconds to end by themselves; 5 in all
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0
_COLOURS = {"redis": "red", "api": "cyan", "denzel": "green", "monitor": "magenta", "dev": "yellow"}


def run(arguments: list[str]) -> int:
    """Serve until a signal; the exit code is 0 when it was stopped and 1 when it could not serve."""
    options = parse_arguments(arguments, {"API_PORT": "", "MONITOR_PORT": ""})
    checks.folder_is_right()
    settings = _settings()
    checks.settings_are_right(settings)
    host = address(settings.get("API_HOST") or "127.0.0.1", "API_HOST")
    ports = {
        "API_PORT": port(options["API_PORT"] or settings.get("API_PORT") or 8000, "API_PORT"),
        "MONITOR_PORT": port(options["MONITOR_PORT"] or settings.get("MONITOR_PORT") or 5555, "MONITOR_PORT"),
    }
    with _only_one() as lock:
        _check_ports(host, ports)
        if not ipaddress.ip_address(host).is_loopback:
            warn(f"API_HOST={host}: the API is open to your network, without authentication.")
        ensure_installed()
        checks.no_package_is_shadowed()
        redis = _choose_redis(settings)
        return asyncio.run(Dev(settings, host, ports, redis, lock).serve())


# ------------------------------------------------------------------------------------------ before the start


def _settings() -> dict[str, str]:
    """The settings of `.env`; as with Compose, a variable of the shell goes before its line there."""
    values = read_env()
    values.update({name: value for name, value in os.environ.items() if value})
    return values


@contextlib.contextmanager
def _only_one() -> Iterator[IO[str]]:
    """Refuse while another `make dev` runs in this folder; give the lock that says so.

    A killed one keeps the lock, by its guard, until the last of its processes is gone.
    """
    MARKERS.mkdir(mode=0o700, exist_ok=True)
    with open(MARKERS / "dev.lock", "w") as lock:
        deadline = time.monotonic() + processes.GRACE + 5
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                dev = running_dev()
                if dev or time.monotonic() > deadline:
                    where = f" (pid {dev['pid']}, {dev['api_url']})" if dev else ""
                    raise CommandError(
                        f"make dev runs in this folder already{where}. Stop it by Ctrl-C in its terminal."
                    ) from None
                time.sleep(0.1)
        yield lock


def _check_ports(host: str, ports: dict[str, int]) -> None:
    if len(set(ports.values())) < len(ports):
        raise CommandError(f"API_PORT and MONITOR_PORT are both {ports['API_PORT']}: they must differ.")
    for variable, number in ports.items():
        if port_taken(host if variable == "API_PORT" else "127.0.0.1", number):
            if any(number in container.ports for found in containers().values() for container in found):
                raise CommandError(
                    f"This project's own containers have port {number}: stop them (make stop), "
                    f"or pass another one: make dev {variable}={number % 65535 + 1}"
                )
            raise CommandError(
                f"Port {number} is already taken! Pass an available one: make dev {variable}={number + 1}"
                if number < 65535
                else f"Port {number} is already taken! Pass an available one by {variable}."
            )


class Redis:
    """The Redis of this run: one that runs already (REDIS_URL), or a server program to start."""

    def __init__(
        self, url: str, server: embedded_redis.Server | None = None, port: int = 0, password: str = ""
    ) -> None:
        self.url, self.server, self.port, self.password = url, server, port, password

    def __str__(self) -> str:
        if self.server:
            return f"127.0.0.1:{self.port} ({self.server.version}, data in {DATA.relative_to(ROOT)})"
        if not self.url:
            return "none (EXECUTOR=inline)"
        parts = urlsplit(self.url)
        return f"{parts.hostname or parts.path}{f':{parts.port}' if parts.port else ''} (REDIS_URL)"


def _choose_redis(settings: dict[str, str]) -> Redis:
    if (given := settings.get("REDIS_URL")) or settings.get("EXECUTOR", "").lower() == "inline":
        return Redis(given or "")
    server = embedded_redis.find_server()
    number, password = embedded_redis.free_port(), settings.get("REDIS_PASSWORD") or secrets.token_urlsafe(18)
    return Redis(embedded_redis.url(number, password), server, number, password)


def read_procfile(path: Path = PROCFILE) -> dict[str, str]:
    """The commands of a Procfile by name, in its order."""
    services = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, colon, command = line.partition(":")
        if colon and not name.lstrip().startswith("#"):
            services[name.strip()] = command.strip()
    return services


# ------------------------------------------------------------------------------------------------ serving


class Dev:
    """One run of `make dev`."""

    def __init__(self, settings: dict[str, str], host: str, ports: dict[str, int], redis: Redis, lock: IO[str]) -> None:
        self.redis = redis
        self.host, self.ports, self.lock = host, ports, lock
        self.api_url, self.monitor_url = url(host, ports["API_PORT"]), url("127.0.0.1", ports["MONITOR_PORT"])
        self.mark = secrets.token_hex(16)
        self.environment = self._environment(settings)
        self.services = read_procfile()
        if not redis.server:
            self.services.pop("redis", None)
        if settings.get("EXECUTOR", "").lower() == "inline":  # the API does everything by itself
            self.services = {"api": self.services["api"]}
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.sessions: set[int] = set()
        self.last_lines: dict[str, collections.deque[str]] = {
            name: collections.deque(maxlen=15) for name in self.services
        }
        self.tasks: list[asyncio.Task[None]] = []
        self.stop = asyncio.Event()
        self.reason = ""
        self.log = Log(LOG_FILE, max(map(len, self.services)))

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        environment = {
            **settings,
            "PATH": os.pathsep.join([str(VENV / "bin"), settings.get("PATH", os.defpath)]),
            "VIRTUAL_ENV": str(VENV),
            "PYTHONUNBUFFERED": "1",
            "PROJECT_SLUG": settings.get("PROJECT_SLUG") or settings.get("COMPOSE_PROJECT_NAME") or ROOT.name,
            "API_BIND": f"{bracketed}:{self.ports['API_PORT']}",
            "MONITOR_BIND_HOST": "127.0.0.1",
            "MONITOR_PORT": str(self.ports["MONITOR_PORT"]),
            "READY_FILE": str(MARKERS / "ready"),
            # the supervisor ends its processes in time to give back what they were at
            "STOP_GRACE": f"{STOP_SERVICES - 1:g}",
            "REDIS_URL": self.redis.url,  # empty means its default
            processes.MARK: self.mark,
        }
        if self.redis.server:
            environment.update(
                REDIS_SERVER=self.redis.server.program,
                REDIS_BIND="127.0.0.1",
                REDIS_PORT=str(self.redis.port),
                REDIS_PASSWORD=self.redis.password,
                REDIS_DIR=str(DATA),
            )
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONHOME"):
            environment.pop(name, None)
        return environment

    async def serve(self) -> int:
        """Start everything, keep it running until a signal, stop everything."""
        self._catch_signals()
        with self._guard() as guard:
            self.guard = guard
            try:
                say(f"Starting {', '.join(self.services)} (Ctrl-C stops them)")
                DATA.mkdir(mode=0o700, exist_ok=True)
                services = list(self.services)
                if self.redis.server:
                    services.remove("redis")
                    self._watch(self._keep("redis"))
                    await self._redis_is_up()
                if not self.stop.is_set():
                    write_marker(
                        DEV_FILE,
                        api_url=self.api_url,
                        monitor_url=self.monitor_url,
                        redis_url=self.redis.url,
                        services=list(self.services),
                    )
                    for name in services:
                        self._watch(self._keep(name))
                    self._watch(self._announce())
                self._watch(self._watch_make())
                await self.stop.wait()
            finally:
                self.stop.set()
                await self._stop_everything()
                for task in self.tasks:
                    task.cancel()
                if self.tasks:
                    await asyncio.wait(self.tasks, timeout=1)
                DEV_FILE.unlink(missing_ok=True)
                (MARKERS / "ready").unlink(missing_ok=True)
        self.log.note("Stopped." if not self.reason else self.reason)
        self.log.close()
        return 1 if self.reason else 0

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; if it fails, that ends everything."""

        def over(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                self.reason = f"{type(error).__name__}: {error}"
                self.stop.set()

        task = asyncio.create_task(work)
        task.add_done_callback(over)
        self.tasks.append(task)

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            loop.add_signal_handler(number, self.stop.set)

    async def _watch_make(self) -> None:
        """Stop when the `make` that runs this is gone: nobody is left to stop it."""
        parent = os.getppid()
        while "MAKELEVEL" in os.environ:
            await asyncio.sleep(0.5)
            if os.getppid() != parent:
                self.stop.set()

    # -- services

    async def _keep(self, name: str) -> None:
        """Run a service, again and again, until everything stops."""
        pause = BACKOFF
        while not self.stop.is_set():
            started = time.monotonic()
            code = await self._run_once(name)
            if self.stop.is_set():
                return
            lived = time.monotonic() - started
            pause = BACKOFF if lived > LONGEST_BACKOFF else pause
            lines = [f"{name} ended ({_ending(code)}) after {lived:.0f} s. Its last lines:"]
            lines += [f"    {line}" for line in self.last_lines[name]] or ["    (it said nothing)"]
            self.log.note("\n".join([*lines, f"Starting {name} again in {pause:.0f} s"]))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_BACKOFF)

    async def _run_once(self, name: str) -> int:
        """Run a service until it ends and nothing of it is left; its exit code."""
        self.last_lines[name].clear()
        # a pipe of our own: with asyncio's, the wait for the process lasts until all of its children close theirs
        source, sink = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *processes.command(["sh", "-c", f"exec {self.services[name]}"]),
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )
        finally:
            os.close(sink)
        self.running[name] = process
        self._track("+", process.pid)
        reader = asyncio.create_task(self._copy(name, source))
        code = await process.wait()
        del self.running[name]
        if not self.stop.is_set():
            # a killed master leaves children that hold its port
            processes.end_survivors("", {process.pid}, 0.3)
            self._track("-", process.pid)  # when everything stops, what is left of it is ended last
        await asyncio.wait([reader], timeout=1)  # a stray child may keep the pipe open
        reader.cancel()
        return code

    def _track(self, sign: str, session: int) -> None:
        (self.sessions.add if sign == "+" else self.sessions.discard)(session)
        with contextlib.suppress(OSError):
            self.guard.write(f"{sign}{session}\n".encode())

    async def _copy(self, name: str, source: int) -> None:
        """Copy a service's output to the log, line by line."""
        stream, rest = asyncio.StreamReader(), b""
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(source, "rb")
        )
        try:
            while part := await stream.read(65_536):
                *lines, rest = (rest + part).split(b"\n")
                while len(rest) > LONGEST_LINE:
                    lines.append(rest[:LONGEST_LINE])
                    rest = rest[LONGEST_LINE:]
                for line in lines:
                    self._line(name, line)
        finally:
            if rest:
                self._line(name, rest)
            transport.close()

    def _line(self, name: str, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").rstrip("\r")
        self.last_lines[name].append(text)
        self.log.line(name, text)

    async def _redis_is_up(self) -> None:
        """Wait until Redis answers; if it ends instead, that ends everything."""
        assert self.redis.server
        deadline = time.monotonic() + REDIS_START
        while not self.stop.is_set():
            if await asyncio.to_thread(embedded_redis.answers, self.redis.port, self.redis.password):
                return
            if (self.last_lines["redis"] and "redis" not in self.running) or time.monotonic() > deadline:
                self.reason = f"{self.redis.server.version} does not start, see above."
                if not any("FATAL CONFIG" in line for line in self.last_lines["redis"]):
                    self.reason += f" If its data is of another version: rm -r {DATA.relative_to(ROOT)}"
                self.stop.set()
                return
            await asyncio.sleep(0.05)

    async def _stop_everything(self) -> None:
        """SIGTERM, then SIGKILL for what ignores it; Redis last, so that the others can store results."""
        others = {name: process for name, process in self.running.items() if name != "redis"}
        await self._end(others, STOP_SERVICES)
        await self._end(dict(self.running), STOP_REDIS)
        processes.end_survivors(self.mark, self.sessions)

    async def _end(self, services: dict[str, asyncio.subprocess.Process], grace: float) -> None:
        for process in services.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in services.values()]
        if waits:
            await asyncio.wait(waits, timeout=grace)
        for name, process in services.items():
            if process.returncode is None:
                self.log.note(f"{name} did not stop within {grace:.0f} s and is killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        if waits:
            await asyncio.wait(waits, timeout=1)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[IO[bytes]]:
        """The process that ends what a killed `make dev` leaves behind; it keeps the lock until then."""
        guard = subprocess.Popen(
            processes.guard_command(self.mark, DEV_FILE),
            stdin=subprocess.PIPE,
            bufsize=0,
            pass_fds=[self.lock.fileno()],
        )
        assert guard.stdin
        try:
            yield guard.stdin
        finally:
            with contextlib.suppress(OSError):
                guard.stdin.close()
            guard.wait()

    # -- telling

    async def _announce(self) -> None:
        """Say what is waited for, and, once the service is ready, where it is."""
        started, said = time.monotonic(), ""
        while True:
            ready, reason = await self._ready()
            if self.stop.is_set():  # Python 3.11's wait_for may swallow a cancellation
                return
            if ready:
                break
            if reason and reason != said:
                said = reason
                self.log.note(f"Not ready yet: {reason}")
                if hint := advice.for_dev(reason):
                    self.log.note(hint[0].upper() + hint[1:])
            await asyncio.sleep(0.3)
        lines = [
            f"Ready after {time.monotonic() - started:.1f} s",
            f"  API      {self.api_url}   (try it: make predict)",
            f"  Monitor  {self.monitor_url}   (user admin, password: MONITOR_PASSWORD in .env)",
            f"  Redis    {self.redis}",
            "  Ctrl-C stops everything.",
        ]
        self.log.note("\n".join(line for line in lines if "Monitor" not in line or "monitor" in self.services))

    async def _ready(self) -> tuple[bool, str]:
        """What GET /ready says; no reason while the API does not answer."""
        try:
            status, answer = await asyncio.wait_for(self._get("/ready"), 2)
            return status == 200, str(answer.get("reason") or "")
        except (OSError, ValueError, asyncio.TimeoutError, AttributeError):
            return False, ""

    async def _get(self, path: str) -> tuple[int, Any]:
        parts = urlsplit(self.api_url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split(b" ", 2)[1]), json.loads(body)
        except IndexError:
            raise ValueError("no HTTP answer") from None
        finally:
            writer.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


# ---------------------------------------------------------------------------------------------------- log


class Log:
    """The services' lines, prefixed by name: in a bounded file, and on stdout as fast as that takes them."""

    def __init__(self, path: Path, width: int) -> None:
        self._path, self._width = path, width
        self._file = path.open("wb")
        self._size = 0
        self._left_out = 0
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=2000)
        self._writer = threading.Thread(target=self._write_stdout, daemon=True)
        self._writer.start()

    def line(self, name: str, text: str) -> None:
        """Add a line of a service."""
        prefix = f"{name:{self._width}} | "
        self._keep(f"{prefix}{text}\n".encode())
        self._show(f"{colour(prefix, _COLOURS.get(name, 'blue'))}{text}\n".encode())

    def note(self, text: str) -> None:
        """Add lines of `make dev` itself."""
        for line in text.splitlines():
            self.line("dev", line)

    def close(self) -> None:
        """Write what waits for stdout, for as long as stdout takes it within half a second."""
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=0.5)
        self._writer.join(0.5)
        self._file.close()

    def _keep(self, line: bytes) -> None:
        if self._size + len(line) > LOG_BYTES:
            self._file.close()
            os.replace(self._path, f"{self._path}.1")
            self._file = self._path.open("wb")
            self._size = 0
        self._file.write(line)
        self._file.flush()
        self._size += len(line)

    def _show(self, line: bytes) -> None:
        try:
            if self._left_out:
                hint = f"... {self._left_out} lines left out, see {self._path.relative_to(ROOT)}\n"
                self._queue.put_nowait(hint.encode())
                self._left_out = 0
            self._queue.put_nowait(line)
        except queue.Full:
            self._left_out += 1

    def _write_stdout(self) -> None:
        """Write to the descriptor itself: nothing is buffered that Python would wait for when it exits."""
        stdout = sys.stdout.fileno()
        try:
            while (line := self._queue.get()) is not None:
                while line:
                    line = line[os.write(stdout, line) :]
        except OSError:  # the terminal or the reader of the pipe is gone
            while self._queue.get() is not None:
                pass
