"""The door for pytest-denzel: all that the plugin uses of a project. It imports and starts nothing else by name.

An interface of two parts that are updated apart: the project by baking over it, the plugin by pip. So whoever changes
what stands here, or in the classes of commands/shared/ that it hands out, raises VERSION, and the plugin's own version,
by which pip sees that it is newer. A plugin that does not know a project's VERSION tells its user what to do.

Imports stand inside the functions: a run that tests the pipeline alone loads nothing of the services, and where there
are no commands, as in the image, whatever does not need them works.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

VERSION = 1

ROOT = Path(__file__).resolve().parent.parent

HOST = "host.docker.internal"  # how containers call this machine where that is not their gateway (docker-compose.yml)


class Refusal(Exception):
    """Something cannot be done on this machine; the message, as it is, tells the user why and what to do."""


class OutOfReach(Exception):
    """Redis does not answer; the message says so."""


# ---- The project ----------------------------------------------------------------------------------------------------


def read_env() -> dict[str, str]:
    """The settings of `.env`, as the commands read them; none where it is missing, or the commands are."""
    try:
        from commands.shared.env import read_env
        from commands.shared.project import CommandError
    except ImportError:
        return {}
    try:
        return read_env()
    except CommandError:
        return {}


def slug() -> str:
    """The project's name, by which its workers are called; the folder's where `.env` has none."""
    env = read_env()
    return env.get("PROJECT_SLUG") or env.get("COMPOSE_PROJECT_NAME") or ROOT.name


def image() -> str:
    """The name of the project's own image."""
    return read_env().get("COMPOSE_PROJECT_NAME") or slug()


def example_files() -> list[Path]:
    """The files of the example requests, in the order of their names."""
    from denzel.examples import FOLDER, names

    folder = ROOT / FOLDER
    return [folder / f"{name}.json" for name in names(folder)]


def is_example(path: Path) -> bool:
    """Whether a file is one of `example_files`."""
    from denzel.examples import FOLDER, is_example

    return path.resolve().parent == ROOT / FOLDER and is_example(path)


def read_example(path: Path) -> Any:
    """A request and what it should be answered, which may be left open: the `Example` of denzel/examples.py.

    Raises:
        Refusal: the file does not hold an example; names it and says what is wrong.
    """
    from denzel.examples import BadExample, read_example

    try:
        return read_example(path, request_alone=True)
    except BadExample as error:
        raise Refusal(str(error)) from None


def differences(expected: Any, actual: Any, tolerance: float) -> Iterator[str]:
    """Where two JSON values differ, one line each; numbers may differ by the relative tolerance."""
    from denzel.examples import differences

    return differences(expected, actual, tolerance)


def missing_packages(*, queue: bool) -> list[str]:
    """The packages that the services need, with or without a queue, and that this Python does not have."""
    from importlib.util import find_spec

    return [name for name in ("gunicorn", *(("celery", "redis") if queue else ())) if find_spec(name) is None]


# ---- The pipeline, in the process of the tests ----------------------------------------------------------------------


def load_framework() -> None:
    """Import what runs a pipeline.

    Raises:
        ImportError: a package is not installed for this Python.
    """
    from denzel.pipeline import loading, stages  # noqa: F401


def pipeline_module() -> ModuleType:
    """The user's module: the same object at each call, and for tests that import it themselves.

    It finds the user's own variables of `.env` in the environment; what the process has there already stays.

    Raises:
        BaseException: whatever its import raises.
    """
    from importlib import import_module

    from denzel.pipeline.loading import MODULE

    with contextlib.suppress(ImportError, Refusal), _refusals():
        from commands.shared.env import own_variables

        for name, value in own_variables().items():
            os.environ.setdefault(name, value)
    return import_module(MODULE)


def missing_functions(module: ModuleType) -> list[str]:
    """Those of the four functions that the module lacks."""
    from denzel.pipeline.loading import FUNCTIONS

    return [name for name in FUNCTIONS if not callable(getattr(module, name, None))]


def received(request: Any) -> Any:
    """A request, an object or the bytes of a body, as `verify_input` gets it: what JSON changes is changed.

    Raises:
        ValueError: it is not JSON.
    """
    from denzel import jsonio

    return jsonio.loads(request if isinstance(request, bytes) else jsonio.dumps(request))


