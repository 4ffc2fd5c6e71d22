"""A pipeline that runs the statements of the request, `verify` and `predict`, which leave their result in `answer`."""

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

__all__ = ["np", "sys"]  # for the statements

BATCHABLE = os.environ.get("TEST_BATCHABLE") == "1"
KEPT = {}
ERROR = ValueError("always the same object")
LOAD = Path("load.txt")


def run(statements, request):
    names = {**globals(), "request": request}
    exec(statements, names)
    return names.get("answer")


def verify_input(json_data):
    return run(json_data["verify"], json_data) if "verify" in json_data else json_data


def load_model():
    if os.environ.get("TEST_THREAD") == "1":
        threading.Thread(target=time.sleep, args=(1_000_000,)).start()
    if LOAD.exists():
        statements = LOAD.read_text()
        LOAD.unlink()
        run(statements, None)


def process(model, json_data):
    return json_data


def predict(model, data):
    return run(data["predict"], data) if "predict" in data else {"fine": True}
