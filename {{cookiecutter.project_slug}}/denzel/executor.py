"""The one interface between the API and what runs the model: the queue, or the API process itself (inline)."""

from __future__ import annotations

import hashlib
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from denzel.timings import UNKNOWN, CallTimes

# Seconds for which an idempotency key stands for the same task.
IDEMPOTENCY_EXPIRES = 86_400


def mark_of(key: str) -> str:
    """What is kept of a client's idempotency key: its digest."""
    return hashlib.sha256(key.encode()).hexdigest()


class Unavailable(Exception):
    """Tasks cannot be accepted or looked up at the moment; the message says why."""


class NotTaken(Unavailable):
    """The same, where it is certain that nothing was accepted."""


class QueueFull(Exception):
    """So much waits already that a task is not let in; the message says why.

    Attributes:
        retry_after: whole seconds after which its client should try again.
        when: the same in words.
    """

    def __init__(self, message: str, retry_after: int = 1, when: str = "later") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.when = when


@dataclass(slots=True)
class Task:
    """A verified request on its way.

    Attributes:
        id: the task's id, a UUID.
        request: what `verify_input` returned, as JSON.
        mode: "live" follows the live response setting; "sync" or "async" were asked for by the client.
        wait: seconds for which the client of a "sync" task waits.
        callback_uri: where the answer of an asynchronous task goes, if anywhere.
        reply_to: where the executor wants its reply.
        kept: its result lives as long as that of an asynchronous task, however it is answered.
        mark: what a request that is kept is known by when it comes again: the digest of its Idempotency-Key.
        awaited: the client wants the outcome, if that comes in time.
        origin: where it comes from (`denzel.origin`), as it travels.
        verify: seconds that `verify_input` took; None: not known.
        fault: what it is suspected of, as it ran in a process that died: "alone" (it must run alone from now), or
            "death" (it did, and the process died of it).
    """

    id: str
    request: bytes
    mode: str
    callback_uri: str | None
    wait: float | None = None
    reply_to: str = ""
    kept: bool = False
    awaited: bool = True
    fault: str = ""
    origin: str = ""
    verify: float | None = None
    mark: str = ""


@dataclass(slots=True)
class Outcome:
    """How a task ended.

    Attributes:
        status: SUCCESS, FAILURE or REVOKED.
        payload: JSON: the predictions of a SUCCESS, else the message as a string.
        model: the version of the model that answered; empty where it has none, or none has.
        times: of the call that its task ran in.
    """

    status: str
    payload: bytes
    model: str = ""
    times: CallTimes = field(default=UNKNOWN, compare=False)


# Instead of an outcome: nobody waits for this task; or somebody has, for long enough, and the work goes on.
ACCEPTED = Outcome("ACCEPTED", b"")
RAN_OUT = Outcome("RAN_OUT", b"")
# Instead of an outcome: the client has gone, and will not be told anything.
GONE = Outcome("GONE", b"")


# Gets the predictions, the version of the model, and the times of the call.
Tell = Callable[[bytes, str, CallTimes], None]


class Executor(Protocol):
    """Accepts tasks and tells how they ended. All methods run on the event loop and never block it.

    Attributes:
        ending: this process is to end, nobody should wait in it any longer.
    """

    ending: bool

    async def start(self) -> None:
        """Make ready; called once in each API process, on its event loop."""

    async def stop(self) -> None:
        """Let go of connections; called once, after the last request."""

    async def submit(self, task: Task) -> Outcome:
        """Accept a task for good and, where it is synchronous and awaited, wait.

        Returns: its outcome, or ACCEPTED, RAN_OUT, GONE.

        Raises:
            QueueFull, Unavailable: the task was not accepted; a synchronous one neither where no model can be loaded.
        """

    def begin(self, task: Task, tell: Tell | None) -> Future[Outcome] | None:
        """Hand over a synchronous task at once, where that takes no waiting; None where it has to be submitted.

        Either `tell` is called with its predictions, the version of the model and the times of the call; or the future
        returned ends, whose outcome (of any kind that `submit` returns or raises) is for `finish` to tell.
        """

    async def finish(self, task: Task) -> Outcome:
        """The outcome of a task that has begun; the same as of `submit`."""

    def withdraw(self, task_id: str) -> None:
        """Its client has gone: end its wait. A task that has not begun never will, if its answer is promised to nobody.

        A client that was given the task's id, or that may ask again with its Idempotency-Key, has been promised it.
        """

    def end_waits(self) -> None:
        """This process is to end: let every wait run out now, as far as its task can be polled elsewhere."""

    async def status(self, task_id: str) -> dict[str, Any] | None:
        """The body of /status, None when the task is unknown. Raises Unavailable."""

    async def cancel(self, task_id: str) -> str | None:
        """Cancel a task: the status it had, None when unknown. Raises Unavailable."""

    async def reserve(self, key: str, digest: str, task_id: str, accepted: bool = False) -> tuple[str, str]:
        """Bind an idempotency key to a task id and a request's digest, unless it is bound; what it is bound to now.

        It stays bound once the task is accepted; `accepted` says that it is.
        """

    async def release(self, key: str, task_id: str) -> None:
        """Let an idempotency key go whose task was refused; unless the task is there. Raises Unavailable."""

    async def response_timeout(self) -> float:
        """The live response setting in seconds; 0 means asynchronous. Raises Unavailable."""

    async def readiness(self) -> dict[str, Any]:
        """The body of /ready: ready, reason, workers, queue. Never raises."""
