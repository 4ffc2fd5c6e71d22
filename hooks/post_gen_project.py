"""Finish a freshly generated project: put the options in place, fill in the secrets, print the next steps.

Cookiecutter renders this file and runs it in the project's folder. It uses the standard library alone, needs
neither network nor git, may run any number of times, and never overwrites a file or a secret of the user.
It can be imported as it is by the tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

# `tojson` escapes the apostrophe, so that no answer can end this literal: answers stay data.
ANSWERS = r'''{{ cookiecutter | tojson }}'''  # fmt: skip


@dataclass(frozen=True)
class Choice:
    """What one answer does to the project."""

    places: str = ""  # a folder whose files are put in place: over the skeleton's, never over the user's
    compose: str = ""  # compose files, joined by colons, that join docker-compose.yml in COMPOSE_FILE of a new .env
    env: Mapping[str, str] = field(default_factory=dict)  # other settings of a new .env


OPTIONS: dict[str, dict[Any, Choice]] = {
    "response": {
        "sync": Choice(env={"SYNC_TIMEOUT": "5.0"}),
        "async": Choice(env={"SYNC_TIMEOUT": "0"}),
    },
    "gpu": {
        True: Choice(compose="docker-compose.gpu.yml"),
        False: Choice(),
    },
    "broker": {
        "redis": Choice(),
        "rabbitmq": Choice(compose="docker-compose.rabbitmq.yml"),
    },
    "stack": {
        "basic": Choice(),
        "full": Choice(compose="docker-compose.rabbitmq.yml:docker-compose.nginx.yml"),
    },
    "example": {
        "iris": Choice(places="examples/iris"),
        "regression": Choice(places="examples/regression", compose="docker-compose.data.yml"),
        "none": Choice(),
    },
    "ci": {
        "github": Choice(places="ci/github"),
        "none": Choice(),
    },
}

# The folders that only carry files to their place.
STAGING = sorted({choice.places for table in OPTIONS.values() for choice in table.values() if choice.places})

# The user-owned files of the skeleton that an example replaces, by the SHA-256 of their text. A file whose
# text differs was edited and is left alone.
SKELETON = {
    "app/logic/pipeline.py": "56fafd3827f26084a7621d05087146a56751b9df6723e5fd1725b6ac4c68c29a",
    "requirements.txt": "12bb78b2c65f68a5c655f7ad2ea427128a2ba9eabf73e0e48953fa9ab7f746f3",
    "tests/test_pipeline.py": "efc9e9d40b956386e5f7c7952200b3be9e08f1df63e6b6feabb8e1a7c8cdbbd9",
    "tests/test_service.py": "6ba8b54d58ae6c285214bb585681f1323bca860e55089e0c4c67e38b4143f4ed",
}

PIPELINE = "app/logic/pipeline.py"
TEST_REQUIREMENTS = "requirements-test.txt"
UNPRIVILEGED_ID = 10001


# ---- Examples -------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """Return the SHA-256 of a file's text, whatever its line endings."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def replaceable(target: Path, name: str) -> bool:
    """Say whether an example's file may take the place: nothing is there, or the skeleton as it came."""
    return not os.path.lexists(target) or (target.is_file() and digest(target) == SKELETON.get(name))


def place(project: Path, folder: Path) -> bool:
    """Put a folder's files in place; return False, and place none, where the pipeline is the user's own."""
    own, brought = project / PIPELINE, folder / PIPELINE
    if brought.exists() and not replaceable(own, PIPELINE) and digest(own) != digest(brought):
        return False
    for source in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = source.relative_to(folder).as_posix()
        target = project / name
        if replaceable(target, name):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    return True


def remove_staging(project: Path) -> None:
    """Remove the folders that carried files, and their parents where nothing else is in them."""
    for name in STAGING:
        shutil.rmtree(project / name, ignore_errors=True)
        parent = (project / name).parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()


# ---- Settings and secrets -------------------------------------------------------------------------


