"""One process under the supervisor: started, watched, told to stop, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import signal
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable

from denzel.log.configure import MARK_VARIABLE
from denzel.processes import ending_of, is_stopped
from denzel.worker import process_state
from denzel.worker.figures import PAGES
from denzel.worker.log import MARK
from denzel.worker.soft_cancel import SIGNAL

log = logging.getLogger("denzel.supervisor")

# A prediction process that is idle looks for messages every second; silent for longer (seconds), it hangs.
_HANGS_AFTER = 5.0
# Seconds after which the callback sender counts as having served; a prediction process has when it was ready.
_HAS_SERVED = 10.0
# How CUDA knows which GPUs a process may see.
_GPU = "CUDA_VISIBLE_DEVICES"


class Child:
    """One process, started again whenever it ends: at once, or in growing pauses while it ends before it has served."""

    def __init__(
        self,
        title: str,
        module: str,
        environment: dict[str, str],
        number: int = 0,
        new_node: Callable[[], str] | None = None,
        on_end: Callable[[str, bool, str, str], Awaitable[None]] | None = None,
        once: bool = False,
        held: bool = False,
    ) -> None:
        self.title = title
        self.number = number
        self.ends = 0  # lives that are over
        self.how_it_ended = ""  # the last one
        self._module = module
        self._environment = environment
        # Only of a prediction process. The broker may still hold what belongs to the name of the life before
        # (RabbitMQ: RESOURCE_LOCKED), so each life has a name of its own.
        self._new_node = new_node
        self.node = ""
        # Gets the token of the life that ended, whether its task is not to blame, how it ended, and the task that ran.
        self._on_end = on_end
        self._once = once  # it is not started again when it has ended
        self._held = held  # it does not load its model yet
        self.state: process_state.ProcessState | None = None
        self.token = ""
        self._page = PAGES.take()  # where it counts
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self.killed = self._blameless = self._again = False

    async def run(self) -> None:
        """Keep the process running until `stop` is called."""
        try:
            await self._run()
        finally:
            PAGES.give_back(self._page)

    async def _run(self) -> None:
        pause = 0.5
        while not self._stopping.is_set():
            began, self.killed, self._blameless = time.monotonic(), False, False
            shared: dict[str, str] = {}
            if self._on_end:
                self.state = process_state.ProcessState.create(self._held)
                self.token = uuid.uuid4().hex
                self.node = self._new_node() if self._new_node else ""
                shared = {**self.state.environment, "DENZEL_TOKEN": self.token, "DENZEL_NODE": self.node}
            try:
                code = await self._live(shared)
                how = "stopped on purpose" if self.killed else ending_of(code)
            except OSError as error:  # too many processes, no memory
                how = f"it could not be started: {error.strerror or error}"
            finally:
                # One that has served is needed: it is some task that ended it, and that is tried only so often.
                served = self.state.has_served if self.state else time.monotonic() - began > _HAS_SERVED
                ran = self.task_id
                at_work = f" while it ran task {ran}" if ran else ""
                state, self.state, self._process = self.state, None, None
                if state:
                    state.close()
            self.ends += 1
            self.how_it_ended = how
            if self._on_end:
                await self._on_end(self.token, self._blameless, how, ran)
            if self._stopping.is_set() or self._once:
                return
            if self._again:
                self._again = False
                continue
            if self.killed or served:
                pause = 0.5
            log.error("%s ended%s (%s); starting it again in %g s", self.title, at_work, how, pause)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(30.0, pause * 2)

    async def _live(self, shared: dict[str, str]) -> int:
        """One life of the process: its exit code."""
        # A pipe of our own: with asyncio's, the process counts as running for as long as a child of its has the pipe.
        source, sink = os.pipe()
        page, page_fds = PAGES.handed_down(self._page)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module,
                env={**os.environ, **self._environment, **shared, **page, MARK_VARIABLE: MARK, "PYTHONUNBUFFERED": "1"},
                pass_fds=[self.state.fd, *page_fds] if self.state else page_fds, stdout=sink, stderr=sink,
            )  # fmt: skip
        except BaseException:
            os.close(source)
            raise
        finally:
            os.close(sink)
        forwarding = asyncio.create_task(self._forward_output(source))
        if self._stopping.is_set():  # told so while the process came into being
            self.signal(signal.SIGTERM)
        code = await self._process.wait()
        await asyncio.wait([forwarding], timeout=0.5)
        forwarding.cancel()
        return code

    async def _forward_output(self, source: int) -> None:
        output = logging.getLogger("denzel.output")
        stream = asyncio.StreamReader(limit=1 << 20)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(source, "rb")
        )
        try:
            while True:
                try:
                    line = await stream.readline()
                except ValueError:  # a line beyond the limit: its parts come next
                    continue
                if not line:
                    return
                ran = self.task_id
                text = line.decode(errors="replace").rstrip("\n")
                output.info("%s", text, extra={"about": ((ran, ""),) if ran else ()})
        finally:
            transport.close()

    @property
    def gpu(self) -> dict[str, str]:
        """What in its environment tells the process which GPU is its own."""
        return {name: value for name, value in self._environment.items() if name == _GPU}

    @property
    def pid(self) -> int:
        """The process id, 0 between two lives."""
        return self._process.pid if self._process else 0

    @property
    def busy_for(self) -> float:
        """Seconds since the pipeline was called, 0 when it is not running."""
        return self.state.busy_for or 0.0 if self.state else 0.0

    @property
    def speed(self) -> tuple[float, float, float]:
        """What `speed_of_all` wants to know of a process."""
        return (*self.state.speed, self.busy_for) if self.state else (0.0, 0.0, 0.0)

    @property
    def version(self) -> str:
        """The version of the model that the process holds; empty where there is none."""
        return self.state.version if self.state else ""

    @property
    def task_id(self) -> str:
        """The task that runs, the first of them when merged; nothing when none does."""
        return self.state.task_id if self.state and self.busy_for else ""

    def runs(self, task_id: str) -> bool:
        """Whether this task runs, and no other with it."""
        return bool(self.state and self.state.runs_alone and self.task_id == task_id)

    @property
    def took_to_start(self) -> float:
        """Seconds that this life took until it served; 0: it does not yet."""
        return self.state.took_to_start if self.state else 0.0

    @property
    def is_at_work(self) -> bool:
        """Whether a prediction process can be expected to run what it has claimed: not if it was frozen while idle."""
        if self.state is None:
            return False
        return self.busy_for > 0 or self.state.silent_for <= _HANGS_AFTER or not is_stopped(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal, if the process runs."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def cancel(self, task_id: str) -> None:
        """Let an exception be raised in this task, if it still runs."""
        if self.state:
            self.state.cancel(task_id)
            self.signal(SIGNAL)

    def kill(self, blameless: bool = False) -> None:
        """End the process on purpose; it is started again.

        Args:
            blameless: not for something that its task has done.
        """
        self.killed, self._blameless = True, blameless
        self.signal(signal.SIGKILL)

    def has_environment(self, names: dict[str, str]) -> bool:
        """Whether the process runs with these variables, as far as they are the service's own."""
        return names.items() <= self._environment.items()

    def start_again(self, environment: dict[str, str]) -> None:
        """Let the process finish its work, end, and start with these variables."""
        self._environment = {**self._environment, **environment}
        self._again = True
        self.signal(signal.SIGTERM)

    def go_on(self) -> None:
        """Let a process that was held load its model."""
        self._held = False
        if self.state:
            self.state.go_on()

    def stop(self) -> None:
        """Let the process finish its work and end."""
        self._stopping.set()
        self.signal(signal.SIGTERM)

    def report(self) -> tuple[str, str | None]:
        """The state for /ready, and the error behind it."""
        if self.state is None:
            return "UNAVAILABLE", f"{self.title} has ended and is being started again"
        if self.state.state == process_state.ERROR:
            return "ERROR", self.state.error
        if self.state.state == process_state.LOADING:
            return "LOADING", None
        if self.state.state == process_state.DISCONNECTED:
            return "UNAVAILABLE", "the broker is out of reach"
        if self.state.busy_for is None and self.state.silent_for > _HANGS_AFTER:
            return "UNAVAILABLE", f"{self.title} does not look for messages"
        if self.busy_for and is_stopped(self.pid):
            return "UNAVAILABLE", f"{self.title} has been stopped from outside (SIGSTOP)"
        return "UP", None


def gpu_of(index: int, count: int) -> dict[str, str]:
    """The environment in which the prediction process of this index sees one of `count` GPUs, and only that."""
    if not count:
        return {}
    visible = os.environ.get(_GPU) or ",".join(map(str, range(count)))
    devices = visible.split(",")
    return {_GPU: devices[index % len(devices)]}


def versions_of(children: Iterable[Child]) -> dict[str, str]:
    """What a heartbeat tells of the models that serve: their version; both, while one takes over from another."""
    found = {child.version for child in children if child.report()[0] == "UP"} - {""}
    return {"model_version": ", ".join(sorted(found))} if found else {}
