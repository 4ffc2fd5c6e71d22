"""The running service: `make test` asks a single process, `make e2e` the project's containers, by the same tests.

The fixtures come from pytest-denzel. `denzel_service.predict(request)` returns the answer; `predict_async(request)`
returns a task id, and `callback_receiver` takes the callback.
"""

import pytest

from pytest_denzel import ServiceError, slow

REQUEST = {"data": {"a123": {"sepal-length": 4.6, "sepal-width": 3.6, "petal-length": 1.0, "petal-width": 0.2}}}
ANSWER = {"a123": "Iris-setosa"}


@pytest.fixture
def request_with_callback(callback_receiver):
    """A request whose answer is sent to the test's own receiver."""
    return {**REQUEST, "callback_uri": callback_receiver.url}


def test_a_request_is_answered(denzel_service):
    assert denzel_service.predict(REQUEST) == ANSWER


def test_a_bad_request_is_refused_with_the_reason(denzel_service):
    with pytest.raises(ServiceError) as refusal:
        denzel_service.predict({"data": {}})
    assert refusal.value.status == 400
    assert "at least one flower" in refusal.value.description


def test_the_answer_is_called_back(denzel_service, callback_receiver, request_with_callback):
    task_id = denzel_service.predict_async(request_with_callback)
    callback = callback_receiver.wait_for(task_id)  # the signature is checked
    assert callback.json() == ANSWER
    assert denzel_service.wait(task_id)["status"] == "SUCCESS"


def test_a_receiver_that_fails_is_called_again(denzel_service, callback_receiver, request_with_callback):
    callback_receiver.will_answer(500, 200)
    task_id = denzel_service.predict_async(request_with_callback)
    assert callback_receiver.wait_for(task_id, timeout=60).json() == ANSWER
    assert len(callback_receiver.attempts(task_id)) == 2


def test_a_slow_receiver_keeps_no_prediction_waiting(denzel_service, callback_receiver, request_with_callback):
    callback_receiver.will_answer(slow(seconds=30))
    task_id = denzel_service.predict_async(request_with_callback)
    callback_receiver.wait_for_attempts(task_id, 1)
    assert denzel_service.predict(REQUEST, timeout=10) == ANSWER


def test_clients_are_told_how_to_ask(denzel_service):
    assert "sepal-length" in denzel_service.info()


def test_a_killed_worker_loses_no_task(denzel_service, denzel_chaos, callback_receiver, request_with_callback):
    task_ids = [denzel_service.predict_async(request_with_callback) for _ in range(20)]
    denzel_chaos.kill_worker_process()
    denzel_service.assert_nothing_lost(task_ids)
