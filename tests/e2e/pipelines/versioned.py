"""Says which version of it has verified a request and which has answered it; every fiftieth request takes long."""

import time

VERSION = 1


def verify_input(json_data):
    return {"answer": json_data, "verified": VERSION}


def load_model():
    return VERSION


def process(model, json_data):
    time.sleep(0 if json_data["answer"]["number"] % 50 else 0.5)
    return json_data


def predict(model, data):
    return {**data, "version": model}
