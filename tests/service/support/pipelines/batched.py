"""A pipeline whose requests are merged: for each id of `data` an expression, evaluated in the order of the ids.

Each call is noted in events.txt: "call", the process, its parent, the number of ids.
"""

import os
import time
from pathlib import Path

BATCHABLE = True
ids = []


def note(event, text="-"):
    with open("events.txt", "a") as file:
        file.write(f"{event} {os.getpid()} {os.getppid()} {text}\n")


def wait_for(file):
    """Return when a file of this name is there."""
    while not Path(file).exists():
        time.sleep(0.01)
    return True


def alone(answer):
    """Refuse to be merged with others."""
    if len(ids) > 1:
        raise ValueError("not together with others")
    return answer


def verify_input(json_data):
    if "power" in json_data:
        json_data["number"] = 2 ** json_data["power"]
    return json_data


def load_model():
    return "model"


def process(model, json_data):
    return json_data["data"]


def predict(model, data):
    global ids  # for `alone`
    ids = list(data)
    note("call", str(len(data)))
    return {key: eval(expression, globals()) for key, expression in data.items()}