def webhook_secret() -> str:
    """Return a new secret in the form of the Standard Webhooks: `whsec_` and the base64 of 36 bytes."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(36)).decode()


def owner_id(found: int) -> str:
    """Return the id that the containers run under: the folder owner's, but never root's."""
    return str(found or UNPRIVILEGED_ID)


PLACEHOLDER = "__GENERATED__"  # what .env holds in the place of a secret until it is generated
GENERATED: dict[str, Callable[[Path], str]] = {
    "PROJECT_ID": lambda project: secrets.token_hex(12),
    "REDIS_PASSWORD": lambda project: secrets.token_hex(24),
    "REDIS_API_PASSWORD": lambda project: secrets.token_hex(24),
    "REDIS_DENZEL_PASSWORD": lambda project: secrets.token_hex(24),
    "REDIS_CALLBACKS_PASSWORD": lambda project: secrets.token_hex(24),
    "REDIS_MONITOR_PASSWORD": lambda project: secrets.token_hex(24),
    "MONITOR_PASSWORD": lambda project: secrets.token_hex(24),
    "CALLBACK_SECRET": lambda project: webhook_secret(),
    "RABBITMQ_PASSWORD": lambda project: secrets.token_hex(24),
    "GRAFANA_PASSWORD": lambda project: secrets.token_hex(24),
    "DENZEL_UID": lambda project: owner_id(project.stat().st_uid),
    "DENZEL_GID": lambda project: owner_id(project.stat().st_uid and project.stat().st_gid),
}


def chosen_settings(choices: Iterable[Choice]) -> dict[str, str]:
    """Return what the choices set in .env."""
    settings: dict[str, str] = {}
    compose = ["docker-compose.yml"]
    for choice in choices:
        settings.update(choice.env)
        compose += choice.compose.split(":") if choice.compose else []
    return {"COMPOSE_FILE": ":".join(dict.fromkeys(compose)), **settings}


def complete_env(path: Path, choices: Iterable[Choice], leave_out: bool = False) -> None:
    """Fill in a new .env what is generated and chosen; one that was in use keeps every value it has.

    Beside a new one goes .env.example: the same without secrets, from which a clone of the project makes its own. So
    does the project itself where a new .env is left out, as for cruft: it generates the project again at each update,
    and takes other secrets for a change of the template.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    new = PLACEHOLDER in found.values()
    chosen = {key: value for key, value in chosen_settings(choices).items() if new or key not in found}
    if new:
        path.with_name(".env.example").write_text("\n".join(with_settings(lines, chosen)) + "\n", encoding="utf-8")
    if new and leave_out:
        path.unlink()
        return
    wanted = {key: generate(path.parent) for key, generate in GENERATED.items() if new or key not in found} | chosen
    if wanted:
        write_private(path, "\n".join(with_settings(lines, wanted)) + "\n")
    path.chmod(0o600)


def open_redis_data(folder: Path) -> None:
    """Let Redis in its container write there, which never runs as root, whom the project may belong to."""
    if hasattr(os, "geteuid") and os.geteuid() == 0 and folder.stat().st_uid == 0:
        os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)


def with_settings(lines: Iterable[str], wanted: Mapping[str, str]) -> Iterable[str]:
    """Yield the lines with these settings: in the place of their own line, else at the end."""
    left = dict(wanted)
    for line in lines:
        key = line.split("=", 1)[0]
        yield f"{key}={left.pop(key)}" if "=" in line and key in left else line
    for key, value in left.items():
        yield f"{key}={value}"


