"""The short names of fixtures: there in a Denzel project alone, and a fixture of the user's may take any of them."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def pipeline(denzel_pipeline: Any) -> Any:
    """`denzel_pipeline`: the pipeline in this process; `pipeline.run(request)` goes the whole way."""
    return denzel_pipeline


@pytest.fixture(scope="session")
def model(denzel_model: Any) -> Any:
    """`denzel_model`: what `load_model` returned, called once a session."""
    return denzel_model


@pytest.fixture(scope="session")
def verify_input(denzel_verify_input: Any) -> Any:
    """`denzel_verify_input`: what the worker gets of a request, or the exception that refuses it."""
    return denzel_verify_input


@pytest.fixture(scope="session")
def process(denzel_process: Any) -> Any:
    """`denzel_process`: `process(request)`, bound to the model."""
    return denzel_process


@pytest.fixture(scope="session")
def predict(denzel_predict: Any) -> Any:
    """`denzel_predict`: `predict(data)`, bound to the model: the answer as the client gets it."""
    return denzel_predict


@pytest.fixture(scope="session")
def api_client(denzel_api_client: Any) -> Any:
    """`denzel_api_client`: Falcon's test client, the API in this process."""
    return denzel_api_client


@pytest.fixture
def outside_world(denzel_outside_world: Any) -> Any:
    """`denzel_outside_world`: what code under test sends by `requests` stays in this process."""
    return denzel_outside_world


@pytest.fixture
def callback_receiver(denzel_callback_receiver: Any) -> Any:
    """`denzel_callback_receiver`: a real HTTP server for callbacks, one for each test."""
    return denzel_callback_receiver


@pytest.fixture(scope="session")
def make_callback_receiver(denzel_make_callback_receiver: Any) -> Any:
    """`denzel_make_callback_receiver`: one more receiver at each call; all end with the session."""
    return denzel_make_callback_receiver
