"""Fit the model anew, or judge the asset.

python -m denzel.training train [--force] [--code COMMIT]
python -m denzel.training score [--report FILE]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

from denzel import assets, card
from denzel.pipeline.errors import describe, traceback_of
from denzel.pipeline.loading import PipelineError, import_pipeline, loading_problem
from denzel.training import asset, gate
from denzel.training.user import Training, TrainingError, training

log = logging.getLogger("denzel.training")

# Points that a report has at the most: enough for a plot.
MOST_POINTS = 5000


def train(force: bool, code: str) -> None:
    """Fit a model on the training data, compare it with the one that serves, and put it in that one's place.

    Raises:
        TrainingError: it is refused, or nothing can be trained.
    """
    user = training()
    data, held_out = user.load_data("training"), user.load_data("held-out")
    described = user.describe(data)
    log.info("Fitting on %s rows (%s)", described["rows"], described["digest"][:12])
    began = time.monotonic()
    model = user.fit(data)
    metrics = user.evaluate(model, held_out)
    log.info("Fitted in %.1f s; on held-out data: %s", time.monotonic() - began, _in_words(metrics))
    reason = _refusal(user, metrics[user.metric], held_out)
    if reason and not force:
        raise TrainingError(reason)
    if reason:
        log.warning("Taken by FORCE=1. %s", reason.removeprefix("Refused: ").partition(" Nothing was changed.")[0])
    told = asset.write(
        user.asset,
        lambda path: user.save(model, path),
        {
            "data": described,
            "code": code or "unknown",
            "versions": _versions(),
            "metrics": metrics,
            **({"forced": True} if reason else {}),
        },
    )
    print(f"{card.CARD}: {told['version']} ({told['asset']}), {_in_words(metrics)}. Serve it: make restart")


def score(report: str) -> None:
    """Judge the asset on fresh data; the report gets the points of a plot.

    Raises:
        TrainingError: there is no asset, or it cannot be judged.
    """
    user = training()
    found = _card()
    if found is None:
        raise TrainingError("There is no model to judge yet: make train")
    model, data = _serving_model(), user.load_data("fresh")
    metrics = user.evaluate(model, data)
    described = user.describe(data)
    log.info("Scored %s on %s fresh rows: %s", found["version"], described["rows"], _in_words(metrics))
    print(f"{found['version']} on {described['rows']} fresh rows: {_in_words(metrics)}")
    for name, before in (found.get("metrics") or {}).items():
        if name in metrics:
            print(f"  {name:8} {metrics[name]:.6g}   when it was trained {before:.6g}")
    if report:
        content = {"version": found["version"], "metrics": metrics, "points": user.points(model, data, MOST_POINTS)}
        Path(report).write_text(json.dumps(content), encoding="utf-8")


def _refusal(user: Training, new: float, held_out: Any) -> str | None:
    """Why the new model is refused; None where there is none that serves, or this one is good enough."""
    found = _card()
    if found is None:
        return None
    try:
        figure = user.evaluate(_serving_model(), held_out)[user.metric]
    except TrainingError as error:
        return f"Refused: {error} So the new model cannot be compared with it. Without that: make train FORCE=1"
    return gate.refusal(user.metric, new, gate.Judged(found["version"], figure), user.tolerance)


def _card() -> dict[str, Any] | None:
    try:
        return card.read()
    except (ValueError, OSError) as error:
        raise TrainingError(f"{error}. Correct the file, or remove it: then any model is taken.") from None


def _serving_model() -> Any:
    """The model that the pipeline loads: the asset that the card names."""
    try:
        module = import_pipeline()
        assets.check()
        return module.load_model()
    except Exception as error:
        raise TrainingError(f"The model that serves does not load: {loading_problem(error)}.") from None


def _versions() -> dict[str, str]:
    """Python's version, and those of the packages that requirements.txt names, as far as they are installed."""
    found = {"python": platform.python_version()}
    try:
        lines = Path("requirements.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if name := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line):
            try:
                found[name[0]] = importlib.metadata.version(name[0])
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def _in_words(metrics: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in metrics.items())


def main(arguments: list[str]) -> int:
    """Run one of the two; 0 when it worked, else 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m denzel.training")
    commands = parser.add_subparsers(dest="command", required=True)
    of_train = commands.add_parser("train")
    of_train.add_argument("--force", action="store_true")
    of_train.add_argument("--code", default="")
    of_score = commands.add_parser("score")
    of_score.add_argument("--report", default="")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout)
    try:
        if given.command == "train":
            train(given.force, given.code)
        else:
            score(given.report)
    except (TrainingError, PipelineError) as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # of the user's code
        print(f"{traceback_of(error)}\nThe {given.command} failed: {describe(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