def write_private(path: Path, text: str) -> None:
    """Write a file in one step; nobody but its owner can read it at any moment."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


# ---- The tests' requirement -----------------------------------------------------------------------

ABBREVIATIONS = {
    "gh": "https://github.com/{}.git",
    "gl": "https://gitlab.com/{}.git",
    "bb": "https://bitbucket.org/{}",
}


def template_url(template: str, checkout: str | None, bases: Iterable[str]) -> str:
    """Return the URL by which pip installs from the template that this project was baked from.

    `bases` are the folders that a relative path may start from.
    """
    prefix, _, rest = template.partition(":")
    if prefix in ABBREVIATIONS:
        template = ABBREVIATIONS[prefix].format(rest)
    if is_remote(template):
        url = without_password(template).replace(" ", "%20")
        if url.lower().endswith(".zip"):
            return url
        return git_url(url) + (f"@{quote(checkout, safe='/')}" if checkout else "")
    return local_path(template, bases).as_uri()


def baked_from(git: Path, checkout: str | None) -> str | None:
    """Return what the clone of a template stands at, read as git keeps it: the tag that was asked for, else the commit.

    A branch goes on; what was baked with it stays. None where that cannot be told.
    """
    try:
        packed = git / "packed-refs"
        lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
        refs = {name: commit for commit, _, name in (line.partition(" ") for line in lines)}
        tag = f"refs/tags/{checkout}"
        if checkout and (tag in refs or (git / tag).is_file()):
            return checkout
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if head.startswith("ref: "):
            name = head.removeprefix("ref: ")
            head = (git / name).read_text(encoding="utf-8").strip() if (git / name).is_file() else refs.get(name, "")
    except (OSError, ValueError):
        return None
    return head if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", head) else None


def without_password(url: str) -> str:
    """Return an http URL without its user and password: the requirement file goes into the project's git."""
    return re.sub(r"(https?://)[^/]*@", r"\1", url)


def is_remote(template: str) -> bool:
    """Say whether Cookiecutter fetched the template: by a URL, or by git's `user@host:path`."""
    return "://" in template or ("@" in template.split(":")[0] and ":" in template)


def git_url(url: str) -> str:
    """Return pip's spelling of what git clones."""
    if "://" not in url:  # git@host:owner/name.git
        host, _, path = url.partition(":")
        url = f"ssh://{host}/{path.lstrip('/')}"
    return url if url.startswith(("git+", "hg+")) else f"git+{url}"


def local_path(template: str, bases: Iterable[str]) -> Path:
    """Return the absolute path of a template that was named by a path."""
    candidates = [Path(base, template) for base in bases]
    return Path(os.path.abspath(next((path for path in candidates if path.exists()), candidates[0])))


def write_test_requirements(path: Path, answers: Mapping[str, Any]) -> None:
    """Point the requirement on pytest-denzel at the template; the rest of the file stays as it is."""
    repository = answers.get("_repo_dir") or ""
    template = answers.get("_template") or repository
    if not is_remote(template) and template.partition(":")[0] not in ABBREVIATIONS and repository:
        template = template if template.lower().endswith(".zip") else repository
    bases = [os.environ.get("PWD", ""), answers.get("_output_dir") or "", os.getcwd()]
    checkout = baked_from(Path(repository) / ".git", answers.get("_checkout")) if repository else None
    checkout = answers.get("_commit") or checkout or answers.get("_checkout")
    url = template_url(template, checkout, [base for base in bases if base])
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [f"pytest-denzel[docker] @ {url}" if line.startswith("pytest-denzel") else line for line in lines]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ---- The whole ------------------------------------------------------------------------------------

NEXT_STEPS = """
Your project is ready: {folder}

  cd {folder}
{fill}  make launch        build and start the containers (needs Docker)
  make dev           or: the same services as plain processes (no Docker)
{predict}  make test          run the project's tests
  make               list every command
"""


def next_steps(project: Path, answers: Mapping[str, Any]) -> str:
    """Return what to do now, ready to be copied from the terminal."""
    empty = answers["example"] == "none"
    here = os.environ.get("PWD") == (answers.get("_output_dir") or str(project.parent))
    return NEXT_STEPS.format(
        folder=shlex.quote(project.name if here else str(project)),
        fill=f"  Fill the four functions in {PIPELINE}, then:\n" if empty else "",
        predict="" if empty else "  make predict       send it an example request\n",
    )


def main() -> int:
    answers = json.loads(ANSWERS)
    project = Path.cwd()
    choices = [table[answers[option]] for option, table in OPTIONS.items()]
    for choice in choices:
        if choice.places and not place(project, project / choice.places):
            print(f"{PIPELINE} is your own: the example was not put in its place.")
    remove_staging(project)
    open_redis_data(project / "redis-data")
    complete_env(project / ".env", choices, leave_out="_commit" in answers)
    write_test_requirements(project / TEST_REQUIREMENTS, answers)
    print(next_steps(project, answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
