"""Baked projects on real containers. Without Docker these tests are skipped, on CI they fail."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tests.support.bakery import bake
from tests.support.docker import require_docker
from tests.support.ports import free_port
from tests.support.receivers import Inbox

_projects = pytest.StashKey[list[Project]]()


@pytest.fixture(scope="session", autouse=True)
def docker() -> None:
    """Docker, or a reason why these tests do not run."""
    require_docker()


@pytest.fixture(scope="module")
def inbox() -> Iterator[Inbox]:
    """A receiver of callbacks on this machine."""
    with Inbox("0.0.0.0", known_as="host.docker.internal") as inbox:
        yield inbox


@pytest.fixture(scope="module")
def new_project(request: pytest.FixtureRequest, inbox: Inbox) -> Iterator[Callable[..., Project]]:
    """Call it with a folder and answers: a skeleton that knows the inbox, not launched. Nothing of it is left."""
    projects = request.session.stash.setdefault(_projects, [])
    with ExitStack() as stack:

        def create(folder: Path, **answers: str | bool) -> Project:
            slug = f"denzel_e2e_{uuid.uuid4().hex[:8]}"
            path = bake(folder, **{"project_slug": slug, "example": "none", **answers})
            project = Project(path, slug, api_port=free_port(), monitor_port=free_port())
            project.set_env(CALLBACK_ALLOW=inbox.address, LAUNCH_TIMEOUT="120")
            projects.append(project)
            stack.callback(projects.remove, project)
            stack.callback(project.remove)
            return project

        yield create


@pytest.fixture(scope="module")
def project(new_project: Callable[..., Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A skeleton in a folder with spaces."""
    return new_project(tmp_path_factory.mktemp("a folder with spaces"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Attach what the services printed to a failure."""
    report = yield
    if report.failed:
        for project in item.session.stash.get(_projects, []):
            report.sections.append((f"services of {project.slug}", project.logs()))
    return report
