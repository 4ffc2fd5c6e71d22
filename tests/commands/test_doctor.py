"""`make doctor`, and what is checked before containers are built or started."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bakery import bake

TIMEOUT = 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of the test's own, on ports that nobody uses."""
    project = bake(tmp_path / "a folder", project_slug=f"denzel_doctor_{os.getpid()}", example="none")
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        edit(project, API_PORT=str(one.getsockname()[1]), MONITOR_PORT=str(other.getsockname()[1]))
    return project


def edit(project: Path, **values: str) -> None:
    """Edit .env as a user does."""
    path = project / ".env"
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(text, encoding="utf-8")


def make(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", *words],
        cwd=project,
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def doctor(project: Path, **environment: str) -> dict[str, tuple[str, str]]:
    """What `make doctor` says: the verdict and the text of each check, by its name (the last one of a name)."""
    done = make(project, "doctor", **environment)
    found: dict[str, tuple[str, str]] = {}
    name = ""
    for line in done.stdout.splitlines():
        if match := re.match(r"  (ok|note|PROBLEM) +([\w. ]+?): (.*)", line):
            verdict, name, text = match.groups()
            found[name] = (verdict, text)
        elif line.startswith(" " * 12) and name:
            found[name] = (found[name][0], f"{found[name][1]}\n{line.strip()}")
    problems = sum(verdict == "PROBLEM" for verdict, _ in found.values())
    assert bool(problems) == (done.returncode == 2), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return found


@pytest.fixture
def without_docker(tmp_path: Path) -> str:
    """A PATH on which Docker is not installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "make"):
        found = shutil.which(program)
        assert found
        (folder / program).symlink_to(found)
    (folder / "python3").symlink_to(sys.executable)
    return str(folder)


def test_a_new_project_has_no_problem_of_its_own(project: Path) -> None:
    found = doctor(project)
    for name in ("Python", "make", ".env", "Settings", "Folder", "Ports"):
        assert found[name][0] == "ok", found[name]


def test_it_changes_nothing(project: Path) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    doctor(project)
    after = {
        path: path.read_bytes() for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert after == before


def test_without_docker_it_says_what_to_install_and_goes_on(project: Path, without_docker: str) -> None:
    found = doctor(project, PATH=without_docker)
    assert found["Docker"][0] == "note"
    assert "https://docs.docker.com/engine/install/" in found["Docker"][1]
    assert "Compose files" not in found
    assert ".venv" in found


def test_secrets_that_others_can_read(project: Path) -> None:
    (project / ".env").chmod(0o644)
    assert doctor(project)[".env"] == (
        "PROBLEM",
        "others can read its secrets (mode 644). Change that: chmod 600 .env",
    )


def test_a_secret_that_is_missing(project: Path) -> None:
    edit(project, REDIS_PASSWORD="")
    verdict, text = doctor(project)[".env"]
    assert verdict == "PROBLEM"
    assert text.startswith("REDIS_PASSWORD must have a value")


def test_a_misspelt_setting_is_noted(project: Path) -> None:
    with (project / ".env").open("a") as file:
        file.write("MAX_WAITT=5\n")
    assert doctor(project)[".env"] == (
        "note",
        "nothing reads MAX_WAITT but code of your own: is MAX_WAIT meant?",
    )


def test_a_setting_that_is_given_twice(project: Path) -> None:
    with (project / ".env").open("a") as file:
        file.write("MAX_WAIT=5\n")
    assert doctor(project)[".env"] == ("PROBLEM", "MAX_WAIT: given more than once, and only the last one counts")


def test_wrong_settings_are_named_by_the_services_own_parser(project: Path) -> None:
    edit(project, MAX_WAIT="soon", EXECUTOR="both")
    verdict, text = doctor(project)["Settings"]
    assert verdict == "PROBLEM"
    assert "MAX_WAIT is 'soon': expected a number from 0 to 86400" in text
    assert "EXECUTOR is 'both': expected one of: queue, inline" in text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CALLBACK_ALLOW", "http://foo bar", 'CALLBACK_ALLOW: "http://foo bar" is a URI'),
        ("CALLBACK_PORTS", "x", "CALLBACK_PORTS is 'x': "),
        ("CALLBACK_SECRET", "hello!", "CALLBACK_SECRET: cannot be read; expected whsec_ and base64"),
        ("REDIS_MAXMEMORY", "lots", "REDIS_MAXMEMORY must be a number of bytes such as 512mb or 2gb, not 'lots'"),
        ("LAUNCH_TIMEOUT", "x", "LAUNCH_TIMEOUT must be a number greater than 0, not 'x'"),
        ("WORKERS", "-3", "WORKERS must be a whole number from 1 to 100, not '-3'"),
    ],
)
def test_settings_that_only_some_use_are_checked_too(project: Path, name: str, value: str, said: str) -> None:
    path = project / ".env"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(f"{name}=")]
    path.write_text("\n".join([*lines, f"{name}={value}", ""]), encoding="utf-8")
    verdict, text = doctor(project)["Settings"]
    assert verdict == "PROBLEM"
    assert said in text


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            "docker-compose.yml:docker-compose.gpus.yml",
            "COMPOSE_FILE in .env names 'docker-compose.gpus.yml', which does not exist. There are: "
            "docker-compose.data.yml, docker-compose.gpu.yml, docker-compose.metrics.yml, "
            "docker-compose.nginx-tls.yml, docker-compose.nginx.yml, docker-compose.proxy.yml, "
            "docker-compose.rabbitmq.yml, docker-compose.tls.yml, docker-compose.yml",
        ),
        (
            "docker-compose.proxy.yml",
            "COMPOSE_FILE in .env must name docker-compose.yml; the others only add to it.",
        ),
    ],
)
def test_compose_files_that_cannot_work(project: Path, files: str, said: str) -> None:
    edit(project, COMPOSE_FILE=files)
    assert doctor(project)["Settings"] == ("PROBLEM", said)


def test_a_taken_port(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        edit(project, COMPOSE_FILE="docker-compose.yml:docker-compose.proxy.yml", PROXY_PORT=str(number))
        verdict, text = doctor(project)["Ports"]
    assert verdict == "PROBLEM"
    assert text.startswith(f"Port {number} is already taken! Set an available port in .env, for example PROXY_PORT=")


def test_a_proxy_port_that_the_api_has(project: Path) -> None:
    number = re.search(r"^API_PORT=(\d+)$", (project / ".env").read_text(), re.MULTILINE)
    assert number
    edit(project, COMPOSE_FILE="docker-compose.yml:docker-compose.proxy.yml", PROXY_PORT=number[1])
    text = f"PROXY_PORT in .env must differ from API_PORT and MONITOR_PORT, it is {number[1]} too."
    assert doctor(project)["Ports"] == ("PROBLEM", text)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Docker shares folders without regard to numbers")
@pytest.mark.parametrize(
    ("file", "shown"),
    [
        ("json.py", "json.py"),
        ("random/__init__.py", "random/"),
        ("types.py", "types.py"),
        ("__future__.py", "__future__.py"),
    ],
)
def test_a_file_that_hides_a_module_of_python_is_refused_by_each_command(project: Path, file: str, shown: str) -> None:
    name = file.removesuffix(".py").partition("/")[0]
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text("")
    (project / "test.py").write_text("")  # nobody needs the module of that name
    (project / "time.py").write_text("")  # and this one is not hidden
    done = make(project, "status")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        f"{shown} in the project's folder hides the Python module {name!r}, which is needed: "
        "rename it, or move it into app/logic/."
    )


def test_a_file_that_hides_a_package_is_named(project: Path) -> None:
    installed = project / ".venv/lib/python3.12/site-packages"
    (installed / "redis").mkdir(parents=True)
    (installed / "app").mkdir()  # the project's own comes first, as it must
    (project / "train.py").write_text("")
    assert doctor(project)[".venv"][0] == "ok"
    (project / "redis.py").write_text("")
    verdict, text = doctor(project)[".venv"]
    assert verdict == "PROBLEM"
    assert text.startswith("redis.py in the project's folder hides the Python module 'redis'")
    assert "hides" not in make(project, "status").stderr  # which needs no package


def test_files_that_the_containers_cannot_read(project: Path) -> None:
    (project / "app/logic/pipeline.py").chmod(0)
    verdict, text = doctor(project)["Folder"]
    assert verdict == "PROBLEM"
    assert text.endswith("cannot read app/logic/pipeline.py. Let them: chmod -R a+rX app denzel entrypoints proxy")


def test_a_disk_that_is_full(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from commands import doctor as module
    from commands.shared.project import CommandError

    usage = shutil.disk_usage(project)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    with pytest.raises(CommandError, match=r"1\.0 GB are free at .*; 4 or more are needed"):
        module._space(project / "not there yet", 4)


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command")
def test_launch_refuses_wrong_settings_before_anything_is_built(project: Path) -> None:
    if subprocess.run(["docker", "version"], capture_output=True).returncode != 0:
        pytest.skip("needs Docker")
    edit(project, MAX_WAIT="soon")
    done = make(project, "launch")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Wrong settings (correct them in .env):\n  MAX_WAIT is 'soon': expected")


def test_the_limits_of_the_containers_are_told(project: Path) -> None:
    verdict, text = doctor(project).get("Limits", ("", ""))
    if not verdict:
        pytest.skip("needs Docker")
    assert verdict == "ok"
    assert re.search(r"^denzel: \d+m of memory, \d+ cores?, \d+ processes$", text, re.MULTILINE), text
    assert re.search(r"^redis: .*, \d+mb of data \(REDIS_MAXMEMORY\)$", text, re.MULTILINE), text
    edit(project, REDIS_MAXMEMORY="0")
    verdict, text = doctor(project)["Limits"]
    assert verdict == "note"
    assert text.startswith("REDIS_MAXMEMORY is 0, but the container redis may take")
    edit(project, DENZEL_MEMORY_LIMIT="900000g", API_CPU_LIMIT="0")
    verdict, text = doctor(project)["Limits"]
    assert verdict == "note"
    assert text.startswith("DENZEL_MEMORY_LIMIT: more than this machine has")
    edit(project, DENZEL_CPU_LIMIT="9999")
    verdict, text = doctor(project)["Limits"]
    assert verdict == "PROBLEM"
    assert "takes no larger limit" in text
