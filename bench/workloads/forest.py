"""A digit of 64 pixels a request for a forest of 200 trees: a call takes about as long for many digits as for one.

Most models are of this kind, on a GPU even more: what counts is that requests which wait at the same time share a call.
"""

import random

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

BATCHABLE = True
PIXELS, BRIGHTEST = 64, 16


def load_model():
    digits = load_digits()
    return RandomForestClassifier(n_estimators=200, random_state=0).fit(digits.data, digits.target)


def verify_input(json_data):
    digits = json_data.get("data")
    if not isinstance(digits, dict) or not digits:
        raise ValueError('"data" must be an object of at least one digit')
    for name, pixels in digits.items():
        if len(pixels) != PIXELS:
            raise ValueError(f"{name}: {PIXELS} pixels are needed, these are {len(pixels)}")
    return json_data


def process(model, json_data):
    digits = json_data["data"]
    return list(digits), np.array(list(digits.values()), dtype=float)


def predict(model, data):
    names, rows = data
    return dict(zip(names, model.predict(rows).tolist(), strict=True))


def example(number):
    chance = random.Random(number)
    return {"data": {f"digit{number}": [float(chance.randint(0, BRIGHTEST)) for _ in range(PIXELS)]}}
