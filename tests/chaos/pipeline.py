"""A pipeline whose answers can be told beforehand; it works for as long as a request says.

What it ran is noted in logs/runs.txt, a line for each run of each request: the request's number.
"""

import hashlib
import os
import time

BATCHABLE = True


def verify_input(json_data):
    return json_data


def load_model():
    return "model"


def process(model, json_data):
    numbers = {features["number"] for features in json_data["data"].values()}
    file = os.open("logs/runs.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(file, "".join(f"{number}\n" for number in numbers).encode())  # one write is not torn by a kill
    os.close(file)
    return json_data["data"]


def predict(model, data):
    time.sleep(sum(features["seconds"] for features in data.values()))
    return {name: hashlib.sha256(features["text"].encode()).hexdigest() for name, features in data.items()}
