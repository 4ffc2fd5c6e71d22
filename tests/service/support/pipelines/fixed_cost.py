"""Merges requests: a call takes 20 ms whatever it holds, and is noted in events.txt with its number of ids."""

import os
import time

BATCHABLE = True


def verify_input(json_data):
    return json_data


def load_model():
    return "model"


def process(model, json_data):
    return json_data["data"]


def predict(model, data):
    time.sleep(0.02)
    with open("events.txt", "a") as file:
        file.write(f"call {os.getpid()} {os.getppid()} {len(data)}\n")
    return data
