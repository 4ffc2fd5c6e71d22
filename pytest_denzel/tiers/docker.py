"""The tier docker: the project's own compose file and image, in containers of this session alone.

The project's files are used as they are. What a test needs otherwise is said by an override file in the session's
folder and by variables: another Compose project, free ports, secrets of its own, no restarts, and a folder of its own
for the worker's log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from denzel import testing
from pytest_denzel import messages
from pytest_denzel.callbacks.webhooks import new_secret
from pytest_denzel.tiers import sweep
from pytest_denzel.tiers.tier import API, REDIS, WORKER, ServiceFailed, Tier, clean_environment
from pytest_denzel.waiting import wait_until

if TYPE_CHECKING:
    from testcontainers.compose import DockerCompose

__tracebackhide__ = True

_DOCKER_VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
# Run in the worker's container; prints the pid.
_KILL_PREDICTION_PROCESS = "from denzel.testing import kill_prediction_process as kill; print(kill() or '')"

_HEALTHY_WITHIN = 30.0  # seconds; a health check comes every 15
_STATES_EVERY = 1.0  # seconds between two looks at the containers' states

# Containers of a session are no longer of use in these states.
_ENDED = ("exited", "dead")


class DockerTier(Tier):
    """The containers redis, denzel and api of the project's compose file."""

    name = "docker"
    can_be_disturbed = True

    def unavailable(self) -> str | None:
        return _is_elsewhere() or testing.docker_problem() or _testcontainers_problem()

    @property
    def receiver_place(self) -> tuple[str, str]:
        return self.values["receiver_bind"], self.values["receiver_host"]

    def prepare(self) -> None:
        bind, host = _way_to_this_machine()
        self.values.update(
            api_port=testing.free_port(),
            redis_port=testing.free_port(),
            broker_port=testing.free_port(),
            redis_password=secrets.token_hex(16),
            broker_password=secrets.token_hex(16),
            secret=new_secret(),
            services=[],
            image_is_here=False,
            receiver_bind=bind,
            receiver_host=host,
        )
        variables = {name: os.environ[name] for name in _DOCKER_VARIABLES if name in os.environ}
        sweep.write_json(self.session.folder / sweep.DOCKER, variables)
        try:
            self.values["files"] = testing.compose_files()
        except testing.Refusal as refusal:
            raise ServiceFailed(str(refusal)) from None
        self.values["services"] = self._services_of_the_project()
        containers = self._containers
        self.values.update(
            api_url=f"http://127.0.0.1:{self.values['api_port']}",
            redis_url=containers.redis_url,
            broker_url=containers.broker_url,
        )
        sweep.write_json(self._override, containers.override(self.image, self.session.logs))

    @property
    def _containers(self) -> Any:
        """How the project's containers differ from its own in this session."""
        names = ("services", "api_port", "redis_port", "broker_port", "redis_password", "broker_password", "secret")
        values = {name: self.values[name] for name in names}
        return testing.containers(
            compose_project=self._compose_project,
            callbacks_to=f"{testing.HOST},{self.values['receiver_bind']}",
            **values,
        )

    @property
    def image(self) -> str:
        """The image that api and denzel run: the one asked for, else the project's own."""
        return self.settings.image or testing.image()

    def start(self, services: Sequence[str]) -> None:
        if self._container(services[0]):  # again, after a test has taken them down
            for service in services:
                self._do("start", service)
            return
        if any(service != REDIS for service in services) and not self.values["image_is_here"]:
            self._provide_image()
        self._wait_for_health(REDIS)
        with self._variables():
            try:
                self._compose(services).start()
            except subprocess.CalledProcessError as error:
                raise ServiceFailed(self._explain(error)) from None

    def discard(self) -> None:
        sweep.remove_containers(self.session.folder)

    def ended(self, services: Sequence[str]) -> str | None:
        now = time.monotonic()
        if now < self._next_look:  # asking Docker takes a while, and is rarely what is waited for
            return None
        self._next_look = now + _STATES_EVERY
        with self._variables():
            states = {c.Service: c.State for c in self._compose().get_containers(include_all=True)}
        return next((name for name in services if states.get(name) in _ENDED), None)

    _next_look = 0.0

    def log(self, service: str, since: float | None = None) -> str:
        options = ["--since", f"{since:.3f}"] if since else ["--tail", "500"]
        container = self._container(service)
        if not container:
            return ""
        done = _docker("logs", *options, container)
        return done.stdout + done.stderr

    def log_end(self, service: str) -> float:
        return time.time()

    def set_response(self, mode: str, timeout: float | None) -> None:
        done = _docker("exec", self._container(API), "python", *testing.response_command(mode, timeout))
        if done.returncode:
            raise ValueError(done.stderr.strip())

    # Disturbing

    def kill(self, service: str) -> None:
        self._do("kill", service)

    def stop(self, service: str) -> None:
        self._do("stop", service)

    def pause(self, service: str) -> None:
        self._do("pause", service)

    def resume(self, service: str) -> None:
        self._do("unpause", service)

    def kill_worker_process(self) -> int:
        pid = self._do("exec", WORKER, "python", "-c", _KILL_PREDICTION_PROCESS).strip()
        if not pid:
            raise ServiceFailed("There is no prediction process to kill.")
        return int(pid)

    def _wait_for_health(self, service: str) -> None:
        """Compose starts nothing beside a service that is unhealthy, as one that was paused is until the next check."""

        def is_well() -> bool:
            container = self._container(service)
            if not container:
                return True
            return _docker("inspect", "--format", "{{.State.Health.Status}}", container).stdout.strip() != "unhealthy"

        with contextlib.suppress(TimeoutError):  # then Compose tells what is wrong
            wait_until(is_well, _HEALTHY_WITHIN, TimeoutError, pause=0.2)

    def _do(self, verb: str, service: str, *arguments: str) -> str:
        done = _docker(verb, self._container(service), *arguments)
        if done.returncode:
            raise ServiceFailed(f"docker {verb} {service}: {done.stderr.strip()}")
        return done.stdout

    def _container(self, service: str) -> str:
        """The id of a service's container; empty when there is none."""
        filters = [
            f"label=com.docker.compose.project={self._compose_project}",
            f"label=com.docker.compose.service={service}",
        ]
        words = [word for text in filters for word in ("--filter", text)]
        return (_docker("ps", "--all", "--quiet", *words).stdout.split() or [""])[0]

    # Compose

    @property
    def _compose_project(self) -> str:
        return sweep.PREFIX + self.session.name

    @property
    def _override(self) -> Path:
        return self.session.folder / "docker-compose.override.yml"  # JSON is YAML

    def _services_of_the_project(self) -> list[str]:
        files = [word for file in self.values["files"] for word in ("--file", file)]
        with self._variables():
            done = _docker("compose", *files, "config", "--services", folder=self.project.root)
        if done.returncode:
            raise ServiceFailed(messages.compose_failed(done.stderr))
        return done.stdout.split()

    def _compose(self, services: Sequence[str] = ()) -> DockerCompose:
        from testcontainers.compose import DockerCompose

        return DockerCompose(
            context=self.project.root,
            compose_file_name=[*self.values["files"], str(self._override)],
            services=list(services) or None,
            wait=False,
        )

    @contextlib.contextmanager
    def _variables(self) -> Iterator[None]:
        """The environment for Compose: nothing of the shell that would change the project, and this session's own."""
        environment = {
            **clean_environment(self.project.read_env()),
            **self._containers.environment(),
            sweep.MARK: self.session.name,
        }
        # testcontainers logs each failing command with all of its output; `_explain` tells it better
        logger = logging.getLogger("testcontainers.compose.compose")
        with mock.patch.dict(os.environ, environment, clear=True), mock.patch.object(logger, "disabled", True):
            yield

    def _provide_image(self) -> None:
        """Build the project's image as `make launch` does, so that an unchanged one stays the very same.

        A test session's own names do not enter it: a launched project beside it would have to be replaced.
        """
        if self.settings.image:
            _require_image(self.settings.image)
        else:
            self.tell(messages.builds_image(self.image))
            before = _image_id(self.image)
            with mock.patch.dict(os.environ, {sweep.MARK: self.session.name}):
                try:
                    testing.build_image()
                except testing.Refusal as refusal:
                    raise ServiceFailed(messages.image_does_not_build(self.image, str(refusal))) from None
            if before and before != _image_id(self.image):
                _remove_if_nameless(before)
        self.values["image_is_here"] = True

    def _explain(self, error: subprocess.CalledProcessError) -> str:
        """What a failed `docker compose up` means for its user."""
        text = ((error.stderr or b"") + b"\n" + (error.stdout or b"")).decode("utf-8", "replace")
        if "No such image" in text or "pull access denied" in text or "manifest unknown" in text:
            return messages.image_missing(text.strip().splitlines()[-1])
        if match := re.search(rf"{self._compose_project}-(\w+)-\d+ (?:is unhealthy|exited)", text):
            return messages.service_failed(match[1], "ended", self.log(match[1]))
        return messages.compose_failed(text)


