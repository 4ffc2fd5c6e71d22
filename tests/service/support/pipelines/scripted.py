"""A pipeline that does what the request says: each stage evaluates the expression it finds there for itself.

What it did is noted in events.txt, one line each: the event, the process, its parent, the request's `note`.
"""

import asyncio
import datetime
import os
import time
from pathlib import Path

import numpy as np

__all__ = ["asyncio", "datetime", "np"]  # for the expressions


def note(event, text="-"):
    with open("events.txt", "a") as file:
        file.write(f"{event} {os.getpid()} {os.getppid()} {text}\n")


def throw(error):
    raise error


def wait_for(file):
    """Return when a file of this name is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return True


def deaf():
    """Never return, whatever is raised."""
    while True:
        try:
            time.sleep(60)
        except Exception:
            note("deaf")


def stone_deaf(seconds):
    """The same for so long (seconds), whatever is raised: not even what is no Exception ends it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            time.sleep(max(0.0, until - time.monotonic()))
        except BaseException:
            note("stone-deaf")


class Unprintable(Exception):
    """An error that fails when it is asked what it says."""

    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __str__


def evaluate(stage, request, otherwise, **names):
    expression = request.get(stage) if isinstance(request, dict) else None
    if expression is None:
        return otherwise
    return eval(expression, globals(), {"request": request, **names})


note("import")


def verify_input(json_data):
    note("verify_input")
    return evaluate("verify_input", json_data, json_data)


def load_model():
    note("load_model")
    wait_for("model")
    text = Path("model").read_text()
    return evaluate("load_model", {"load_model": text or None}, "model")


def process(model, json_data):
    note("process", json_data.get("note", "-") if isinstance(json_data, dict) else "-")
    return evaluate("process", json_data, json_data, model=model)


def predict(model, data):
    request = data if isinstance(data, dict) else {}
    return evaluate("predict", request, {"answer": data}, model=model, data=data)
