"""`make install`: the project's own `.venv` with everything that runs without Docker.

It holds requirements-denzel.txt, requirements.txt and the test plugin of requirements-test.txt; `make bench` adds
requirements-bench.txt. The other commands call `ensure_installed()` for what they need of it: nothing happens
while `.venv` fits the files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from commands.shared.arguments import parse_arguments
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.screen import colour, say, warn

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "denzel-install.json"
LOG = MARKERS / "install.log"
SERVICE_FILES = ("requirements-denzel.txt", "requirements.txt")
TEST_FILE = "requirements-test.txt"
BENCH_FILE = "requirements-bench.txt"
PLUGIN = "pytest-denzel"

_PLUGIN_LINE = re.compile(r"\s*(?P<name>pytest[-_.]denzel\s*(?:\[[^\]]*\])?)(?:\s*@\s*(?P<url>\S+))?", re.IGNORECASE)
_NO_VENV = """\
Python {version} ({python}) could not make a virtual environment:
{output}
On Debian and Ubuntu: apt install python3-venv. Or name another Python: make install PYTHON=python3.12"""


def run(arguments: list[str]) -> int:
    """Make or update `.venv` with the Python that runs this."""
    options = parse_arguments(arguments, {"DENZEL_TEMPLATE": os.environ.get("DENZEL_TEMPLATE", "")})
    with _one_at_a_time():
        _install(_new_venv_reason(wanted=_version_of_this_python()), True, options["DENZEL_TEMPLATE"])
    say(f"{colour('Installed', 'green')} in .venv (Python {_stamp()['version']}).")
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
                _install(_new_venv_reason(), tests, os.environ.get("DENZEL_TEMPLATE", ""), bench)
        if tests and not _stamp().get("plugin"):
            raise CommandError(f"The tests need {PLUGIN}, which could not be installed (see above).")
    return PYTHON


# --------------------------------------------------------------------------------------- what is out of date


def _reason(tests: bool, bench: bool) -> str | None:
    """Why `.venv` cannot be used as it is, None if it can."""
    if reason := _new_venv_reason():
        return reason
    stamp = _stamp()
    if not stamp["files"]:
        return "the last installation did not finish"
    if tests and (not stamp["plugin"] or os.environ.get("DENZEL_TEMPLATE", stamp["template"]) != stamp["template"]):
        return f"{PLUGIN} is missing" if not stamp["plugin"] else "DENZEL_TEMPLATE has changed"
    for name, digest in _digests(tests, bench).items():
        if stamp["files"].get(name) != digest:
            return f"{name} has changed" if name in stamp["files"] else f"first use of {name}"
    return None


def _new_venv_reason(wanted: str | None = None) -> str | None:
    """Why `.venv` has to be made anew, None if it can be kept; ``wanted`` is the Python it is to have."""
    if not (VENV / "bin").is_dir():
        return "first use"
    if not (stamp := _stamp()):
        return "it is incomplete"
    if stamp["folder"] != str(VENV.resolve()):
        return "the project's folder has moved"
    version = _venv_version()
    if version != stamp["version"]:
        return "its Python is gone" if version is None else f"its Python is {version} now"
    if wanted and wanted != version:
        return f"for Python {wanted}"
    return None


def _venv_version() -> str | None:
    """The version ("3.12") of the Python behind `.venv`, None if it does not run."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([PYTHON, "-I", "-S", "-c", show], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = done.stdout.strip()
    # a Python that was exchanged does not see the packages, which lie under the old version's name
    return version if done.returncode == 0 and (VENV / "lib" / f"python{version}").is_dir() else None


def _version_of_this_python() -> str:
    return "{}.{}".format(*sys.version_info[:2])


def _stamp() -> dict[str, Any]:
    """What the last installation left; its "files" are empty if it did not finish."""
    try:
        return json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write_stamp(stamp: dict[str, Any]) -> None:
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")


def _digests(tests: bool, bench: bool) -> dict[str, str]:
    """A digest of each requirement file."""
    found = {}
    for name in (*SERVICE_FILES, *[TEST_FILE] * tests, *[BENCH_FILE] * bench):
        path = ROOT / name
        if path.exists():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# -------------------------------------------------------------------------------------------- installing


def _install(new_venv_reason: str | None, tests: bool, template: str, bench: bool = False) -> None:
    old = {} if new_venv_reason else _stamp()
    template = template or _stamp().get("template") or ""
    test_requirements = _test_requirements(template)  # a wrong DENZEL_TEMPLATE is said before anything happens
    digests = _digests(tests, bench)
    if new_venv_reason:
        _make_venv()
    stamp = {"folder": str(VENV.resolve()), "version": _venv_version(), "template": template}
    _write_stamp({**stamp, "plugin": False, "files": {}})
    LOG.write_bytes(b"")
    files = [ROOT / name for name in (*SERVICE_FILES, *[BENCH_FILE] * bench)]  # together: no package against another
    _pip([f"--requirement={file}" for file in files if file.exists()])
    plugin = _install_tests(test_requirements) if tests else old.get("plugin", False)
    _write_stamp({**stamp, "plugin": plugin, "files": {**old.get("files", {}), **digests}})


def base_python() -> str:
    """The Python that runs this, outside of any virtual environment: that may be the .venv that is replaced."""
    if sys.prefix == sys.base_prefix:
        return sys.executable
    base = getattr(sys, "_base_executable", sys.executable)  # Python 3.10 gives the environment's own here
    return os.path.realpath(base) if base == sys.executable else base


