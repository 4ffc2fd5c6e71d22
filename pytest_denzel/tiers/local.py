"""The tiers without Docker: the project's own entry points, started as plain processes of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from denzel import testing
from pytest_denzel import messages
from pytest_denzel.callbacks.webhooks import new_secret
from pytest_denzel.tiers import sweep
from pytest_denzel.tiers.tier import API, REDIS, WORKER, ServiceFailed, Tier, clean_environment
from pytest_denzel.waiting import wait_until

__tracebackhide__ = True

_MOST_LOG = 256 * 1024  # bytes of a service's log that are read

# Seconds for a service to end: after SIGKILL, and in its own way.
_KILLED_WITHIN, _STOPPED_WITHIN = 10.0, 60.0


class _ProcessTier(Tier):
    """Services that are processes of this machine."""

    def prepare(self) -> None:
        self.values.update(api_port=testing.free_port(), secret=new_secret())
        self.values["api_url"] = f"http://127.0.0.1:{self.values['api_port']}"

    def start(self, services: Sequence[str]) -> None:
        environment = self._environment()
        for service in services:
            self.session.run(service, self._processes.start_command(service), environment, self.project.root)

    def discard(self) -> None:
        sweep.end_processes(self.session.folder)

    def ended(self, services: Sequence[str]) -> str | None:
        return next((name for name in services if "ended" in self.session.service(name)), None)

    def log(self, service: str, since: float | None = None) -> str:
        path = self._log_file(service)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(int(since or 0), path.stat().st_size - _MOST_LOG, 0))
            return file.read().decode("utf-8", "replace")

    def log_end(self, service: str) -> float:
        path = self._log_file(service)
        return path.stat().st_size if path.exists() else 0

    def _log_file(self, service: str) -> Path:
        return self.session.logs / f"{service}.log"

    @property
    def _processes(self) -> Any:
        """How the project starts its services for this session."""
        names = ("api_port", "secret", "redis_program", "redis_port", "redis_password", "sync_timeout")
        values = {name: self.values[name] for name in names if name in self.values}
        return testing.processes(folder=self.session.folder, **values)

    def _environment(self) -> dict[str, str]:
        """What the services read, of which nothing points outside this session."""
        return {
            **clean_environment(self.project.read_env()),
            **self._processes.environment(),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            "PYTHONUNBUFFERED": "1",
        }

    # Disturbing

    def kill(self, service: str) -> None:
        self._signal_all(service, signal.SIGKILL)
        self._wait_until_gone(service, _KILLED_WITHIN)

    def stop(self, service: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.session.service(service)["pid"], signal.SIGTERM)
        self._wait_until_gone(service, _STOPPED_WITHIN)

    def pause(self, service: str) -> None:
        self._signal_all(service, signal.SIGSTOP)

    def resume(self, service: str) -> None:
        self._signal_all(service, signal.SIGCONT)

    def _processes_of(self, service: str) -> dict[int, str]:
        """A service's processes, and their command lines."""
        return sweep.members(self.session.service(service)["keeper"]["pid"])

    def _signal_all(self, service: str, number: int) -> None:
        for pid in self._processes_of(service):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _wait_until_gone(self, service: str, seconds: float) -> None:
        """Wait for the service and its children: the last of them may hold its port."""

        def late() -> ServiceFailed:
            what = f"did not stop within {seconds:g} s"
            return ServiceFailed(messages.service_failed(service, what, self.log(service)))

        wait_until(
            lambda: "ended" in self.session.service(service) and not self._processes_of(service),
            seconds,
            late,
            pause=0.02,
        )


class LocalTier(_ProcessTier):
    """A real Redis, a real API and real prediction processes."""

    name = "local"
    can_be_disturbed = True

    def unavailable(self) -> str | None:
        if missing := testing.missing_packages(queue=True):
            return messages.packages_missing(missing)
        try:
            testing.find_redis()
        except testing.Refusal as refusal:
            return str(refusal)
        return None

    def prepare(self) -> None:
        super().prepare()
        self.values.update(redis_port=testing.free_port(), redis_password=secrets.token_hex(16))
        self.values["redis_program"] = testing.find_redis()
        self.values["redis_url"] = self._processes.redis_url
        (self.session.folder / "redis").mkdir(exist_ok=True)

    def start(self, services: Sequence[str]) -> None:
        if REDIS in services:
            super().start([REDIS])
            self.wait_until_ready([REDIS])  # the others would log errors until it is there
        super().start([service for service in services if service != REDIS])

    def set_response(self, mode: str, timeout: float | None) -> None:
        done = subprocess.run(
            [sys.executable, *testing.response_command(mode, timeout)],
            cwd=self.project.root, env=self._environment(), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ValueError(done.stderr.strip())

    def kill_worker_process(self) -> int:
        for pid, command in self._processes_of(WORKER).items():
            if testing.is_prediction_process(command):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return pid
        raise ServiceFailed("There is no prediction process to kill.")


class InlineTier(_ProcessTier):
    """One API process that holds the model itself; no Redis."""

    name = "inline"
    services = (API,)

    def unavailable(self) -> str | None:
        missing = testing.missing_packages(queue=False)
        return messages.packages_missing(missing) if missing else None

    def set_response(self, mode: str, timeout: float | None) -> None:
        # the one process holds its settings in memory: it is started anew with another one
        seconds = testing.sync_timeout(mode, timeout)
        self.stop(API)
        self.values["sync_timeout"] = seconds
        self.start([API])
        self.wait_until_ready([API])
