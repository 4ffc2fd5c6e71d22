"""`make install`: the project's own `.venv` with everything that runs without Docker.

It holds requirements-denzel.txt, in the versions and with the hashes of its lock, requirements.txt and the test plugin
of requirements-test.txt; `make bench` adds requirements-bench.txt. The other commands call `ensure_installed()` for
what they need of it: nothing happens while `.venv` fits the files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from commands.local import venv
from commands.local.pip import LOG, pip_install
from commands.local.plugin import PLUGIN, install_test_requirements, read_test_requirements
from commands.local.venv import BENCH_FILE, PYTHON, TEST_FILE, VENV
from commands.shared.arguments import parse_arguments
from commands.shared.env import read_env
from commands.shared.ownership import require_own_files
from commands.shared.package_index import index_is_right
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.screen import colour, say
from denzel import requirements


def run(arguments: list[str]) -> int:
    """Make or update `.venv` with the Python that runs this."""
    options = parse_arguments(arguments, {"DENZEL_TEMPLATE": os.environ.get("DENZEL_TEMPLATE", "")})
    with _one_at_a_time():
        _install(venv.new_venv_reason(wanted=venv.version_of_this_python()), True, options["DENZEL_TEMPLATE"])
    stamp = venv.read_stamp()
    without = "" if stamp["plugin"] or not (ROOT / TEST_FILE).exists() else f", without {PLUGIN}"
    say(f"{colour('Installed', 'green')} in .venv (Python {stamp['version']}{without}).")
    if _has_commands(ROOT / "requirements.sh"):
        say("Note: the commands of requirements.sh run in the containers' image only, not on this machine.")
    return 0


def ensure_installed(*, tests: bool = False, bench: bool = False) -> Path:
    """The `.venv`'s Python, after installing what is missing or has changed since.

    With ``tests`` the plugin too, with ``bench`` what `make bench` needs.

    Raises:
        CommandError: it could not be installed; the text says why.
    """
    if _reason(tests, bench):
        with _one_at_a_time():
            if reason := _reason(tests, bench):  # another command may have installed it meanwhile
                say(f"Installing what the project needs into .venv ({reason})")
                _install(venv.new_venv_reason(), tests, os.environ.get("DENZEL_TEMPLATE", ""), bench)
        if tests and not venv.read_stamp().get("plugin"):
            raise CommandError(f"The tests need {PLUGIN}, which could not be installed (see above).")
    return PYTHON


def _reason(tests: bool, bench: bool) -> str | None:
    """Why `.venv` cannot be used as it is, None if it can."""
    if reason := venv.new_venv_reason():
        return reason
    stamp = venv.read_stamp()
    if not stamp["files"]:
        return "the last installation did not finish"
    if tests and (not stamp["plugin"] or os.environ.get("DENZEL_TEMPLATE", stamp["template"]) != stamp["template"]):
        return f"{PLUGIN} is missing" if not stamp["plugin"] else "DENZEL_TEMPLATE has changed"
    for name, digest in venv.digests(tests, bench).items():
        if stamp["files"].get(name) != digest:
            return f"{name} has changed" if name in stamp["files"] else f"first use of {name}"
    return None


def _install(new_venv_reason: str | None, tests: bool, template: str, bench: bool = False) -> None:
    """Bring `.venv` up to date; made anew where there is a reason. What did not finish is done again the next time."""
    old = {} if new_venv_reason else venv.read_stamp()
    template = template or venv.read_stamp().get("template") or ""
    test_requirements = read_test_requirements(template)  # a wrong DENZEL_TEMPLATE is said before anything happens
    index_is_right(read_env())
    digests = venv.digests(tests, bench)
    if new_venv_reason:
        venv.make_venv()
    stamp = {"folder": str(VENV.resolve()), "version": venv.python_version(), "template": template}
    venv.write_stamp({**stamp, "plugin": False, "files": {}})
    LOG.write_bytes(b"")
    python = tuple(map(int, str(stamp["version"]).split(".")))
    if note := requirements.usable_lock(ROOT, python)[1]:
        say(f"Note: {note}")
    with tempfile.TemporaryDirectory() as folder:
        for options in requirements.runs(ROOT, [BENCH_FILE] * bench, Path(folder), python):
            pip_install(options)
    plugin = install_test_requirements(test_requirements) if tests else old.get("plugin", False)
    venv.write_stamp({**stamp, "plugin": plugin, "files": {**old.get("files", {}), **digests}})


def _has_commands(script: Path) -> bool:
    lines = script.read_text(encoding="utf-8").splitlines() if script.exists() else []
    return any(line.strip() and not line.startswith(("#", "set ")) for line in map(str.lstrip, lines))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two commands that find `.venv` out of date do not install at once."""
    require_own_files()
    MARKERS.mkdir(exist_ok=True)
    with open(MARKERS / "install.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Waiting for another installation in this folder ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