def verify_input(module: ModuleType, request: Any) -> Any:
    """What `process` gets of a request as `received`.

    Raises:
        Exception: whatever `verify_input` raises, by which it refuses the request; or it returned what the service
            cannot use, then `is_bad_answer` of the exception is true.
    """
    from denzel.pipeline.stages import dumps_verified, verified

    return json.loads(dumps_verified(verified(module, request)))


def predict(module: ModuleType, model: Any, data: Any) -> dict[str, Any]:
    """The answer that a client gets for what `process` returned; raises as `verify_input` does."""
    from denzel.pipeline.stages import dumps_predictions

    return json.loads(dumps_predictions(module.predict(model, data)))


def is_bad_answer(error: BaseException) -> bool:
    """Whether a function returned what the service cannot use, a 500 for the client; the error's message says what."""
    from denzel.pipeline.errors import BadAnswer

    return isinstance(error, BadAnswer)


def create_api(module: ModuleType, secret: str) -> Any:
    """The API as Falcon's ASGI application, with the model in this process and `module` as the user's.

    The settings are those of `.env`; callbacks may go to 127.0.0.1, and are signed with the secret.
    """
    from denzel.api.application import create_app
    from denzel.pipeline.in_api import UserPipeline
    from denzel.settings import Settings

    own = {"EXECUTOR": "inline", "REDIS_URL": "", "BROKER_URL": "", "CALLBACK_ALLOW": "127.0.0.1"}
    own |= {"CALLBACK_SECRET": secret, "ALLOWED_HOSTS": "*", "API_LISTENS_ON": "", "API_KEYS": "", "API_KEYS_FILE": ""}
    settings = Settings.from_environment({**read_env(), **own})
    return create_app(settings, pipeline=UserPipeline(settings.verify_timeout, module))


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """The header `webhook-signature` as the service makes it with this CALLBACK_SECRET.

    Raises:
        ValueError: the secret is not `whsec_` and base64.
    """
    from denzel.signing import read_secrets, signatures

    return signatures(read_secrets(secret) or (b"",), message_id, timestamp, body)


