"""Tell the species of an iris from the size of its flower: the four functions between a request and its answer.

    request -> verify_input -> process -> predict -> answer

The working directory is the project's folder: open files as "./app/assets/...". Helpers of your own belong in
other modules of app/logic. `make restart` applies an edit.
"""

import numpy as np
from sklearn.datasets import load_iris
from sklearn.svm import SVC

FEATURES = ["sepal-length", "sepal-width", "petal-length", "petal-width"]
SPECIES = ["Iris-setosa", "Iris-versicolor", "Iris-virginica"]

# The predictions of one request do not depend on each other: requests that wait together may be computed together.
BATCHABLE = True


def verify_input(json_data):
    """Check a request, in the api container.

    Raise any exception to refuse it: the client gets 400 and the exception's message.

    :param json_data: the request's body, parsed from JSON
    :return: what `process` gets
    """
    if not isinstance(json_data, dict) or "data" not in json_data:
        raise ValueError('The request must be an object with a "data" key.')
    flowers = json_data["data"]
    if not isinstance(flowers, dict) or not flowers:
        raise ValueError('"data" must be an object of at least one flower: {"<id>": {<features>}}.')
    for flower_id, features in flowers.items():
        if not isinstance(features, dict):
            raise ValueError(f'data["{flower_id}"] must be an object of the features: {", ".join(FEATURES)}.')
        missing = [name for name in FEATURES if name not in features]
        if missing:
            raise ValueError(f'data["{flower_id}"] lacks: {", ".join(missing)}.')
        for name, value in features.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f'data["{flower_id}"]["{name}"] must be a number.')
    return json_data


def load_model():
    """Load the model into memory; called once in each worker process, before its first request.

    This example trains it on the spot, which takes milliseconds. Yours would be loaded from a file, for example
    joblib.load("./app/assets/model.joblib").

    :return: the model, given to `process` and `predict`
    """
    flowers, species = load_iris(return_X_y=True)
    return SVC().fit(flowers, species)


def process(model, json_data):
    """Turn a verified request into what the model takes.

    :param model: what `load_model` returned
    :param json_data: what `verify_input` returned
    :return: what `predict` gets: the ids, and one row of features for each
    """
    flowers = json_data["data"]
    rows = [[features[name] for name in FEATURES] for features in flowers.values()]
    return list(flowers), np.array(rows, dtype=float)


def predict(model, data):
    """Make the predictions.

    :param model: what `load_model` returned
    :param data: what `process` returned
    :return: the answer: the species by id
    """
    ids, rows = data
    return {flower_id: SPECIES[species] for flower_id, species in zip(ids, model.predict(rows), strict=True)}
