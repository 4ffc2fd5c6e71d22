"""The services of a `make dev`: started, kept running, announced, stopped."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import math
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import IO, Any

from commands.local import embedded_redis, processes
from commands.local.dev_edits import Watch, dev_place, in_short, in_thread, take_up
from commands.local.dev_log import LOG_FILE, Log
from commands.local.dev_redis import DATA, Redis
from commands.local.venv import VENV
from commands.shared import advice, client_key, limits, redis_data
from commands.shared.env import project_name
from commands.shared.ports import url
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.readiness import fetch_ready
from commands.shared.running import DEV_FILE, write_marker
from commands.shared.screen import say
from commands.shared.waiting import growing, wait_for
from denzel.edits import Edits

PROCFILE = ROOT / "Procfile"
LONGEST_LINE = 16_384  # bytes; a longer one is cut into several
LAST_LINES = 15  # of a service that ended, shown again then

REDIS_START = 15.0  # seconds for the embedded Redis to load its data
STOP_SERVICES, STOP_REDIS = 2.5, 1.0  # seconds to end by themselves; 5 in all
BACKOFF, LONGEST_BACKOFF = 1.0, 30.0  # seconds before a service is started again; who has run longer, begins anew


def read_procfile(path: Path = PROCFILE) -> dict[str, str]:
    """The commands of a Procfile by name, in its order."""
    services = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, colon, command = line.partition(":")
        if colon and not name.lstrip().startswith("#"):
            services[name.strip()] = command.strip()
    return services


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
            name: collections.deque(maxlen=LAST_LINES) for name in self.services
        }
        self.tasks: list[asyncio.Task[None]] = []
        self.stop = asyncio.Event()
        self.started = time.time()
        self.announced = False  # whether the marker is there
        self.reason = ""
        self.log = Log(LOG_FILE, max(map(len, self.services)))

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        environment = {
            **settings,
            "PATH": os.pathsep.join([str(VENV / "bin"), settings.get("PATH", os.defpath)]),
            "VIRTUAL_ENV": str(VENV),
            "PYTHONUNBUFFERED": "1",
            "API_LISTENS_ON": "",
            "API_KEYS_FILE": str(client_key.FILE),
            "PROJECT_SLUG": project_name(settings),
            "API_BIND": f"{bracketed}:{self.ports['API_PORT']}",
            "MONITOR_BIND_HOST": "127.0.0.1",
            "MONITOR_PORT": str(self.ports["MONITOR_PORT"]),
            "MONITOR_URL": settings.get("MONITOR_URL") or f":{self.ports['MONITOR_PORT']}",
            "READY_FILE": str(MARKERS / "ready"),
            "DIRECT_FOLDER": str(MARKERS / "direct"),
            # the supervisor ends its processes in time to give back what they were at
            "STOP_GRACE": f"{STOP_SERVICES - 1:g}",
            "REDIS_CAUSE": str(MARKERS / "redis-cause"),
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
                REDIS_MAXMEMORY=limits.data_of_dev(),
            )
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
                    self._write_marker()
                    self.announced = True
                    for name in services:
                        self._watch(self._keep(name))
                    self._watch(self._announce())
                    self._watch(self._watch_edits())
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

    def _write_marker(self) -> None:
        """Say where everything is, for the commands."""
        write_marker(
            DEV_FILE,
            api_url=self.api_url,
            monitor_url=self.monitor_url,
            redis_url=self.redis.url,
            services=list(self.services),
            started=self.started,
            pids={name: process.pid for name, process in self.running.items()},
        )

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
        pauses = growing(BACKOFF, LONGEST_BACKOFF)
        while not self.stop.is_set():
            started = time.monotonic()
            code = await self._run_once(name)
            if self.stop.is_set():
                return
            lived = time.monotonic() - started
            if lived > LONGEST_BACKOFF:
                pauses = growing(BACKOFF, LONGEST_BACKOFF)
            pause = next(pauses)
            lines = [f"{name} ended ({_ending(code)}) after {lived:.0f} s. Its last lines:"]
            lines += [f"    {line}" for line in self.last_lines[name]] or ["    (it said nothing)"]
            self.log.note("\n".join([*lines, f"Starting {name} again in {pause:.0f} s"]))
            await asyncio.sleep(pause)

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
        if self.announced:
            self._write_marker()
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
        answers = False

        def look() -> str | None:
            nonlocal answers
            answers = embedded_redis.answers(self.redis.port, self.redis.password)
            ended = self.last_lines["redis"] and "redis" not in self.running
            return None if answers or ended or self.stop.is_set() else ""

        await asyncio.to_thread(wait_for, look, REDIS_START, pauses=itertools.repeat(0.05))
        if answers or self.stop.is_set():
            return
        self.reason = f"{self.redis.server.version} does not start, see above."
        if cause := redis_data.problem("\n".join(self.last_lines["redis"])):
            self.reason += f"\n{cause}"
        self.stop.set()

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

    # -- edits

    async def _watch_edits(self) -> None:
        """Take up edits of the project's code and assets."""
        watch = await asyncio.to_thread(lambda: Watch(Edits(ROOT)))
        loop = asyncio.get_running_loop()
        place = dev_place(
            self.api_url,
            lambda: {name: process.pid for name, process in self.running.items()},
            lambda name: "\n".join(self.last_lines[name]),
            lambda line: loop.call_soon_threadsafe(self.log.note, line),
        )
        while not self.stop.is_set():
            await asyncio.sleep(watch.pause)
            was_ignored = watch.ignored
            if paths := await asyncio.to_thread(watch.look):
                self.log.note(f"{in_short(paths)} changed: taking up the code in app/ while the service runs")
                try:
                    self.log.note(await in_thread(lambda: take_up(place, self.services)))
                except CommandError as error:
                    if not self.stop.is_set():
                        self.log.note(str(error))
            if watch.ignored and not was_ignored:
                self.log.note(
                    f"{watch.ignored} changes again and again, so the service writes it: app/assets is watched no "
                    "longer. make restart takes up what you change there."
                )

    # -- telling

    async def _announce(self) -> None:
        """Say what is waited for, and, once the service is ready, where it is."""
        started, loop = time.monotonic(), asyncio.get_running_loop()
        await asyncio.to_thread(
            wait_for,
            self._waiting_for,
            tell=lambda line: loop.call_soon_threadsafe(self._explain, line),
            again=math.inf,  # an error stays until its file is corrected, which may take hours
        )
        if self.stop.is_set():
            return
        lines = [
            f"Ready after {time.monotonic() - started:.1f} s",
            f"  API      {self.api_url}   (try it: make predict)",
            f"  Monitor  {self.monitor_url}   (user admin, password: MONITOR_PASSWORD in .env)",
            f"  Redis    {self.redis}",
            "  Ctrl-C stops everything.",
        ]
        self.log.note("\n".join(line for line in lines if "Monitor" not in line or "monitor" in self.services))

    def _waiting_for(self) -> str | None:
        """What the service waits for, None once it is ready or stops; empty while the API does not answer."""
        document = (None if self.stop.is_set() else fetch_ready(self.api_url)) or {}
        if document.get("ready") or self.stop.is_set():
            return None
        return str(document.get("reason") or "")

    def _explain(self, line: str) -> None:
        if self.stop.is_set():
            return
        self.log.note(line)
        if hint := advice.for_dev(line):
            self.log.note(advice.sentence(hint))


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
