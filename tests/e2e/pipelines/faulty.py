"""A pipeline that fails in the stage that a request names, and has a model that need not be loaded."""

import os


def verify_input(json_data):
    if json_data["fail"] == "verify_input":
        raise ValueError("refused by verify_input")
    return json_data


def load_model():
    return os.getpid()


def process(model, json_data):
    if json_data["fail"] == "process":
        return np.array(json_data)  # noqa: F821  the tutorial's own mistake: a forgotten import
    return json_data["fail"]


def predict(model, data):
    if data == "predict":
        raise RuntimeError("refused by predict")
    return [] if data == "answer" else {"pid": model}