# ---- The services as processes of this machine ----------------------------------------------------------------------


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, out of the range that outgoing connections take."""
    from commands.local.embedded_redis import free_port

    return free_port()


def find_redis() -> str:
    """The path of a Redis server's program, found as `make dev` does; what is said meanwhile goes to stderr.

    Raises:
        Refusal: there is none.
    """
    from commands.local.embedded_redis import find_server

    with _refusals(), contextlib.redirect_stdout(sys.stderr):
        return find_server().program


def redis_answers(port: int, password: str) -> bool:
    """Whether a Redis server on 127.0.0.1 accepts the password and has loaded its data."""
    from commands.local.embedded_redis import answers

    return answers(port, password)


def processes(**values: Any) -> Any:
    """The services of a test session as processes: the `Processes` of commands/shared/for_tests.py."""
    from commands.shared.for_tests import Processes

    return Processes(read_env(), slug(), **values)


def is_prediction_process(command_line: str) -> bool:
    """Whether that is the command line of a prediction process."""
    return "denzel.worker.process" in command_line.split()


# ---- The services in containers -------------------------------------------------------------------------------------


def docker_problem() -> str | None:
    """Why Docker cannot be used here and what to do about it, in one line; None when it can."""
    from commands.shared.docker import require_docker

    try:
        with _refusals():
            require_docker()
    except Refusal as refusal:
        return " ".join(line.strip() for line in str(refusal).splitlines() if not line.startswith("Without Docker"))
    return None


def build_image() -> None:
    """Build the project's image as `make launch` does; one that is up to date stays the very same.

    Raises:
        Refusal: it does not build; the end of what the step that failed has printed.
    """
    from commands.containers.build import build

    with _refusals():
        build()


def compose_files() -> list[str]:
    """The compose files that the project uses, relative to its folder; a fresh clone gets its `.env` before."""
    from commands.shared.new_env import create_if_missing
    from commands.shared.stack import compose_files

    with _refusals():
        create_if_missing()
        return compose_files()


def containers(**values: Any) -> Any:
    """The services of a test session in containers: the `Containers` of commands/shared/for_tests.py."""
    from commands.shared.for_tests import Containers

    return Containers(read_env(), slug(), **values)


def kill_prediction_process() -> int | None:
    """Kill one prediction process (SIGKILL) of the container that this runs in; its pid, None when there is none."""
    from denzel.processes import kill_first

    return kill_first(is_prediction_process)


# ---- Running services -----------------------------------------------------------------------------------------------


def response_command(mode: str, timeout: float | None) -> list[str]:
    """The arguments by which a Python, where the service runs, changes the live response setting; what is refused ends
    it with 1 and a line on stderr."""
    return ["-m", "denzel.control", "response", mode, *([str(timeout)] if timeout is not None else [])]


def sync_timeout(mode: str, timeout: float | None) -> float:
    """The `sync_timeout` of `processes` for a response setting: a mode, sync or async, and its timeout (seconds).

    Raises:
        ValueError: the mode or the timeout is not allowed; says what is.
    """
    if mode not in ("sync", "async"):
        raise ValueError(f"the mode must be sync or async, not {mode!r}")
    seconds = (5.0 if timeout is None else timeout) if mode == "sync" else 0.0
    if mode == "sync" and not 0 < seconds <= 86_400:
        raise ValueError("Sync timeout must be greater than 0 (and at most 86400 seconds)")
    return seconds


def response_of_env() -> tuple[str, float | None]:
    """The response setting of `.env`: the mode, sync or async, and its timeout (seconds)."""
    seconds = float(read_env().get("SYNC_TIMEOUT") or 5.0)
    return ("sync", seconds) if seconds else ("async", None)


def forget_workers(redis_url: str) -> None:
    """Make Redis forget workers that were killed: the last heartbeat of one would pass for the next one's."""
    from redis import Redis

    with _as_project():
        from denzel.queue.keys import NODES

    Redis.from_url(redis_url).delete(NODES)


def _as_project(**variables: str) -> contextlib.AbstractContextManager[None]:
    """What is imported meanwhile takes this project's names in Redis, and the broker's module these settings."""
    from denzel.processes import environment

    return environment(PROJECT_SLUG=slug(), PROJECT_ID=read_env().get("PROJECT_ID", ""), **variables)


class Queue:
    """The queue as the API's processes use it; one object in a process, all of its methods on one event loop."""

    def __init__(self, redis_url: str, broker_url: str, secret: str) -> None:
        with _as_project(REDIS_URL=redis_url, BROKER_URL=broker_url, CALLBACK_SECRET=secret):
            from denzel.api.task_id import TaskIds
            from denzel.queue.executor import QueueExecutor
            from denzel.settings import Settings

            self._executor = QueueExecutor(Settings.from_environment())
        self._ids = TaskIds.of(secret, redis_url)
        # coroutine functions: connect, let go of the connections, the body of /ready
        self.start, self.stop, self.readiness = self._executor.start, self._executor.stop, self._executor.readiness

    async def submit(self, request: bytes, callback_uri: str | None) -> str:
        """Accept an asynchronous task, the JSON of what `verify_input` would have returned; its id."""
        from denzel.executor import Task

        task = Task(self._ids.new(), request, "async", callback_uri)
        await self._executor.submit(task)
        return task.id

    async def status(self, task_id: str) -> dict[str, Any] | None:
        """The body of /status, None when the task is unknown.

        Raises:
            OutOfReach: Redis does not answer.
        """
        from denzel.executor import Unavailable

        try:
            return await self._executor.status(task_id)
        except Unavailable as error:
            raise OutOfReach(str(error)) from None

    async def cancel(self, task_id: str) -> None:
        """Cancel a task, unless it has ended or is unknown. Raises OutOfReach."""
        from denzel.executor import Unavailable

        try:
            await self._executor.cancel(task_id)
        except Unavailable as error:
            raise OutOfReach(str(error)) from None


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What the commands refuse leaves as a Refusal."""
    from commands.shared.project import CommandError

    try:
        yield
    except CommandError as error:
        raise Refusal(str(error)) from None
