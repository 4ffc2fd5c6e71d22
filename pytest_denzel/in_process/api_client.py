"""The API in this process: Falcon's test client on the inline executor, with the session's own model."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_denzel.in_process.loop import Loop
from pytest_denzel.in_process.pipeline import Pipeline
from pytest_denzel.project import Project
from pytest_denzel.services.tasks import UNKNOWN, callback_uri, explain_callback
from pytest_denzel.waiting import wait_until

if TYPE_CHECKING:
    from falcon.testing import Result

    from pytest_denzel.callbacks.receiver import CallbackReceiver

__tracebackhide__ = True

# The clients of this run's tests: one, at most.
CLIENTS: pytest.StashKey[list[ApiClient]] = pytest.StashKey()

_READY_WITHIN = 10.0  # seconds; the model is loaded already


class ApiClient:
    """Sends requests to the API without a network, in the way of Falcon's `TestClient`.

    The answers are Falcon's: `status_code`, `json`, `text`, `headers`. The application runs from the first test that
    uses it to the last, on an event loop of its own, so that asynchronous tasks go on between requests.

    Attributes:
        app: the Falcon application.
        secret: what callbacks are signed with.
    """

    def __init__(self, project: Project, pipeline: Pipeline, secret: str) -> None:
        from falcon.testing import ASGIConductor

        from denzel import testing

        self.secret = secret
        self._project = project
        self._submitted: dict[str, str | None] = {}
        self._pipeline = pipeline
        self._module = _Loaded(project, pipeline)
        self.app = testing.create_api(self._module, secret)
        self._loop = Loop("denzel-api")
        self._conductor = self._loop.run(_entered(ASGIConductor, self.app))
        self._wait_until_ready()

    def __repr__(self) -> str:
        return f"<api_client of {self._project.root}>"

    def request(self, method: str, path: str, **options: Any) -> Result:
        """Send a request; the options are those of Falcon: `json`, `body`, `headers`, `params`, ..."""
        self._module.model = self._pipeline.model  # this test may have another one than the one before
        with self._project.working_directory():
            result = self._loop.run(self._conductor.simulate_request(method, path, **options), timeout=120)
        if method == "POST" and (task_id := result.headers.get("denzel-task-id")):
            request = options["json"] if options.get("json") is not None else options.get("body")
            self._submitted[task_id] = callback_uri(request.encode() if isinstance(request, str) else request)
        return result

    def get(self, path: str, **options: Any) -> Result:
        """Send a GET."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Result:
        """Send a POST."""
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> Result:
        """Send a DELETE."""
        return self.request("DELETE", path, **options)

    simulate_request, simulate_get, simulate_post, simulate_delete = request, get, post, delete

    def close(self) -> None:
        """Shut the application down."""
        self._loop.run(self._conductor.__aexit__(None, None, None))
        self._loop.close()

    def _wait_until_ready(self) -> None:
        wait_until(
            lambda: self.get("/ready").status_code == 200,
            _READY_WITHIN,
            late=lambda: RuntimeError(f"The API in this process is not ready: {self.get('/ready').text}"),
            pause=0.005,
        )


def explain_callbacks(client: ApiClient, receiver: CallbackReceiver) -> None:
    """Let a callback receiver say what the API knows of a callback that does not arrive."""

    def explain(task_id: str) -> str:
        result = client.get(f"/status/{task_id}")
        if result.status_code != 200:
            return f"the service says of the task: {result.status_code} {result.text}"
        return explain_callback(result.json, client._submitted.get(task_id, UNKNOWN), receiver)

    receiver.explain = explain


def end_test(client: ApiClient) -> None:
    """Cancel what the test that ends has submitted, so that it delays no other test."""
    for task_id in client._submitted:
        client.delete(f"/status/{task_id}")
    client._submitted.clear()


class _Loaded(ModuleType):
    """The user's module with the model of the test that runs, which is loaded already; its functions run in the
    project's folder, also those of a task that goes on when its request has been answered."""

    def __init__(self, project: Project, pipeline: Pipeline) -> None:
        super().__init__(pipeline.module.__name__, pipeline.module.__doc__)
        self._project = project
        self._pipeline = pipeline
        self.model = pipeline.model  # raises here what load_model raises

    def load_model(self) -> Any:
        return self.model

    def verify_input(self, json_data: Any) -> Any:
        with self._project.working_directory():
            return self._pipeline.module.verify_input(json_data)

    def process(self, model: Any, json_data: Any) -> Any:
        with self._project.working_directory():
            return self._pipeline.module.process(self.model, json_data)

    def predict(self, model: Any, data: Any) -> Any:
        with self._project.working_directory():
            return self._pipeline.module.predict(self.model, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline.module, name)


async def _entered(conductor: Any, app: Any) -> Any:
    return await conductor(app).__aenter__()
