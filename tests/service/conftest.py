"""Tests of the service on its real parts: processes of a baked project with a Redis of their own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from tests.service.support.sending import SECRET, Sending
from tests.support import rabbitmq as rabbitmq_server
from tests.support.bakery import TEMPLATE, bake
from tests.support.receivers import Receivers
from tests.support.services import Service

# The service's modules, as they lie in the template: `import denzel.jsonio`.
sys.path.append(str(TEMPLATE))
# They take the names in Redis that the services of the tests have.
os.environ.setdefault("PROJECT_SLUG", "tested")

PIPELINES = Path(__file__).parent / "support/pipelines"


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A freshly baked project without an example; to be copied, not changed."""
    return bake(tmp_path_factory.mktemp("baked"), project_name="Tested", project_slug="tested", example="none")


@pytest.fixture(scope="session")
def new_project(baked: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call it with the name of a pipeline in `support/pipelines`: a project of its own with that pipeline."""

    def create(pipeline: str = "scripted") -> Path:
        project = tmp_path_factory.mktemp("project") / "tested"
        shutil.copytree(baked, project)
        shutil.copy(PIPELINES / f"{pipeline}.py", project / "app/logic/pipeline.py")
        (project / "model").touch()
        return project

    return create


@pytest.fixture(scope="module")
def new_service(new_project: Callable[[str], Path]) -> Iterator[Callable[..., Service]]:
    """Call it with settings: a service of which nothing runs yet; stopped after the module's last test."""
    with ExitStack() as stack:

        def create(pipeline: str = "scripted", **settings: str | float) -> Service:
            return stack.enter_context(Service(new_project(pipeline), **settings))

        yield create


@pytest.fixture(scope="session")
def service(new_project: Callable[[str], Path]) -> Iterator[Service]:
    """A service in full, with two API and two prediction processes, for tests that leave it as it is."""
    with Service(new_project("scripted"), API_WORKERS=2, WORKER_CONCURRENCY=2) as service:
        service.start("redis", "api", "denzel", "monitor")
        service.wait_ready(processes=2)
        yield service


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a RabbitMQ of the tests' own."""
    if not rabbitmq_server.PROGRAM:
        pytest.skip("rabbitmq-server is not installed")
    with rabbitmq_server.running(tmp_path_factory.mktemp("rabbitmq")) as address:
        yield address


@pytest.fixture(scope="module")
def waiting_service(new_service: Callable[..., Service]) -> Service:
    """An API without workers: what is accepted waits. Three tasks may."""
    service = new_service(MAX_QUEUE=3, MAX_BODY_BYTES=1000, MAX_WAIT=1, VERIFY_TIMEOUT=0.5)
    service.start("redis", "api")
    return service


@pytest.fixture
def waiting(waiting_service: Service) -> Service:
    """The same, and nothing waits."""
    waiting_service.redis.flushall()
    return waiting_service


@pytest.fixture(scope="session")
def redis_service(new_project: Callable[[str], Path]) -> Iterator[Service]:
    """A Redis without a service."""
    with Service(new_project("scripted")) as service:
        service.start("redis")
        yield service


@pytest.fixture
def empty_redis(redis_service: Service) -> redis.Redis:
    """A client of a Redis that holds nothing."""
    redis_service.redis.flushall()
    return redis_service.redis


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    """Receivers of callbacks, of which none is open yet."""
    with Receivers() as receivers:
        yield receivers


@pytest.fixture
def sending(redis_service: Service) -> Iterator[Sending]:
    """The process at work, on a Redis that holds nothing."""
    redis_service.redis.flushall()
    with Sending(redis_service, CALLBACK_TIMEOUT=5, CALLBACK_SECRET=SECRET) as sending:
        yield sending


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for service in Service.running:
        service.mark_logs()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> object:
    """Attach what the services wrote during a test that failed."""
    report = yield
    if report.failed:
        for service in Service.running:
            for name, text in service.new_logs().items():
                report.sections.append((f"log of {name} ({service.project.parent.name})", text))
    return report