def _docker(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
    )  # fmt: skip


def _image_id(image: str) -> str:
    """The id of an image; empty where there is none."""
    return _docker("image", "inspect", "--format", "{{.Id}}", image).stdout.strip()


def _remove_if_nameless(image_id: str) -> None:
    """Remove an image that a newer one has taken the name of; Docker keeps it where a container is made of it."""
    names = _docker("image", "inspect", "--format", "{{json .RepoTags}}", image_id).stdout.strip()
    if names in ("[]", "null"):
        _docker("image", "rm", image_id)


def _require_image(image: str) -> None:
    """Make sure that an image is here: Compose would build one in its place."""
    if _docker("image", "inspect", image).returncode and (pulled := _docker("pull", "--quiet", image)).returncode:
        raise ServiceFailed(messages.image_missing(f"{image} ({pulled.stderr.strip().splitlines()[-1]})"))


def _is_elsewhere() -> str | None:
    host = os.environ.get("DOCKER_HOST", "")
    name = urllib.parse.urlsplit(host).hostname
    if not name or name in ("localhost", "127.0.0.1", "::1"):
        return None
    return messages.REMOTE_DOCKER.format(host=host)


def _testcontainers_problem() -> str | None:
    try:
        import testcontainers.compose  # noqa: F401
    except ImportError:
        return messages.package_missing("testcontainers")
    return None


def _way_to_this_machine() -> tuple[str, str]:
    """Where a server of this machine listens so that containers reach it, and under which host they do.

    With an engine on this machine that is the gateway of Docker's bridge, which no other machine reaches. Docker
    Desktop runs its engine in a virtual machine, and leads host.docker.internal to this machine's loopback.
    """
    gateways = _docker("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}").stdout
    with contextlib.suppress(ValueError, TypeError):
        for configuration in json.loads(gateways):
            gateway = configuration.get("Gateway", "")
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.bind((gateway, 0))
                return gateway, gateway
    return "127.0.0.1", testing.HOST
