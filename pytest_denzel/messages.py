"""What the plugin tells its users, in one place: what happened, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest


def fail(text: str) -> NoReturn:
    """Fail the test with a text that says all there is to say: no traceback."""
    __tracebackhide__ = False  # else pytest would add that all of the traceback is hidden
    pytest.fail(text, pytrace=False)


def no_project(places: Iterable[Path]) -> str:
    looked = ", ".join(dict.fromkeys(map(str, places)))
    return (
        f"No Denzel project found: no denzel/testing.py in {looked}, nor in a folder above.\n"
        "Run pytest inside the project, or name its folder: --denzel-project=PATH "
        "(or denzel_project in the ini file)."
    )


def not_a_project(root: Path, source: str) -> str:
    return f"{source}: {root} is not a Denzel project: it has no denzel/testing.py."


def several_projects(roots: Iterable[Path]) -> str:
    """The tests of a run lie in several projects, of which a process can import one: all are named `app`."""
    return (
        "One run of pytest tests one Denzel project, and these tests belong to several. Run each by itself:\n"
        + "\n".join(f"  cd {shlex.quote(str(root))} && pytest" for root in roots)
    )


def other_project(root: Path, source: str, others: Iterable[Path]) -> str:
    """The run was told which project it is of, and tests of another one were collected."""
    return (
        f"{source} names the project {root}, and these tests belong to another one, which it would not test. "
        "Run them by themselves, without that setting:\n"
        + "\n".join(f"  cd {shlex.quote(str(other))} && pytest" for other in others)
        + "\n(To run the tests of one project against another one, name that by --denzel-project.)"
    )


_BAKE_OVER = "bake over it with the newer one (`cookiecutter -f -s TEMPLATE` in the folder above; your own files stay)"


def baked_before_the_door(root: Path, plugin: str) -> str:
    return (
        f"{root} was baked from a template that is older than pytest-denzel {plugin} can work with (it has no "
        f"denzel/testing.py): {_BAKE_OVER}, or install the pytest-denzel that was made with the older one."
    )


def door_is_older(root: Path, plugin: str, version: int, oldest: int) -> str:
    return (
        f"{root} was baked from a template that is older than pytest-denzel {plugin} can work with (VERSION in "
        f"denzel/testing.py is {version}, and {oldest} at least is needed): {_BAKE_OVER}, or install the pytest-denzel "
        "that was made with the older one."
    )


def door_is_newer(root: Path, plugin: str, version: int, newest: int) -> str:
    return (
        f"{root} was baked from a template that is newer than pytest-denzel {plugin} (VERSION in denzel/testing.py is "
        f"{version}, and {newest} is the newest one known): install the newer plugin, by `make install` in the project "
        "or by `pip install --upgrade 'pytest-denzel[docker]'`."
    )


def no_pipeline(root: Path) -> str:
    return f"{root} has no app/logic/pipeline.py, the file with load_model, verify_input, process and predict."


def functions_missing(missing: Sequence[str]) -> str:
    plural = "s" if len(missing) > 1 else ""
    return f"app/logic/pipeline.py lacks the function{plural} {', '.join(missing)}."


def pipeline_import_failed(error: BaseException) -> str:
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("app"):
        hint = (
            f"\n{error.name!r} is not installed for this Python. If it is in requirements.txt: `make install`, then "
            "run pytest from the project's .venv (`make test` does)."
        )
    return f"app/logic/pipeline.py cannot be imported: {type(error).__name__}: {error}{hint}"


def framework_missing(error: ImportError) -> str:
    return (
        f"The project's own packages are not installed for this Python ({error}). "
        "Run `make install`, then pytest from the project's .venv (`make test` does)."
    )


def stage(name: str) -> str:
    return f"stage: {name} (app/logic/pipeline.py)"


def package_missing(name: str) -> str:
    return f"The package {name} is not installed: pip install 'pytest-denzel[docker]' (`make install` does)."


def packages_missing(names: Sequence[str]) -> str:
    return (
        f"The service's packages are not installed for this Python (there is no {', '.join(names)}). "
        "Run `make install`, then pytest from the project's .venv (`make test` does)."
    )


def tier_has_not(tier: str, what: str) -> str:
    return f"The tier {tier} has no {what}: run with --denzel-tier=local or --denzel-tier=docker."


DATABASES = 15  # a Redis server has 16; the first one is the service's
TOO_MANY_WORKERS = f"Redis has databases for {DATABASES} workers of xdist; run with -n {DATABASES} or fewer."


TIER_OF_NO_NAME = 'denzel_tier takes the names of tiers: @pytest.mark.denzel_tier("local", "docker").'
NO_FCNTL = (
    "Services cannot be tested on this system: Python has no fcntl here (Windows). Run pytest in WSL2; what runs in "
    "the process of the tests (pipeline, api_client, examples) works here too."
)
REMOTE_DOCKER = (
    "DOCKER_HOST is {host}, and the tier docker needs an engine on this machine: it publishes its ports on 127.0.0.1, "
    "mounts a folder of this machine, and calls it back."
)
NO_ANSWER_EXPECTED = 'it has a request and no "response" or "error": nothing says what it should be answered'
HOW_TO_ALLOW = '\n(To allow this much: "tolerance": 1e-2 in the example, or denzel_tolerance in pytest.ini.)'
HOW_TO_DECLARE = '\n(To allow this call: outside_world.add("{method}", "{url}", json=...) before it.)'


def examples_in_subfolders(names: Sequence[str]) -> str:
    return f"denzel: not run, as examples lie in app/assets/examples itself: {', '.join(names)}"


def builds_image(image: str) -> str:
    return f"denzel: building the image {image}; what has not changed since the last time is used again"


NOTHING_TESTED = (
    "denzel: nothing is tested yet that this service is for. Put a request and its answer into a file NAME.json in "
    'app/assets/examples, {"request": ..., "response": {...}}: each is a test.'
)


def image_does_not_build(image: str, failure: str) -> str:
    return f"The image {image} does not build:\n{failure}"


def image_missing(what: str) -> str:
    return f"The image cannot be had: {what}. Build it (`make launch` does), or name one that exists: --denzel-image."


def compose_failed(output: str) -> str:
    lines = [line for line in output.strip().splitlines() if line.strip()]
    shown = "\n".join(f"  | {line}" for line in lines[-15:])
    return f"The containers could not be started. What Docker Compose said:\n{shown}"


def tier_unavailable(tier: str, reason: str, demanded: str | None) -> str:
    """One line: why the tier cannot run here."""
    text = f"The tier {tier} cannot run here. {reason}"
    return f"{text} (It is {demanded}.)" if demanded else text


def service_failed(service: str, what: str, log: str) -> str:
    """A service that did not come up, with the end of its log."""
    shown = "\n".join(f"  | {line}" for line in log.rstrip().splitlines()[-30:]) or "  | (nothing)"
    return f"{service} {what}.\nThe end of its log:\n{shown}"


def failed_before(message: str) -> str:
    return f"The services of this run did not start; the first test that failed says why: {message.splitlines()[0]}"


def kept(project: str, lines: Sequence[str], command: str) -> str:
    shown = "".join(f"\n  {line}" for line in lines)
    return f"kept running (--denzel-keep) for {project}:{shown}\nremove it with: {command}"
