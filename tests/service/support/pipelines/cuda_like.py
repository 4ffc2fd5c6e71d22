"""Holds a device as CUDA does: what a process has initialised is of no use to a process forked from it."""

import os

_forked_since_import = False


def _after_fork():
    global _forked_since_import
    _forked_since_import = True


os.register_at_fork(after_in_child=_after_fork)


class Device:
    def __init__(self):
        if _forked_since_import:
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
        self.visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        self.pid = os.getpid()

    def compute(self):
        if _forked_since_import or os.getpid() != self.pid:
            raise RuntimeError("CUDA error: initialization error")
        return {"device": self.visible, "pid": self.pid}


def verify_input(json_data):
    return json_data


def load_model():
    return Device()


def process(model, json_data):
    return model


def predict(model, data):
    return data.compute()
