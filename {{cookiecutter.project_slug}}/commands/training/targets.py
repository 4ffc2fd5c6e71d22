"""`make train` and `make score`: what `app/training.py` defines, run where the service's packages are.

That is a container of its own while the project is launched, else `.venv`, as for `make test`. What is fitted, judged
and refused there is said in `denzel/training`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from commands.local.install import ensure_installed
from commands.shared.arguments import parse_arguments, switch
from commands.shared.docker import compose_command, compose_environment
from commands.shared.env import read_env, shell_environment
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.running import launched
from commands.shared.screen import say
from commands.training import lock_assets
from commands.training.plot import residual_plot

LOG = ROOT / "logs" / "training.log"
FOLDER = MARKERS / "score"  # what the process leaves for us: the points of the plot
REPORT, PLOT = FOLDER / "report.json", MARKERS / "score.svg"
_IN_CONTAINER = "/opt/denzel"


def train(arguments: list[str]) -> int:
    """Fit the model on the connector's data; it takes the place of the one that serves unless it is worse."""
    force = switch(parse_arguments(arguments, {"FORCE": "0"})["FORCE"], "FORCE")
    with _one_at_a_time():
        lock_assets.check()
        code = _run("train", *["--force"] * force, "--code", _commit())
        if code == 0:
            lock_assets.after_training()
        return code


def score(arguments: list[str]) -> int:
    """Judge the asset on fresh data, and draw what it predicts against what was measured."""
    parse_arguments(arguments, {})
    FOLDER.mkdir(parents=True, exist_ok=True)
    REPORT.unlink(missing_ok=True)
    if launched():
        FOLDER.chmod(0o777)  # the container may run as another user
    code = _run("score", "--report", f"{'report' if launched() else FOLDER.relative_to(ROOT)}/{REPORT.name}")
    if code == 0:
        _draw()
    return code


def _run(*words: str) -> int:
    """Run `denzel.training`, showing what it prints and keeping it in the log; its exit code."""
    if launched():
        command, environment = _container(*words), compose_environment()
    else:
        command = [str(ensure_installed()), "-m", "denzel.training", *words]
        environment = shell_environment() | read_env() | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    LOG.parent.mkdir(exist_ok=True)
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} make {words[0]}\n")
        assert process.stdout
        assert process.stderr
        threads = [
            threading.Thread(target=_copy, args=(source, target, log))
            for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return 1 if process.returncode else 0


def _copy(source: IO[str], target: IO[str], log: IO[str]) -> None:
    for line in source:
        target.write(line)
        target.flush()
        log.write(line)


def _container(*words: str) -> list[str]:
    """A container as those with the predictions, which may write into app/assets and ends with its command."""
    options = ["--rm", "--no-deps", "--no-TTY", "--env", "PYTHONUNBUFFERED=1"]
    options += ["--volume", f"{ROOT / 'app/assets'}:{_IN_CONTAINER}/app/assets"]
    if words[0] == "score":
        options += ["--volume", f"{FOLDER}:{_IN_CONTAINER}/report"]
    if ROOT.stat().st_uid == 0:  # the user of the containers may not write into root's folder
        options += ["--user", "0:0"]
    return compose_command("run", *options, "denzel", "python", "-m", "denzel.training", *words)


def _commit() -> str:
    """The commit that the project is at, with `+edits` where files differ from it; empty where git does not tell."""
    try:
        head, edits = (
            subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", ".", ":!app/assets"])
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.strip() + ("+edits" if edits.strip() else "")


def _draw() -> None:
    """Draw the plot of what the process has left."""
    if not REPORT.exists():
        return
    if plot := residual_plot(json.loads(REPORT.read_text(encoding="utf-8"))):
        PLOT.write_text(plot, encoding="utf-8")
        say(f"The plot: {PLOT.relative_to(ROOT)}")


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two trainings at once would judge by a model that is being replaced."""
    MARKERS.mkdir(exist_ok=True)
    with open(MARKERS / "train.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError("Another make train runs in this folder: wait for its end.") from None
        yield
