"""The tiers without Docker: the project's own entry points, started as plain processes of this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_denzel import messages
from pytest_denzel.callbacks.webhooks import new_secret
from pytest_denzel.tiers import sweep
from pytest_denzel.tiers.tier import API, REDIS, WORKER, ServiceFailed, Tier, clean_environment, worker_processes

__tracebackhide__ = True

# Read from a service's log at most, in bytes.
_MOST_LOG = 256 * 1024


class _Processes(Tier):
    """Services that are processes of this machine."""

    def prepare(self) -> None:
        from commands.local.embedded_redis import free_port

        self.values.update(
            api_port=free_port(),
            secret=new_secret(),
        )
        self.values["api_url"] = f"http://127.0.0.1:{self.values['api_port']}"

    def start(self, services: Sequence[str]) -> None:
        environment = self._environment()
        for service in services:
            command = ["sh", f"entrypoints/{service}.sh"]
            self.session.run(service, command, environment, self.project.root)

    def ended(self, services: Sequence[str]) -> str | None:
        return next((name for name in services if "ended" in self.session.service(name)), None)

    def log(self, service: str, since: float | None = None) -> str:
        path = self._log_file(service)
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(int(since or 0), path.stat().st_size - _MOST_LOG, 0))
            return file.read().decode("utf-8", "replace")

    def mark(self, service: str) -> float:
        path = self._log_file(service)
        return path.stat().st_size if path.exists() else 0

    def _log_file(self, service: str) -> Path:
        return self.session.logs / f"{service}.log"

    def _environment(self) -> dict[str, str]:
        """What the services read, of which nothing points outside this session."""
        settings = self.project.read_env()
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            **clean_environment(settings),
            **{name: value for name, value in settings.items() if value},
            **worker_processes(settings),
            "PATH": path,
            "PYTHONUNBUFFERED": "1",
            "PROJECT_SLUG": self.project.name,
            "API_BIND": f"127.0.0.1:{self.values['api_port']}",
            "CALLBACK_ALLOW": "127.0.0.1",
            "CALLBACK_SECRET": self.values["secret"],
            "LOG_FILE": str(self.session.logs / "worker.log"),
            "READY_FILE": str(self.session.folder / "ready"),
        }

    # Disturbing

    def kill(self, service: str) -> None:
        self._signal_all(service, signal.SIGKILL)
        self._wait_until_gone(service, 10)

    def stop(self, service: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.session.service(service)["pid"], signal.SIGTERM)
        self._wait_until_gone(service, 60)

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
        deadline = time.monotonic() + seconds
        while "ended" not in self.session.service(service) or self._processes_of(service):
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    messages.service_failed(service, f"did not stop within {seconds:g} s", self.log(service))
                )
            time.sleep(0.02)


class LocalTier(_Processes):
    """A real Redis, a real API and real prediction processes."""

    name = "local"
    can_be_disturbed = True

    def unavailable(self) -> str | None:
        if missing := _missing_packages("gunicorn", "celery", "redis"):
            return missing
        from commands.local.embedded_redis import find_server
        from commands.shared.project import CommandError

        try:
            with contextlib.redirect_stdout(sys.stderr):
                find_server()
        except CommandError as error:
            return str(error)
        return None

    def prepare(self) -> None:
        from commands.local.embedded_redis import find_server, free_port, url

        super().prepare()
        port, password = free_port(), secrets.token_hex(16)
        self.values.update(redis_port=port, redis_password=password, redis_url=url(port, password))
        self.values["redis_program"] = find_server().program
        (self.session.folder / "redis").mkdir(exist_ok=True)

    def start(self, services: Sequence[str]) -> None:
        if REDIS in services:
            super().start([REDIS])
            self.wait_until_ready([REDIS])  # the others would log errors until it is there
        super().start([service for service in services if service != REDIS])

    def response(self, mode: str, timeout: float | None) -> None:
        import subprocess

        words = ["response", mode, *([str(timeout)] if timeout is not None else [])]
        done = subprocess.run(
            [sys.executable, "-m", "denzel.control", *words],
            cwd=self.project.root, env=self._environment(), capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ValueError(done.stderr.strip())

    def kill_worker_process(self) -> int:
        for pid, command in self._processes_of(WORKER).items():
            if "denzel.worker.process" in command:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return pid
        raise ServiceFailed("There is no prediction process to kill.")

    def _environment(self) -> dict[str, str]:
        return {
            **super()._environment(),
            "EXECUTOR": "queue",
            "REDIS_URL": self.values["redis_url"],
            "BROKER_URL": self.values["redis_url"],
            "REDIS_SERVER": self.values["redis_program"],
            "REDIS_BIND": "127.0.0.1",
            "REDIS_PORT": str(self.values["redis_port"]),
            "REDIS_PASSWORD": self.values["redis_password"],
            "REDIS_DIR": str(self.session.folder / "redis"),
        }


class InlineTier(_Processes):
    """One API process that holds the model itself; no Redis."""

    name = "inline"
    services = (API,)

    def unavailable(self) -> str | None:
        return _missing_packages("gunicorn")

    def response(self, mode: str, timeout: float | None) -> None:
        # the one process holds its settings in memory: it is started anew with another one
        if mode not in ("sync", "async"):
            raise ValueError(f"the mode must be sync or async, not {mode!r}")
        seconds = (5.0 if timeout is None else timeout) if mode == "sync" else 0.0
        if mode == "sync" and not 0 < seconds <= 86_400:
            raise ValueError("Sync timeout must be greater than 0 (and at most 86400 seconds)")
        self.stop(API)
        self.values["sync_timeout"] = seconds
        self.start([API])
        self.wait_until_ready([API])

    def _environment(self) -> dict[str, str]:
        environment = {**super()._environment(), "EXECUTOR": "inline", "REDIS_URL": "", "BROKER_URL": ""}
        if "sync_timeout" in self.values:
            environment["SYNC_TIMEOUT"] = str(self.values["sync_timeout"])
        return environment


def _missing_packages(*names: str) -> str | None:
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    return messages.packages_missing(missing) if missing else None
