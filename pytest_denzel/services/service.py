"""What tests hold in their hands: the service over HTTP, the worker behind its queue, and Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_denzel.services.tasks import ServiceError, Tasks, callback_uri
from pytest_denzel.tiers.http import Response, call

if TYPE_CHECKING:
    import redis

    from pytest_denzel.callbacks.receiver import CallbackReceiver
    from pytest_denzel.tiers.session import Turn
    from pytest_denzel.tiers.tier import Tier

__tracebackhide__ = True


class Service(Tasks):
    """The running service over HTTP, on the tier of this run.

    Attributes:
        url: the API's URL.
        tier: inline, local or docker.
    """

    def __init__(self, tier: Tier, turn: Turn, receiver: CallbackReceiver | None) -> None:
        super().__init__(receiver)
        self._tier = tier
        self._turn = turn
        self._changed_response = False
        self.url: str = tier.values["api_url"]
        self.tier = tier.name

    def __repr__(self) -> str:
        return f"<denzel_service: {self.url}, tier {self.tier}>"

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 90,
    ) -> Response:
        """Send any request; `body` is sent as JSON, bytes as they are. Errors are answers, not exceptions."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}
        response = call(method, self.url + path, data, headers, timeout)
        if method == "POST" and (task_id := response.headers.get("denzel-task-id")):
            self._submitted[task_id] = callback_uri(body)
        return response

    def post(self, request: Any, headers: Mapping[str, str] | None = None) -> Response:
        """POST /predict just so: the live response setting decides how it is answered."""
        return self.request("POST", "/predict", request, headers)

    def predict(self, request: Any, timeout: float = 60) -> dict[str, Any]:
        """The predictions, waited for, whatever the live response setting is.

        Raises:
            ServiceError: the request was refused, or its task failed.
            AssertionError: the task has not ended after `timeout` seconds.
        """
        response = self.post(request, {"Prefer": f"wait={timeout:g}"})
        if response.status != 202:
            self._ended.add(response.headers.get("denzel-task-id", ""))
            return _checked(response)
        body = self.wait(_task_id(response), timeout)  # the longest wait that one request may ask for was over
        if body["status"] == "SUCCESS":
            return body["result"]
        message = (body["result"] or {}).get("args") or [body["status"]]
        raise ServiceError(500, "Error invoking predict", str(message[0]))

    def predict_async(self, request: Any) -> str:
        """The id of the task that was accepted, whatever the live response setting is.

        Raises:
            ServiceError: the request was refused.
        """
        return _task_id(self.post(request, {"Prefer": "respond-async"}))

    def status(self, task_id: str) -> dict[str, Any]:
        """The body of GET /status.

        Raises:
            ServiceError: the task is unknown (404), or Redis is out of reach (503).
        """
        return _checked(self.request("GET", f"/status/{task_id}"))

    def cancel(self, task_id: str) -> dict[str, Any]:
        """Cancel a task (DELETE /status); the body of the answer.

        Raises:
            ServiceError: it is unknown (404), or too late (409).
        """
        return _checked(self.request("DELETE", f"/status/{task_id}"))

    def _cancel(self, task_id: str) -> None:
        _checked(self.request("DELETE", f"/status/{task_id}", timeout=10))

    def info(self) -> str:
        """The text of GET /info.

        Raises:
            ServiceError: there is none.
        """
        response = self.request("GET", "/info")
        return response.text if response.status == 200 else _checked(response)

    def ready(self) -> dict[str, Any]:
        """The body of GET /ready, ready or not."""
        return self.request("GET", "/ready").json()

    def set_response(self, mode: str, timeout: float | None = None) -> None:
        """Change the live response setting, `"sync"` (with a timeout in seconds) or `"async"`, until the test ends.

        All tests share the service, so this waits for those of other xdist workers, and they for this one.

        Raises:
            ValueError: the mode or the timeout is not allowed; says what is.
        """
        self._turn.make_exclusive()
        self._changed_response = True  # also when this is interrupted
        self._tier.set_response(mode, timeout)

    def restore_response(self) -> None:
        """Set the response setting back to that of `.env`, if it was changed."""
        if self._changed_response:
            from denzel import testing

            self._tier.set_response(*testing.response_of_env())
            self._changed_response = False

    def logs(self, service: str = "") -> str:
        """What a service (api, denzel, redis) has printed; all of them when none is named."""
        names = [service] if service else self._tier.services
        return "\n".join(self._tier.log(name) for name in names)


class Worker(Tasks):
    """The prediction processes and the sender of callbacks, without an API: tasks go right into the queue."""

    def __init__(self, tier: Tier, receiver: CallbackReceiver | None) -> None:
        super().__init__(receiver)
        from pytest_denzel.tiers.queue import client

        self._tier = tier
        self._client = client(tier.values)
        self.tier = tier.name

    def __repr__(self) -> str:
        return f"<denzel_worker: tier {self.tier}>"

    def submit(self, request: Any) -> str:
        """Put a request into the queue, as an asynchronous one; the id of its task.

        `verify_input` runs in the API, so it does not run here: this is what it would have returned. The task is
        called back when the request has a `callback_uri`.
        """
        uri = callback_uri(request)
        task_id = self._client.submit(json.dumps(request).encode(), uri)
        self._submitted[task_id] = uri
        return task_id

    def status(self, task_id: str) -> dict[str, Any]:
        """What GET /status would answer.

        Raises:
            ServiceError: the task is unknown (404), or Redis is out of reach (503).
        """
        from denzel import testing

        try:
            body = self._client.status(task_id)
        except testing.OutOfReach as error:
            raise ServiceError(503, "Service unavailable", str(error)) from None
        if body is None:
            raise ServiceError(404, "Unknown task", f"There is no task {task_id!r}.")
        return body

    def _cancel(self, task_id: str) -> None:
        from denzel import testing

        try:
            self._client.cancel(task_id)
        except testing.OutOfReach as error:
            raise OSError(str(error)) from None

    def logs(self) -> str:
        """What the worker has printed."""
        return self._tier.log("denzel")


class Redis:
    """The service's Redis server, with an empty database for the test.

    Attributes:
        url: the URL of a database that belongs to this test alone (for each xdist worker another one).
        service_url: the URL of the database that the service uses.
    """

    def __init__(self, service_url: str, database: int) -> None:
        self.service_url = service_url
        self.url = f"{service_url.rpartition('/')[0]}/{database}"

    def __repr__(self) -> str:
        return f"<denzel_redis: database {self.url.rpartition('/')[2]}>"  # the URL holds the password

    def empty(self) -> None:
        """Delete everything in the test's own database."""
        with self.client() as client:
            client.flushdb()

    def client(self, **options: Any) -> redis.Redis:
        """A client of the test's own database; the options are those of `redis.Redis.from_url`."""
        import redis

        return redis.Redis.from_url(self.url, **options)


def _checked(response: Response) -> Any:
    """The JSON of an answer, or its error as an exception."""
    try:
        body = response.json()
    except ValueError:
        raise ServiceError(response.status, "No JSON", response.text[:500], response.headers) from None
    if response.status >= 400:
        raise ServiceError(response.status, body.get("title", ""), body.get("description", ""), response.headers)
    return body


def _task_id(response: Response) -> str:
    return _checked(response)["data"]["task_id"]
