"""Answers what it was sent, by id, after the schema in app/assets/schema.json; the request's `act` makes it fail.

The number that each item may have is noted in seen.txt, one a line: that is what has reached a worker.
"""

import time

BATCHABLE = True


def verify_input(json_data):
    if json_data.get("act") == "refuse":
        raise ValueError("refused as it was asked for")
    return json_data


def load_model():
    return None


def process(model, json_data):
    numbers = [item["number"] for item in json_data["data"].values() if "number" in item]
    with open("seen.txt", "a") as file:
        file.write("".join(f"{number}\n" for number in numbers))
    return json_data


def predict(model, json_data):
    if json_data.get("act") == "raise":
        raise LookupError("raised as it was asked for")
    if json_data.get("act") == "wait":
        time.sleep(0.002)
    return json_data["data"]
