"""A picture of 750 kB as base64 a request, of which the model takes the mean: what a megabyte costs on its way."""

import base64
import random

import numpy as np

BATCHABLE = False
BYTES = 750_000


def load_model():
    return None


def verify_input(json_data):
    pictures = json_data.get("data")
    if not isinstance(pictures, dict) or not pictures:
        raise ValueError('"data" must be an object of at least one picture')
    for name, picture in pictures.items():
        if not isinstance(picture, str):
            raise ValueError(f"{name}: a picture is text in base64")
    return json_data


def process(model, json_data):
    pictures = json_data["data"]
    return {name: np.frombuffer(base64.b64decode(picture), np.uint8) for name, picture in pictures.items()}


def predict(model, data):
    return {name: float(pixels.mean()) for name, pixels in data.items()}


def example(number):
    return {"data": {f"picture{number}": base64.b64encode(random.Random(number).randbytes(BYTES)).decode()}}