def _make_venv() -> None:
    python = base_python()
    say(f"Making .venv with Python {sys.version.split()[0]} ({python})")
    # resolved: venv refuses a symbolic link
    commands = [[python, "-m", "venv", "--clear", str(VENV.resolve())]]
    if importlib.util.find_spec("ensurepip") is None:
        # Debian packs it apart; a pip of that Python can fill the environment instead
        commands[0].append("--without-pip")
        commands.append([python, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", "pip"])
    for command in commands:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            raise CommandError(
                _NO_VENV.format(version=_version_of_this_python(), python=python, output=done.stdout.strip())
            )


def _install_tests(requirements: list[str]) -> bool:
    """Install the test plugin and what stands beside it; whether the plugin is there now.

    Serving does not need it: if it cannot be had, that is said and no more.
    """
    if not requirements:
        return False
    lines = []
    gone = None
    for line in requirements:
        match = _PLUGIN_LINE.match(line)
        path = _local_path(match["url"]) if match and match["url"] else None
        if path and not path.exists():
            gone = path
        else:
            lines.append(line)
    if gone:
        warn(
            f"{TEST_FILE} takes {PLUGIN} from {gone}, which does not exist. Everything else works without it:"
            "\nmake install DENZEL_TEMPLATE=FOLDER (or gh:owner/name) takes it from elsewhere."
        )
    file = MARKERS / TEST_FILE
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        _pip([f"--requirement={file}"])
    except CommandError as error:
        warn(f"{error}\nThis was for the tests ({TEST_FILE}); everything else works without it.")
        return False
    return any(_PLUGIN_LINE.match(line) for line in lines)


def _test_requirements(template: str) -> list[str]:
    """The lines of requirements-test.txt, the plugin taken from where DENZEL_TEMPLATE says."""
    file = ROOT / TEST_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if not template:
        return lines
    url = _template_url(template)
    return [f"{match['name']} @ {url}" if (match := _PLUGIN_LINE.match(line)) else line for line in lines]


def _template_url(template: str) -> str:
    """What pip understands for a template's folder, a git URL, or `gh:owner/name`."""
    if template.startswith("gh:"):
        return f"git+https://github.com/{template[3:].removesuffix('.git')}.git"
    if "://" in template:
        return template if template.startswith(("git+", "file:")) else f"git+{template}"
    folder = Path(template).expanduser().resolve()
    if not folder.is_dir():
        raise CommandError(
            f"DENZEL_TEMPLATE names {template}, which is no folder here and no URL "
            "(gh:owner/name and git URLs work too)."
        )
    return f"file://{quote(str(folder))}"


def _local_path(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def _has_commands(script: Path) -> bool:
    lines = script.read_text(encoding="utf-8").splitlines() if script.exists() else []
    return any(line.strip() and not line.startswith(("#", "set ")) for line in map(str.lstrip, lines))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two commands that find `.venv` out of date do not install at once."""
    MARKERS.mkdir(exist_ok=True)
    with open(MARKERS / "install.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("Waiting for another installation in this folder ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# --------------------------------------------------------------------------------------------------- pip


def _pip(requirements: list[str]) -> None:
    """Run pip install, showing what it is at; its whole output goes to the log.

    Raises:
        CommandError: it failed; the text ends with pip's own last lines.
    """
    command = [
        # resolved: pip writes this path into the programs of bin/, and a link to the folder may go before it
        str(VENV.resolve() / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--progress-bar=off",
        "--no-compile",  # half the time; what is used is compiled when it is first imported
        *requirements,
    ]
    with LOG.open("a", encoding="utf-8") as log, _Progress() as progress:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout
        last: list[str] = []
        try:
            for line in process.stdout:
                log.write(line)
                last = [*last[-39:], line.rstrip()]
                progress.show(line.strip())
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if code:
        # From where pip begins to say why; the last lines are of little use by themselves.
        begins = [number for number, line in enumerate(last) if re.match(r"\s*(ERROR|error|×)", line)]
        text = "\n".join(line for line in last[min([*begins, max(0, len(last) - 12)]) :] if line)
        raise CommandError(f"{text}\npip failed; its whole output is in {LOG.relative_to(ROOT)}")


class _Progress:
    """What pip is at: on a terminal one line that changes and counts the seconds, else a line each."""

    _STEPS = (
        (re.compile(r"Collecting (\S+)"), "Looking up {}", False),
        (re.compile(r"(?:Downloading|Using cached) (\S+?)-\d\S* (\(.*\))"), "Downloading {} {}", True),
        (re.compile(r"Processing (?:\S*/)?(\S+?)-\d\S*\.whl"), "Taking {} from this machine", True),
        (re.compile(r"Building wheel for (\S+) .*: started"), "Building {}", True),
        (re.compile(r"Installing collected packages: (.*)"), "Installing {} packages", True),
    )

    def __enter__(self) -> _Progress:
        self._started = time.monotonic()
        self._text = "Starting pip"
        self._live = sys.stdout.isatty()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        if self._live:
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._live:
            self._ticker.join()
            sys.stdout.write("\r\033[K")
            sys.stdout.flush()

    def show(self, line: str) -> None:
        """Take a line of pip's output."""
        for pattern, text, worth_a_line in self._STEPS:
            if match := pattern.match(line):
                parts = list(match.groups())
                if "packages" in text:
                    parts = [str(len(parts[0].split(",")))]
                self._text = text.format(*parts)
                if worth_a_line and not self._live:
                    say(f"  {self._text}")

    def _tick(self) -> None:
        while not self._over.wait(0.2):
            width = shutil.get_terminal_size().columns
            seconds = f"{time.monotonic() - self._started:3.0f} s  "
            sys.stdout.write("\r\033[K" + f"  {seconds}{self._text}"[: width - 1])
            sys.stdout.flush()
