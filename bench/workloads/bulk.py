"""A table of 10,000 flowers a request, answered in one go: large JSON in and out, and a call that takes its time."""

import random

import numpy as np
from sklearn.datasets import load_iris
from sklearn.svm import SVC

BATCHABLE = True
ROWS = 10_000
# What each measurement of a flower lies between, in centimetres.
LIMITS = {
    "sepal-length": (4.0, 8.0),
    "sepal-width": (2.0, 4.5),
    "petal-length": (1.0, 7.0),
    "petal-width": (0.1, 2.5),
}


def load_model():
    flowers = load_iris()
    return SVC().fit(flowers.data, flowers.target_names[flowers.target])


def verify_input(json_data):
    flowers = json_data.get("data")
    if not isinstance(flowers, dict) or not flowers:
        raise ValueError('"data" must be an object of at least one flower')
    for name, flower in flowers.items():
        for feature in LIMITS:
            if not isinstance(flower.get(feature), float):
                raise ValueError(f"{name}: {feature} must be a number with a decimal point")
    return json_data


def process(model, json_data):
    flowers = json_data["data"]
    return list(flowers), np.array([[flower[feature] for feature in LIMITS] for flower in flowers.values()])


def predict(model, data):
    names, rows = data
    return dict(zip(names, model.predict(rows).tolist(), strict=True))


def example(number):
    chance = random.Random(number)
    return {
        "data": {
            f"row{row}": {feature: round(chance.uniform(*limits), 1) for feature, limits in LIMITS.items()}
            for row in range(ROWS)
        }
    }
