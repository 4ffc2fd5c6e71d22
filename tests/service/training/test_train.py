"""`python -m denzel.training`: the asset and its card, the gate, and what an interruption leaves."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Kills the process at one point of the training: in the user's function, or before one call of the system.
KILLED_AT = """
import os, signal, sys
from app import training
from denzel.training.__main__ import main

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half_written(model, path):
    path.write_text('{"class": "PolynomialRegr')
    die()

def before(name, number):
    original, calls = getattr(os, name), []
    def patched(*arguments):
        calls.append(1)
        return die() if len(calls) == number else original(*arguments)
    setattr(os, name, patched)

point, _, number = sys.argv[1].partition(" ")
if point in ("fit", "evaluate"):
    setattr(training, point, die)
elif point == "save":
    training.save = half_written
else:
    before(point, int(number))
sys.exit(main(["train"]))
"""

BEFORE = ["fit", "evaluate", "save", "fsync 1", "replace 1", "fsync 2", "replace 2"]


def run(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.run(
        [sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True, timeout=120
    )


def train(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(project, "-m", "denzel.training", "train", *words, **variables)


def card(project: Path) -> dict:
    return json.loads((project / "app/assets/card.json").read_text())


def assets(project: Path) -> dict[str, bytes]:
    """The files of app/assets, hidden ones too, but for the examples."""
    return {path.name: path.read_bytes() for path in (project / "app/assets").iterdir() if path.is_file()}


def loads(project: Path) -> bool:
    return run(project, "-c", "from app.logic import pipeline; pipeline.load_model()").returncode == 0


def test_the_card_tells_what_the_asset_is(project: Path) -> None:
    done = train(project, "--code", "0123abc")
    assert done.returncode == 0, done.stderr
    told = card(project)
    asset = (project / "app/assets" / told["asset"]).read_bytes()
    assert told["sha256"] == hashlib.sha256(asset).hexdigest()
    assert told["asset"] == f"model-{told['version']}.json"
    assert told["version"] in done.stdout
    assert told["code"] == "0123abc"
    assert told["data"]["rows"] == 1600
    assert len(told["data"]["digest"]) == 64
    assert set(told["versions"]) == {"python", "numpy"}
    assert told["metrics"]["R2"] > 0.99
    assert "forced" not in told


def test_the_asset_of_before_stays_for_who_reads_it_and_older_ones_go(project: Path) -> None:
    first = card(project)["asset"]
    assert train(project).returncode == 0
    second = card(project)["asset"]
    assert {first, second} <= assets(project).keys()
    (project / "app/assets/model-of-mine.json").write_text("{}")
    assert train(project, DEGREE="3").returncode == 0
    third = card(project)["asset"]
    assert assets(project).keys() == {"card.json", "info.txt", second, third, "model-of-mine.json"}


def test_a_worse_model_is_refused_with_both_figures(project: Path) -> None:
    before = assets(project)
    done = train(project, DEGREE="1")
    assert done.returncode == 1
    assert "Refused: R2 of the new model is 0.914023" in done.stderr
    assert f"that of the one that serves ({card(project)['version']}) 0.997341" in done.stderr
    assert "make train FORCE=1" in done.stderr
    assert assets(project) == before


def test_a_worse_model_can_be_forced(project: Path) -> None:
    done = train(project, "--force", DEGREE="1")
    assert done.returncode == 0, done.stderr
    assert "0.914023" in done.stdout
    assert card(project)["forced"] is True
    assert card(project)["metrics"]["R2"] == pytest.approx(0.914, abs=1e-3)
    assert train(project).returncode == 0, "a better one is taken without it"
    assert "forced" not in card(project)


def test_what_is_worse_within_the_tolerance_is_taken(project: Path) -> None:
    path = project / "app/training.py"
    path.write_text(path.read_text().replace("TOLERANCE = 0.01", "TOLERANCE = 0.1"))
    assert train(project, DEGREE="1").returncode == 0


def test_a_model_that_serves_and_does_not_load_is_named(project: Path) -> None:
    (project / "app/assets" / card(project)["asset"]).write_text("{")
    done = train(project)
    assert done.returncode == 1
    assert "The model that serves does not load: load_model raised ValueError" in done.stderr
    assert train(project, "--force").returncode == 0
    assert loads(project)


def test_the_first_model_is_taken_whatever_it_is(project: Path) -> None:
    (project / "app/assets/card.json").unlink()
    assert train(project, DEGREE="1").returncode == 0
    assert loads(project)


@pytest.mark.parametrize("point", BEFORE)
def test_a_training_that_is_killed_leaves_the_old_asset(project: Path, point: str) -> None:
    before = assets(project)
    assert run(project, "-c", KILLED_AT, point, DEGREE="3").returncode == -signal.SIGKILL
    assert before.items() <= assets(project).items(), "card and asset are as they were"
    assert loads(project)
    assert train(project, DEGREE="3").returncode == 0, "the next one succeeds"
    assert loads(project)
    left = assets(project).keys() - before.keys()
    assert left == {card(project)["asset"]}, "and nothing of the one that was killed is left"


def test_a_training_that_is_killed_after_the_change_leaves_the_new_asset(project: Path) -> None:
    before = card(project)["version"]
    assert run(project, "-c", KILLED_AT, "fsync 4", DEGREE="3").returncode == -signal.SIGKILL
    assert card(project)["version"] != before
    assert loads(project)


def test_the_asset_is_judged_on_fresh_data(project: Path) -> None:
    done = run(project, "-m", "denzel.training", "score", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((project / "report.json").read_text())
    assert report["metrics"].keys() == {"R2", "MAE", "RMSE"}
    assert report["metrics"]["R2"] > 0.99
    assert f"{card(project)['version']} on 500 fresh rows: R2 0.99" in done.stdout
    assert len(report["points"]["predicted"]) == len(report["points"]["measured"]) == 500
    again = run(project, "-m", "denzel.training", "score").stdout.splitlines()[1]
    assert again != done.stdout.splitlines()[1], "other data each time"


@pytest.mark.parametrize("command", ["train", "score"])
def test_a_project_without_training_is_told_what_to_write(baked: Path, command: str) -> None:
    done = run(baked, "-m", "denzel.training", command)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "There is nothing to train yet: write load_data, fit, evaluate, save and METRIC into app/training.py, as "
        "README.md says (Training)."
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def evaluate(", "def judge(", "missing: evaluate"),
        ('METRIC = "R2"', 'METRIC = "AUC"', "evaluate must return a dictionary with 'AUC'"),
        ("storage.save(model, path)", "pass", "has not written the file"),
        ('"R2": model.score', '"R2": float("nan") * model.score', "The model cannot be judged: R2 is nan"),
        ('ASSET = "model.json"', 'ASSET = "../model.json"', "ASSET is the name of a file in app/assets"),
        ("return PolynomialRegressor(", "return undefined(", "NameError: name 'undefined' is not defined"),
    ],
)
def test_mistakes_are_told_and_change_nothing(project: Path, old: str, new: str, said: str) -> None:
    path, before = project / "app/training.py", assets(project)
    path.write_text(path.read_text().replace(old, new))
    done = train(project)
    assert done.returncode == 1
    assert said in done.stderr
    assert assets(project).items() >= before.items()
    assert card(project) == json.loads(before["card.json"])
