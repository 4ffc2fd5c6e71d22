"""This template's own service: a project baked from the working tree, run through its entrypoints with its defaults.

All four services run, each as it does in its container, and every promise is kept: tasks lie in a Redis that appends
every change to a file, the prediction processes are supervised, the monitor watches.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

from environments import COOKIECUTTER, Environment
from paths import CACHE, PROJECTS, REPOSITORY
from processes import Server, free_port

_TEMPLATE = REPOSITORY / "{{cookiecutter.project_slug}}"


def environment() -> Environment:
    """The packages of the baked project, and Cookiecutter."""
    files = (_TEMPLATE / "requirements-denzel.txt", _TEMPLATE / "examples/iris/requirements.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return Environment("service", [COOKIECUTTER, *(line for line in lines if line and not line.startswith("#"))])


def bake(slug: str, pipeline: str | None = None) -> Path:
    """Bake the Iris project anew and return its folder; with another text as its pipeline if one is given."""
    PROJECTS.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(PROJECTS / slug, ignore_errors=True)
    configuration = CACHE / "cookiecutter.yml"
    configuration.write_text(json.dumps({"replay_dir": str(CACHE), "cookiecutters_dir": str(CACHE)}))
    command = [str(environment().bin / "cookiecutter"), "--no-input", "--config-file", str(configuration)]
    command += ["--output-dir", str(PROJECTS), str(REPOSITORY), f"project_slug={slug}", "example=iris"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if pipeline is not None:
        (PROJECTS / slug / "app/logic/pipeline.py").write_text(pipeline, encoding="utf-8")
    return PROJECTS / slug


def iris_pipeline(batchable: bool = True) -> str:
    """The text of the Iris example's pipeline."""
    text = (_TEMPLATE / "examples/iris/app/logic/pipeline.py").read_text(encoding="utf-8")
    assert text.count("\nBATCHABLE = True\n") == 1
    return text if batchable else text.replace("\nBATCHABLE = True\n", "\nBATCHABLE = False\n")


def server(name: str, project: Path, **settings: str) -> Server:
    """The project's services, with an empty Redis; these settings go before those of its `.env`."""
    values = {**_env_file(project), **settings}
    data, api_port, redis_port = project / ".denzel" / "bench-redis", free_port(), free_port()
    values |= {
        "PATH": f"{environment().bin}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "PROJECT_SLUG": project.name,
        "API_BIND": f"127.0.0.1:{api_port}",
        "ALLOWED_HOSTS": "bench",
        "MONITOR_PORT": str(free_port()),
        "REDIS_PORT": str(redis_port),
        "REDIS_DIR": str(data),
        "REDIS_URL": f"redis://:{values['REDIS_PASSWORD']}@127.0.0.1:{redis_port}/0",
        "READY_FILE": str(project / ".denzel" / "ready"),
    }
    empty = f"rm -rf {shlex.quote(str(data))} && mkdir -p {shlex.quote(str(data))}"
    processes = {
        "redis": f"sh -c {shlex.quote(f'{empty} && exec sh entrypoints/redis.sh')}",
        "worker": "sh entrypoints/denzel.sh",
        "api": "sh entrypoints/api.sh",
        "monitor": "sh entrypoints/monitor.sh",
    }
    if values.get("EXECUTOR") == "inline":
        processes = {"api": processes["api"]}
    return Server(name, processes, api_port, project, environment=values)


def key(server: Server, name: str) -> str:
    """A name of the service's in its Redis."""
    return f"denzel/{server.environment['PROJECT_SLUG']}:{name}"


def redis_cli(server: Server, *words: str) -> str:
    """What the service's Redis answers to a command."""
    done = subprocess.run(
        ["redis-cli", "-p", server.environment["REDIS_PORT"], *words],
        env={"REDISCLI_AUTH": server.environment["REDIS_PASSWORD"], "PATH": server.environment["PATH"]},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


def _env_file(project: Path) -> dict[str, str]:
    lines = (project / ".env").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {name: value for name, value in pairs if value}
