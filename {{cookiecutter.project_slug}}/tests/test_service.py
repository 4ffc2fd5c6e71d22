"""The running service: `make test` asks a single process, `make e2e` the project's containers, by the same tests.

The fixtures come from pytest-denzel. `denzel_service.predict(request)` returns the answer; `predict_async(request)`
returns a task id, and `callback_receiver` takes the callback.
"""


def test_the_service_is_ready(denzel_service):
    assert denzel_service.ready()["ready"]


def test_info_says_what_the_service_does(denzel_service):
    assert denzel_service.info().strip()
