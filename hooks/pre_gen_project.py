"""Check the answers before anything is generated: every problem is named at once, and nothing is left behind.

Cookiecutter renders this file and runs it in the new project's folder, which is still empty then
(or holds an earlier bake). It uses the standard library alone, and can be imported as it is by the tests.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

# `tojson` escapes the apostrophe, so that no answer can end this literal: answers stay data.
ANSWERS = r'''{{ cookiecutter | tojson }}'''  # fmt: skip

# What Compose accepts as a project name, Docker as an image name and Celery as a part of a node name.
SLUG = re.compile(r"[a-z][a-z0-9]*(?:(?:__?|-+)[a-z0-9]+)*")
SLUG_LENGTH = 40
TEXT_LENGTH = {"project_name": 100, "description": 1000}
CHOICES = {
    "response": ("sync", "async"),
    "gpu": (True, False),
    "broker": ("redis", "rabbitmq"),
    "stack": ("basic", "full"),
    "example": ("iris", "none", "regression"),
    "ci": ("github", "none"),
}

# Files travel through these folders on their way to their place: what exists already is the user's.
STAGING = ("ci/github", "examples/iris", "examples/regression")

# What the template once had, flat in these folders, as long as the folder or file beside each did not exist: the
# framework's modules, by all the names that they ever had there.
ONCE_OURS = {
    ("app", "denzel"): (
        "addresses", "api", "api_redis", "batch", "batch_size", "callbacks", "celery_app", "control", "dispatcher",
        "executor", "gunicorn_conf", "gunicorn_worker", "in_place", "inline_executor", "jsonio", "lane", "monitoring",
        "process_state", "pubsub", "queue_executor", "reloads", "serving", "settings", "stages", "store", "submitter",
        "supervisor", "task_id", "user_pipeline", "user_thread", "webhook", "worker", "worker_redis",
    ),
    ("commands", "commands/shared"): (
        "advice", "bench", "build", "changes", "checks", "client", "control", "dev", "docker", "embedded_redis",
        "hiding", "install", "launch", "lifecycle", "load", "logs", "new_env", "permissions", "predict",
        "processes", "project", "readiness", "receiver", "reload", "response", "scale", "status", "tail", "testing",
        "update",
    ),
}  # fmt: skip


OLDEST_COOKIECUTTER = (2, 7)  # the first one that takes an answer such as gpu=true on the command line


def version_problem(version: str) -> str | None:
    """What to do where Cookiecutter is too old for this template; whatever else fails with it would mislead."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if not numbers or numbers >= OLDEST_COOKIECUTTER:
        return None
    oldest = ".".join(map(str, OLDEST_COOKIECUTTER))
    return f"denzel-template needs Cookiecutter {oldest} or newer; this is {version}: pip install -U cookiecutter"


def cookiecutter_version() -> str:
    """The version of the Cookiecutter that runs this hook, with its own Python; where it cannot be told, a good one."""
    try:
        return str(import_module("cookiecutter").__version__)
    except (ImportError, AttributeError):
        return ".".join(map(str, OLDEST_COOKIECUTTER))


def problems(answers: Mapping[str, Any]) -> Iterable[str]:
    """Yield one sentence for each answer that cannot be used."""
    for key, longest in TEXT_LENGTH.items():
        yield from text_problems(key, answers[key], longest)
    yield from slug_problems(answers["project_slug"])
    for key, allowed in CHOICES.items():
        if answers[key] not in allowed:
            yield f"{key}: {answers[key]!r} is not one of: {', '.join(map(str, allowed))}."


def text_problems(key: str, text: str, longest: int) -> Iterable[str]:
    if not text.strip():
        yield f"{key}: it is empty. Say it in a few words."
    if len(text) > longest:
        yield f"{key}: {len(text)} characters are too many; at most {longest}."
    strange = sorted({letter for letter in text if not (letter.isprintable() or letter in "\n\r\t")})
    if strange:
        yield f"{key}: it holds characters that cannot be printed: {', '.join(map(ascii, strange))}."


def slug_problems(slug: str) -> Iterable[str]:
    """Valid: iris, iris_classifier, iris-2. Invalid: Iris, 2iris, iris_, a/b, a b, an empty one."""
    if not SLUG.fullmatch(slug):
        yield (
            f"project_slug: {slug!r} cannot name a folder and containers. Use lowercase letters, digits and "
            "single '_' or '-' between them, starting with a letter (for example iris_classifier)."
        )
    if len(slug) > SLUG_LENGTH:
        yield f"project_slug: {len(slug)} characters are too many; at most {SLUG_LENGTH}."


def folder_problems(project: Path) -> Iterable[str]:
    """Yield what stands in the way in a folder that is baked over."""
    for name in STAGING:
        if os.path.lexists(project / name):
            yield (
                f"{project / name} is in the way: the template needs that name while it generates. "
                "Rename or remove it, and bake again."
            )


def remove_empty_folders(project: Path, slug: str) -> None:
    """Remove the new, empty folders that a slug like `a/b` made: Cookiecutter removes only the last one."""
    for folder in [project, *project.parents][: len(Path(slug).parts)]:
        try:
            folder.rmdir()
        except OSError:  # not empty: it was there before
            return


def remove_old_framework(project: Path) -> None:
    """Remove the framework's files from where a project of an earlier template has them.

    Where there is the newer place, the older one is the user's (app/), or holds other files of ours (commands/).
    """
    for (folder, successor), names in ONCE_OURS.items():
        if not (project / successor).exists():
            for name in names:
                (project / folder / f"{name}.py").unlink(missing_ok=True)


def main() -> int:
    if problem := version_problem(cookiecutter_version()):
        print(f"\n{problem}\n", file=sys.stderr, flush=True)
        return 1
    answers = json.loads(ANSWERS)
    project = Path.cwd()
    found = [*problems(answers), *folder_problems(project)]
    if not found:
        remove_old_framework(project)
        return 0
    print("\nThe project was not generated:", file=sys.stderr)
    for problem in found:
        print(f"  - {problem}", file=sys.stderr)
    print("", file=sys.stderr, flush=True)
    if os.path.dirname(answers["project_slug"]):
        remove_empty_folders(project, answers["project_slug"])
    return 1


if __name__ == "__main__":
    sys.exit(main())
