"""The Iris classifier that Denzel's tutorial builds: its functions behave as there, its messages are the same."""

import pickle

import numpy as np

FEATURES = ["sepal-length", "sepal-width", "petal-length", "petal-width"]


def verify_input(json_data):
    # The tutorial answers asynchronously; for synchronous answers its readers delete this check.
    if "callback_uri" not in json_data:
        raise ValueError("callback_uri not supplied")
    if "data" not in json_data:
        raise ValueError("no data to predict for!")
    if not isinstance(json_data["data"], dict):
        raise ValueError('json_data["data"] must be a mapping between unique id and features')
    for features in json_data["data"].values():
        if not set(FEATURES) <= features.keys():
            raise ValueError(f"For each example all of the features [{FEATURES}] must be present")
        if not all(isinstance(value, float) for value in features.values()):
            raise ValueError("All feature values must be floats")
    return json_data


def load_model():
    with open("./app/assets/iris_svc.pkl", "rb") as model_file:
        return pickle.load(model_file)


def process(model, json_data):
    flowers = json_data["data"]
    rows = [[features[name] for name in FEATURES] for features in flowers.values()]
    return flowers.keys(), np.array(rows)


def predict(model, data):
    ids, rows = data
    return dict(zip(ids, model.predict(rows), strict=True))
