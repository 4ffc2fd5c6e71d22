"""Tests of pytest-denzel: each one runs pytest in a project that was baked for it, as users do.

Most runs are processes of their own: the project's modules are all named `app`, and Celery wants a process to itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import waiting
from tests.support.bakery import TEMPLATE, bake
from tests.support.docker import require_docker

# The plugin imports the door of a project; tests of its parts, in this process, find the template's own there.
sys.path.insert(0, str(TEMPLATE))

PIPELINES = Path(__file__).parent / "pipelines"
SUITES = Path(__file__).parent / "suites"

# What a developer's shell may hold and would change the runs.
_UNWANTED = ("DENZEL_", "PYTEST_", "COMPOSE_", "CI", "TOX_", "REDIS_URL", "EXECUTOR")


@pytest.fixture(scope="session")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project without an example and without tests; to be copied, not changed."""
    project = bake(tmp_path_factory.mktemp("plugin"), project_name="Doubling", example="none")
    for test in (project / "tests").glob("test_*.py"):
        test.unlink()
    shutil.copy(PIPELINES / "doubling.py", project / "app/logic/pipeline.py")
    return project


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with redis-server, so that no project has to fetch its own."""
    folder = tmp_path_factory.mktemp("programs")
    found = shutil.which("redis-server")
    if found is None:
        code = "from commands.local.embedded_redis import find_server; from pathlib import Path; import sys; "
        code += "print(find_server(cache=Path(sys.argv[1]), python=sys.executable).program)"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", code, str(folder)]
        output = subprocess.run(
            command, cwd=TEMPLATE, env=environment, check=True, capture_output=True, text=True
        ).stdout
        found = output.splitlines()[-1]
    if not (folder / "redis-server").exists():
        (folder / "redis-server").symlink_to(found)
    return folder


def eventually(probe: Callable[[], Any], what: str, timeout: float = 30.0) -> Any:
    """As everywhere, but within half a minute: most of what is waited for here is done by another pytest."""
    return waiting.eventually(probe, what, timeout)


class Project:
    """A baked project in the folder of a test, and pytest runs in it."""

    def __init__(self, pytester: pytest.Pytester, root: Path) -> None:
        self._pytester = pytester
        self.root = root

    def pipeline(self, source: str) -> None:
        """Replace the user's module."""
        self.write("app/logic/pipeline.py", source)

    def edit_pipeline(self, old: str, new: str) -> None:
        """Replace a part of the user's module."""
        source = (self.root / "app/logic/pipeline.py").read_text()
        assert old in source
        self.pipeline(source.replace(old, new))

    def set_env(self, name: str, value: object) -> None:
        """Change a line of .env."""
        path = self.root / ".env"
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{name}=")]
        path.write_text("\n".join([*lines, f"{name}={value}"]) + "\n")

    def example(self, name: str, **content: Any) -> None:
        """Add an example."""
        self.write(f"app/assets/examples/{name}.json", json.dumps(content))

    def test(self, source: str, name: str = "test_it") -> None:
        """Add a file of tests."""
        self.write(f"tests/{name}.py", source)

    def ini(self, *lines: str) -> None:
        """Add lines to pytest.ini."""
        path = self.root / "pytest.ini"
        path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))

    def write(self, name: str, source: str) -> None:
        """Write a file, its text dedented."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in the project; warnings are errors."""
        return self._pytester.runpytest_subprocess("-p", "no:cacheprovider", "-Werror", *arguments)

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen:
        """Start pytest in the project, in a process session of its own."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
        )  # fmt: skip


@pytest.fixture(scope="session")
def docker_image() -> Iterator[str]:
    """The image that tests with Docker build; they are skipped where there is no Docker, and fail there under CI."""
    require_docker()
    yield "doubling"
    subprocess.run(["docker", "image", "rm", "--force", "doubling"], capture_output=True)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, programs: Path) -> Path:
    """An environment without a developer's settings; sessions of this test have a folder of their own."""
    for name in os.environ:
        if name.startswith(_UNWANTED):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    monkeypatch.setenv("TMPDIR", str(sessions))
    return sessions


@pytest.fixture
def sessions(clean_environment: Path) -> Callable[[], list[Path]]:
    """The folders of the sessions that a run has left behind."""

    def left() -> list[Path]:
        return [path for path in clean_environment.glob("pytest-denzel-*/*") if path.is_dir()]

    return left


@pytest.fixture
def project(pytester: pytest.Pytester, baked: Path, clean_environment: Path) -> Project:
    """A project that doubles numbers, in the test's own folder."""
    root = pytester.path / "doubling"
    shutil.copytree(baked, root)
    os.chdir(root)
    return Project(pytester, root)
