"""A pipeline written for Denzel runs as it is: its tutorial's own, with answers and errors where the tutorial says."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.svm import SVC

from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually

FLOWERS = {
    "a123": {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2},
    "b456": {"sepal-length": 6.5, "sepal-width": 3.2, "petal-length": 5.1, "petal-width": 2.0},
}
PREDICTIONS = b'{"a123":"Iris-setosa","b456":"Iris-virginica"}'
FEATURES = "['sepal-length', 'sepal-width', 'petal-length', 'petal-width']"


@pytest.fixture(scope="module")
def receivers() -> Iterator[Receivers]:
    with Receivers() as receivers:
        yield receivers


@pytest.fixture(scope="module")
def iris(new_service: Callable[..., Service]) -> Service:
    """The tutorial's project with its trained model, answering asynchronously as it chooses to."""
    service = new_service("tutorial", CALLBACK_ALLOW="127.0.0.1")
    features, numbers = load_iris(return_X_y=True)
    names = load_iris().target_names
    model = SVC().fit(features, [f"Iris-{names[number]}" for number in numbers])
    (service.project / "app/assets/iris_svc.pkl").write_bytes(pickle.dumps(model))
    service.start("redis", "api", "denzel")
    service.wait_ready()
    assert service.run("denzel.control", "response", "async").returncode == 0
    return service


def request(receivers: Receivers, **changes: Any) -> dict[str, Any]:
    return {"callback_uri": receivers.open().url, "data": FLOWERS, **changes}


def test_asynchronous_predictions_arrive_at_the_callback_uri(iris: Service, receivers: Receivers) -> None:
    receiver = receivers.open()
    response = iris.predict({"callback_uri": receiver.url, "data": FLOWERS})
    assert response.status_code == 200
    task_id = response.json()["data"]["task_id"]
    assert response.json() == {"status": "success", "data": {"task_id": task_id}}
    [received] = receiver.wait()
    assert received.headers["content-type"] == "application/json"
    assert received.body == PREDICTIONS
    record = eventually(
        lambda: (record := iris.status(task_id))["callback"]["state"] == "delivered" and record, "it is delivered"
    )
    assert record["status"] == "SUCCESS"
    assert record["result"] == {"a123": "Iris-setosa", "b456": "Iris-virginica"}


def test_synchronous_predictions_are_the_answer(iris: Service, receivers: Receivers) -> None:
    iris.run("denzel.control", "response", "sync", "5.0")
    try:
        response = iris.predict(request(receivers, callback_uri="http://waithook.invalid/john_q"))
        assert response.status_code == 200
        assert response.content == PREDICTIONS
    finally:
        iris.run("denzel.control", "response", "async")


def test_an_error_of_verify_input_is_the_response(iris: Service, receivers: Receivers) -> None:
    lacking = {name: value for name, value in FLOWERS["a123"].items() if name != "petal-width"}
    for changes, message in (
        ({"data": {"a123": lacking}}, f"For each example all of the features [{FEATURES}] must be present"),
        ({"data": {"a123": {**FLOWERS["a123"], "petal-width": 1}}}, "All feature values must be floats"),
        ({"data": []}, 'json_data["data"] must be a mapping between unique id and features'),
        ({"data": {"a123": None}}, "'NoneType' object has no attribute 'keys'"),
    ):
        response = iris.predict(request(receivers, **changes))
        assert response.status_code == 400
        assert response.json() == {"title": "Bad input format", "description": message}
    assert iris.predict({"data": FLOWERS}).json()["description"] == "callback_uri not supplied"
    assert iris.predict({"callback_uri": receivers.open().url}).json()["description"] == "no data to predict for!"


def test_empty_data_fails_as_the_model_says(iris: Service, receivers: Receivers) -> None:
    record = iris.wait(iris.submit(request(receivers, data={})))
    assert record["status"] == "FAILURE"
    assert record["result"]["type"] == "ValueError"
    assert record["result"]["args"][0].startswith("Expected 2D array, got 1D array instead")


def test_an_error_of_load_model_is_in_the_logs(iris: Service) -> None:
    model = iris.project / "app/assets/iris_svc.pkl"
    model.rename(model.with_suffix(".away"))
    try:
        iris.restart("denzel")
        error = "FileNotFoundError: [Errno 2] No such file or directory: './app/assets/iris_svc.pkl'"
        eventually(lambda: f"{error}\n" in iris.log("denzel"), "the error is in the container's log")
        log = (iris.project / "logs/worker.log").read_text()
        assert "Traceback" in log
        assert f"{error}\n" in log
        eventually(lambda: f"load_model raised {error}" in iris.ready()["reason"], "/ready says it too")
    finally:
        model.with_suffix(".away").rename(model)
    iris.wait_ready()


def test_an_error_of_process_or_predict_is_in_the_status(iris: Service, receivers: Receivers) -> None:
    pipeline = iris.project / "app/logic/pipeline.py"
    correct = pipeline.read_text()
    try:
        pipeline.write_text(correct.replace("import numpy as np\n", ""))
        iris.restart("denzel")
        receiver = receivers.open()
        response = iris.predict({"callback_uri": receiver.url, "data": FLOWERS})
        assert response.json()["status"] == "success"
        record = iris.wait(response.json()["data"]["task_id"])
        assert record["status"] == "FAILURE"
        assert record["result"] == {"args": ["name 'np' is not defined"], "type": "NameError"}
        [received] = receiver.wait()
        assert b"name 'np' is not defined" in received.body
    finally:
        pipeline.write_text(correct)


def test_the_info_is_the_deployments_text(iris: Service) -> None:
    text = "# ===== MODEL =====\n\nVersion: 1.0.0\n  ██████╗ \n"
    (iris.project / "app/assets/info.txt").write_text(text)
    assert iris.get("/info").text == text
