"""Services that do not come up: each says in a few lines which one, why, and how its log ends."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

TESTS = """
    def test_one(denzel_service):
        pass

    def test_two(denzel_service):
        pass
"""
AFTERWARDS = "The services of this run did not start; the first test that failed says why: {}"


@pytest.mark.parametrize("tier", ["inline", "local"])
def test_a_load_model_that_raises(project: Project, sessions: Callable[[], list[Path]], tier: str) -> None:
    source = (project.root / "app/logic/pipeline.py").read_text()
    project.pipeline(
        source.replace('return {"factor": 2, "pid": os.getpid()}', 'raise OSError("model.pkl is missing")')
    )
    project.test(TESTS)
    result = project.run("tests", f"--denzel-tier={tier}")
    result.assert_outcomes(errors=2)
    first = "denzel cannot predict: load_model raised OSError: model.pkl is missing (app/logic/pipeline.py, line *)."
    result.stdout.fnmatch_lines(
        [
            first,
            "The end of its log:",
            '  |       raise OSError("model.pkl is missing")',
            "  |   OSError: model.pkl is missing",
            AFTERWARDS.format(first),
        ]
    )
    assert "pytest_denzel/" not in result.stdout.str()
    assert sessions() == []


def test_a_pipeline_that_cannot_be_imported(project: Project) -> None:
    project.pipeline("def predict(model, data)\n")
    project.test(TESTS)
    result = project.run("tests", "--denzel-tier=inline")
    result.stdout.fnmatch_lines(["denzel cannot predict: app/logic/pipeline.py, line 1: *"])


def test_a_missing_pipeline(project: Project) -> None:
    (project.root / "app/logic/pipeline.py").unlink()
    project.test(TESTS)
    result = project.run("tests", "--denzel-tier=inline")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["denzel cannot predict: *No module named 'app.logic.pipeline'*"])


def test_a_redis_that_does_not_start(project: Project) -> None:
    project.set_env("REDIS_MAXMEMORY", "lots")
    project.test("def test_it(denzel_redis):\n    pass\n")
    result = project.run("tests", "--denzel-tier=local")
    result.stdout.fnmatch_lines(["redis ended.", "The end of its log:", "  | *'maxmemory lots'*"])


def test_a_service_that_takes_too_long(project: Project, sessions: Callable[[], list[Path]]) -> None:
    project.edit_pipeline('return {"factor"', 'time.sleep(60)\n    return {"factor"')
    project.test(TESTS)
    result = project.run("tests", "--denzel-timeout=3")
    result.stdout.fnmatch_lines(["api was not ready within 3 s (the model is loading; see --denzel-timeout)."])
    assert sessions() == []


def test_wrong_settings_are_told(project: Project) -> None:
    project.set_env("MAX_QUEUE", "many")
    project.test(TESTS)
    result = project.run("tests", "--denzel-tier=inline")
    result.stdout.fnmatch_lines(["api ended.", "  | *MAX_QUEUE*many*"])


def test_packages_that_are_not_installed(project: Project) -> None:
    project.test(TESTS)
    project.write("sitecustomize.py", "import sys\nsys.modules['gunicorn'] = None\n")
    project.write(
        "conftest.py",
        """
        import importlib.util

        real = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *more: None if name == "gunicorn" else real(name, *more)
        """,
    )
    result = project.run("tests", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(
        [
            "SKIPPED * The tier inline cannot run here. The service's packages are not installed for this Python "
            "(there is no gunicorn). Run `make install`, then pytest from the project's .venv (`make test` does)."
        ]
    )


# ---- Docker that is not there -------------------------------------------------------------------------------------


@pytest.fixture
def fake_docker(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call it with a shell script that takes the place of `docker`; empty: there is none."""
    folder = project.root.parent / "bin"
    folder.mkdir()
    for name in ("sh", "redis-server"):
        for place in os.environ["PATH"].split(os.pathsep):
            if (Path(place) / name).exists():
                (folder / name).symlink_to(Path(place) / name)
                break

    def put(script: str) -> None:
        if script:
            path = folder / "docker"
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))

    return put


ABSENT = {
    "not installed": ("", "Docker is not installed. Install Docker Engine with its Compose plugin: https://*"),
    "not running": (
        "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?' >&2; exit 1",
        "Docker is not running. Start it with `sudo systemctl start docker` (or start Docker Desktop).",
    ),
    "not permitted": (
        "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1",
        "You are not permitted to use Docker. Add yourself to its group, then log out and in again: "
        "sudo usermod -aG docker $USER",
    ),
    "no compose": (
        "[ $1 = version ] && echo 27.0 || exit 1",
        "Docker Compose v2 is missing (`docker compose version` fails). Install Docker's Compose plugin: *",
    ),
    "an old engine": (
        "echo 20.10.7",
        "Docker Engine 20 is too old: upgrade it to 25 or newer.",
    ),
}


@pytest.mark.parametrize("case", ABSENT)
def test_without_docker_the_tier_is_skipped_with_one_reason(
    project: Project, fake_docker: Callable[[str], None], case: str
) -> None:
    script, reason = ABSENT[case]
    fake_docker(script)
    project.test(TESTS + "\n    def test_three(denzel_worker, callback_receiver):\n        pass\n")
    project.example("one", request={"data": {"a": 1}}, response={"a": 2})
    result = project.run("--denzel-tier=docker", "-rs")
    result.assert_outcomes(skipped=4, passed=2)
    result.stdout.fnmatch_lines([f"SKIPPED * The tier docker cannot run here. {reason}"])


@pytest.mark.parametrize(
    ("variable", "options", "why"),
    [
        ("CI=true", [], "(It is required because CI is set.)"),
        ("DENZEL_REQUIRE=1", [], "(It is required by DENZEL_REQUIRE in the environment.)"),
        ("CI=false", ["--denzel-require"], "(It is required by --denzel-require.)"),
    ],
)
def test_where_it_is_demanded_it_fails(
    project: Project,
    fake_docker: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    options: list[str],
    why: str,
) -> None:
    fake_docker("")
    monkeypatch.setenv(*variable.split("="))
    project.test(TESTS)
    result = project.run("tests", "--denzel-tier=docker", *options)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines([f"The tier docker cannot run here. Docker is not installed. * {why}"])


def test_tests_that_need_no_tier_run_without_docker(project: Project, fake_docker: Callable[[str], None]) -> None:
    fake_docker("")
    project.test(
        """
        def test_it(pipeline, api_client, callback_receiver):
            assert callback_receiver.url.startswith("http://127.0.0.1:")
        """
    )
    project.run("tests", "--denzel-tier=docker", "--denzel-require").assert_outcomes(passed=1)
