"""The project's `.venv`: making it, and the stamp in it that says what was installed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from typing import Any

from commands.shared.package_index import pip_environment
from commands.shared.project import ROOT, CommandError
from commands.shared.screen import say
from denzel import requirements

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "denzel-install.json"
TEST_FILE = "requirements-test.txt"
BENCH_FILE = "requirements-bench.txt"

_NO_VENV = """\
Python {version} ({python}) could not make a virtual environment:
{output}
On Debian and Ubuntu: apt install python3-venv. Or name another Python: make install PYTHON=python3.12"""


# --------------------------------------------------------------------------------------- what is out of date


def new_venv_reason(wanted: str | None = None) -> str | None:
    """Why `.venv` has to be made anew, None if it can be kept; ``wanted`` is the Python it is to have."""
    if not (VENV / "bin").is_dir():
        return "first use"
    if not (stamp := read_stamp()):
        return "it is incomplete"
    if stamp["folder"] != str(VENV.resolve()):
        return "the project's folder has moved"
    version = python_version()
    if version != stamp["version"]:
        return "its Python is gone" if version is None else f"its Python is {version} now"
    if wanted and wanted != version:
        return f"for Python {wanted}"
    return None


def python_version() -> str | None:
    """The version ("3.12") of the Python behind `.venv`, None if it does not run."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([PYTHON, "-I", "-S", "-c", show], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip()
    # a Python that was exchanged does not see the packages, which lie under the old version's name
    return version if done.returncode == 0 and (VENV / "lib" / f"python{version}").is_dir() else None


def version_of_this_python() -> str:
    """The version ("3.12") of the Python that runs this."""
    return "{}.{}".format(*sys.version_info[:2])


def read_stamp() -> dict[str, Any]:
    """What the last installation left; its "files" are empty if it did not finish."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def write_stamp(stamp: dict[str, Any]) -> None:
    """Leave in `.venv` what was installed."""
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def digests(tests: bool, bench: bool) -> dict[str, str]:
    """A digest of each requirement file, and of what requirements.txt names."""
    try:
        found = requirements.digests(ROOT)
    except requirements.RequirementsError as error:
        raise CommandError(str(error)) from None
    for name in (requirements.FRAMEWORK, requirements.FRAMEWORK_LOCK, *[TEST_FILE] * tests, *[BENCH_FILE] * bench):
        path = ROOT / name
        if path.exists():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# -------------------------------------------------------------------------------------------- making it


def base_python() -> str:
    """The Python that runs this, outside of any virtual environment: that may be the .venv that is replaced."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    base = getattr(sys, "_base_executable", sys.executable)  # Python 3.10 gives the environment's own here
    return os.path.realpath(base) if base == sys.executable else base


def into_venv() -> list[str]:
    """Options of pip by which packages go into `.venv`, wherever pip.conf or PIP_ variables would have them."""
    return ["--no-user", "--target=", f"--prefix={VENV.resolve()}", "--root=/"]


def make_venv() -> None:
    """Make `.venv` with this Python, in the place of an old one.

    Raises:
        CommandError: that is not possible; nothing is left of it then.
    """
    python = base_python()
    say(f"Making .venv with Python {sys.version.split()[0]} ({python})")
    # resolved: venv refuses a symbolic link
    commands = [[python, "-m", "venv", "--clear", str(VENV.resolve())]]
    if importlib.util.find_spec("ensurepip") is None:
        # Debian packs it apart; a pip of that Python can fill the environment instead
        commands[0].append("--without-pip")
        commands.append([python, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", *into_venv(), "pip"])
    for command in commands:
        done = subprocess.run(
            command,
            env=pip_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            raise CommandError(
                _NO_VENV.format(version=version_of_this_python(), python=python, output=done.stdout.strip())
            )
