"""What tests hold in their hands: the service over HTTP, the worker behind its queue, and Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_denzel.tiers.http import Response, call
from pytest_denzel.waiting import wait_until

if TYPE_CHECKING:
    import redis

    from pytest_denzel.callbacks.receiver import CallbackReceiver
    from pytest_denzel.tiers.session import Turn
    from pytest_denzel.tiers.tier import Tier

__tracebackhide__ = True

FINAL = frozenset({"SUCCESS", "FAILURE", "REVOKED"})

_MOST_SHOWN = 50  # tasks that a failure lists


class ServiceError(Exception):
    """An error of the service.

    Attributes:
        status: the HTTP status.
        title: such as "Bad input format".
        description: the message, for example that of the exception raised by `verify_input`.
        headers: the answer's headers, their names in lower case.
    """

    def __init__(self, status: int, title: str, description: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {title}: {description}")
        self.status = status
        self.title = title
        self.description = description
        self.headers = dict(headers or {})


class Tasks:
    """Following tasks to their end; the same for the service and for a worker without an API."""

    def __init__(self, receiver: CallbackReceiver | None) -> None:
        self._receiver = receiver
        self._submitted: dict[str, str | None] = {}

    def status(self, task_id: str) -> dict[str, Any]:
        """The body of GET /status: at least "status" and "result"."""
        raise NotImplementedError

    def wait(self, task_id: str, timeout: float = 60) -> dict[str, Any]:
        """The body of /status once the task has ended, whichever way.

        Raises:
            AssertionError: it has not ended after `timeout` seconds.
        """
        body: dict[str, Any] = {}

        def ended() -> dict[str, Any] | None:
            body.clear()
            body.update(self.status(task_id))
            return body if body["status"] in FINAL else None

        def late() -> AssertionError:
            return AssertionError(f"task {task_id} has not ended within {timeout:g} s; its status: {json.dumps(body)}")

        return wait_until(ended, timeout, late, pause=0.005, longest_pause=0.2)

    def assert_nothing_lost(self, task_ids: Iterable[str], timeout: float = 60) -> None:
        """Check that every one of these tasks ends, and that each one whose callback goes to the test's
        `callback_receiver` is called back.

        Raises:
            AssertionError: lists the tasks that did not end, and those that were not called back.
        """
        ids = list(dict.fromkeys(task_ids))
        pending, silent = set(ids), set(ids)

        def none_is_missing() -> bool:
            pending.difference_update([task_id for task_id in pending if self._has_ended(task_id)])
            arrived = {delivery.task_id for delivery in self._receiver.deliveries} if self._receiver else set()
            silent.intersection_update([task_id for task_id in ids if self._expects_callback(task_id)])
            silent.difference_update(arrived)
            return not pending and not silent

        def late() -> AssertionError:
            lines = [f"  did not end:       {known}  {self._describe(known)}" for known in ids if known in pending]
            lines += [f"  not called back:   {known}  {self._describe(known)}" for known in ids if known in silent]
            return AssertionError(
                f"Within {timeout:g} s, of {len(ids)} tasks {len(pending)} did not end and "
                f"{len(silent)} were not called back:\n"
                + "\n".join(lines[:_MOST_SHOWN])
                + (f"\n  ... and {len(lines) - _MOST_SHOWN} more" if len(lines) > _MOST_SHOWN else "")
            )

        wait_until(none_is_missing, timeout, late, pause=0.1)

    def _expects_callback(self, task_id: str) -> bool:
        uri = self._submitted.get(task_id)
        return bool(uri and self._receiver and uri.startswith(self._receiver.url))

    def _has_ended(self, task_id: str) -> bool:
        try:
            return self.status(task_id)["status"] in FINAL
        except (ServiceError, OSError):
            return False  # the service is away for the moment, or has lost the task

    def _describe(self, task_id: str) -> str:
        try:
            return json.dumps(self.status(task_id))[:300]
        except (ServiceError, OSError) as error:
            return str(error)


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
        return call(method, self.url + path, data, {"Content-Type": "application/json", **(headers or {})}, timeout)

    def post(self, request: Any, headers: Mapping[str, str] | None = None) -> Response:
        """POST /predict just so: the live response setting decides how it is answered."""
        response = self.request("POST", "/predict", request, headers)
        if task_id := response.headers.get("denzel-task-id"):
            self._submitted[task_id] = _callback_uri(request)
        return response

    def predict(self, request: Any, timeout: float = 60) -> dict[str, Any]:
        """The predictions, waited for, whatever the live response setting is.

        Raises:
            ServiceError: the request was refused, or its task failed.
            AssertionError: the task has not ended after `timeout` seconds.
        """
        response = self.post(request, {"Prefer": f"wait={timeout:g}"})
        if response.status != 202:
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

    def submit(self, request: Any) -> str:
        """Put a request into the queue, as an asynchronous one; the id of its task.

        `verify_input` runs in the API, so it does not run here: this is what it would have returned. The task is
        called back when the request has a `callback_uri`.
        """
        uri = _callback_uri(request)
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


def _callback_uri(request: Any) -> str | None:
    uri = request.get("callback_uri") if isinstance(request, dict) else None
    return uri if isinstance(uri, str) else None
