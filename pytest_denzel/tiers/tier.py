"""What every tier offers: services that are started when they are needed, watched, disturbed, and stopped."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pytest_denzel import messages
from pytest_denzel.project import Project
from pytest_denzel.settings import Settings
from pytest_denzel.tiers.session import Session
from pytest_denzel.waiting import wait_until

__tracebackhide__ = True

# The services in the order in which they need each other.
REDIS, WORKER, API = "redis", "denzel", "api"


class ServiceFailed(Exception):
    """A service did not come up; the message says which one, why, and how its log ends."""


class Tier(ABC):
    """Runs the services of one session in one way.

    The values that the session's processes share (addresses, secrets) are kept in `values`.
    """

    name: str
    services: tuple[str, ...] = (REDIS, WORKER, API)
    # Whether `Chaos` can do its work here.
    can_be_disturbed = False

    def __init__(self, session: Session, project: Project, settings: Settings) -> None:
        self.session = session
        self.project = project
        self.settings = settings
        self.values: dict[str, Any] = {}
        self.tell: Callable[[str], None] = print  # shows a line to whoever waits

    @abstractmethod
    def unavailable(self) -> str | None:
        """Why this machine cannot run the tier, None when it can."""

    @abstractmethod
    def prepare(self) -> None:
        """Fill in `values`, once a session, before the first service starts."""

    @abstractmethod
    def start(self, services: Sequence[str]) -> None:
        """Start these services; returns before they are ready.

        Raises:
            ServiceFailed: one could not be started.
        """

    @abstractmethod
    def discard(self) -> None:
        """Remove all services of the session, also those that `start` was interrupted at; the values stay."""

    @abstractmethod
    def ended(self, services: Sequence[str]) -> str | None:
        """The first of these services that has ended by itself, None when all of them run."""

    @abstractmethod
    def log(self, service: str, since: float | None = None) -> str:
        """The end of what a service has printed; with `since` only what came after that `log_end`."""

    @abstractmethod
    def log_end(self, service: str) -> float:
        """Where a service's log ends at present, as `log` takes it."""

    @abstractmethod
    def set_response(self, mode: str, timeout: float | None) -> None:
        """Change the live response setting; the timeout is in seconds.

        Raises:
            ValueError: the mode or the timeout is not allowed; says what is.
        """

    @property
    def receiver_place(self) -> tuple[str, str]:
        """Where a callback receiver has to listen, and the host by which the services reach it."""
        return "127.0.0.1", "127.0.0.1"

    # What only some tiers can do.

    def kill(self, service: str) -> None:
        """End a service by SIGKILL; it stays down."""
        raise NotImplementedError

    def stop(self, service: str) -> None:
        """Let a service end in its own way; it stays down."""
        raise NotImplementedError

    def pause(self, service: str) -> None:
        """Freeze a service: it keeps its connections and answers nothing."""
        raise NotImplementedError

    def resume(self, service: str) -> None:
        """Let a frozen service go on."""
        raise NotImplementedError

    def kill_worker_process(self) -> int:
        """End one prediction process by SIGKILL; its pid, as seen where it runs."""
        raise NotImplementedError

    # The same on all tiers.

    def running(self) -> list[str]:
        """The services that this session has started."""
        return self.session.state.get("started", [])

    def forget_worker(self) -> None:
        """Make Redis forget a worker that was killed: its last heartbeat would pass for the next one's."""
        from denzel import testing

        testing.forget_workers(self.values["redis_url"])

    def wait_until_ready(self, services: Sequence[str]) -> None:
        """Wait until the last of these services can do its work.

        Raises:
            ServiceFailed: one of them ended, load_model raised, or the time was over.
        """
        goal = services[-1]
        alone = goal == API and WORKER in set(self.services) - set(services)
        waiting_for = ""

        def ready() -> bool:
            nonlocal waiting_for
            if reason := self.ended(services):
                raise ServiceFailed(messages.service_failed(reason, "ended", self.log(reason)))
            is_ready, waiting_for, error = self._look(goal, alone)
            if error and not is_ready:
                raise ServiceFailed(messages.service_failed(WORKER, error, self._log_of_the_model()))
            return is_ready

        def late() -> ServiceFailed:
            what = f"was not ready within {self.settings.timeout:g} s ({waiting_for}; see --denzel-timeout)"
            return ServiceFailed(messages.service_failed(goal, what, self.log(goal)))

        wait_until(ready, self.settings.timeout, late)

    def _look(self, goal: str, alone: bool) -> tuple[bool, str, str | None]:
        """Whether a service is ready, else what it waits for, and the error that waiting will not mend.

        `alone`: the worker is down on purpose, so that the API cannot be more than alive.
        """
        if goal == REDIS:
            from denzel import testing

            up = testing.redis_answers(self.values["redis_port"], self.values["redis_password"])
            return up, "Redis does not answer", None
        if goal == WORKER:
            document = self._queue.readiness()
        else:
            from pytest_denzel.tiers.http import call

            try:
                if alone:
                    return call("GET", f"{self.values['api_url']}/ping", timeout=5).status == 200, "", None
                document = call("GET", f"{self.values['api_url']}/ready", timeout=5).json()
            except (OSError, ValueError):
                return False, "the API does not answer", None
        failed = [worker for worker in document.get("workers") or [] if worker["state"] == "ERROR"]
        error = f"cannot predict: {failed[0]['error']}" if failed else None
        return bool(document.get("ready")), str(document.get("reason")), error

    @property
    def _queue(self) -> Any:
        from pytest_denzel.tiers.queue import client

        return client(self.values)

    def _log_of_the_model(self) -> str:
        return self.log(WORKER if WORKER in self.services else API)


def clean_environment(names: Iterable[str]) -> dict[str, str]:
    """The environment of this process without these names, and without what make and pytest left in it."""
    unwanted = {*names, "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONHOME", "PYTEST_CURRENT_TEST"}
    return {name: value for name, value in os.environ.items() if name not in unwanted}
