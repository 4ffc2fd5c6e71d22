"""Doubles numbers: a pipeline that needs no package. Some numbers stand for what can go wrong."""

import os
import time

BATCHABLE = True


def verify_input(json_data):
    if not isinstance(json_data, dict) or not isinstance(json_data.get("data"), dict) or not json_data["data"]:
        raise ValueError('"data" must be an object of numbers by id')
    for key, value in json_data["data"].items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{key} must be a number")
    return json_data


def load_model():
    return {"factor": 2, "pid": os.getpid()}


def process(model, json_data):
    if -1 in json_data["data"].values():
        raise RuntimeError("process does not like -1")
    if -3 in json_data["data"].values():
        time.sleep(0.5)
    return json_data["data"]


def predict(model, data):
    if -2 in data.values():
        return {"nothing": {1, 2}}
    return {key: value * model["factor"] for key, value in data.items()}
