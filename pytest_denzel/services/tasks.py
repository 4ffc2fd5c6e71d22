"""Following tasks to their end, and their callbacks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pytest_denzel.waiting import wait_until

if TYPE_CHECKING:
    from pytest_denzel.callbacks.receiver import CallbackReceiver

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
        self._ended: set[str] = set()
        if receiver:
            receiver.explain = self._explain_callback

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
            if body["status"] not in FINAL:
                return None
            self._ended.add(task_id)
            return body

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

    def cancel_what_is_left(self) -> None:
        """Cancel what this test has submitted and what has not ended, so that it delays no other test."""
        if self._receiver:
            self._ended.update(delivery.task_id for delivery in self._receiver.deliveries if delivery.task_id)
        for task_id in self._submitted:
            if task_id not in self._ended:
                try:
                    self._cancel(task_id)
                except ServiceError:
                    continue  # it has ended, or is lost
                except OSError:
                    return  # the service is away

    def _cancel(self, task_id: str) -> None:
        """Cancel a task; a ServiceError where that cannot be done."""
        raise NotImplementedError

    def _explain_callback(self, task_id: str) -> str:
        try:
            return explain_callback(self.status(task_id), self._submitted.get(task_id, UNKNOWN), self._receiver)
        except (ServiceError, OSError) as error:
            return f"the service says of the task: {error}"

    def _expects_callback(self, task_id: str) -> bool:
        uri = self._submitted.get(task_id)
        return bool(uri and self._receiver and uri.startswith(self._receiver.url))

    def _has_ended(self, task_id: str) -> bool:
        try:
            has_ended = self.status(task_id)["status"] in FINAL
        except (ServiceError, OSError):
            return False  # the service is away for the moment, or has lost the task
        if has_ended:
            self._ended.add(task_id)
        return has_ended

    def _describe(self, task_id: str) -> str:
        try:
            return json.dumps(self.status(task_id))[:300]
        except (ServiceError, OSError) as error:
            return str(error)


UNKNOWN = "unknown"  # in place of the callback_uri of a task that somebody else has submitted


def explain_callback(status: Mapping[str, Any], uri: str | None, receiver: CallbackReceiver | None) -> str:
    """Why a task's callback has not arrived, by the body of its /status and the `callback_uri` of its request."""
    callback = status.get("callback")
    if uri is None or (callback is None and uri == UNKNOWN and status["status"] in FINAL):
        return f"the request had no callback_uri (its status is {status['status']})"
    if uri != UNKNOWN and receiver and not uri.startswith(receiver.url):
        return f"its callback_uri is {uri}, which is not this receiver's"
    if status["status"] not in FINAL:
        return f"the task has not ended, its status is {status['status']}"
    if callback is None:
        return f"the task has ended ({status['status']}) and has no callback: it was answered synchronously"
    return f"the task has ended ({status['status']}); the service says of its callback: {json.dumps(callback)}"


def callback_uri(request: Any) -> str | None:
    """The `callback_uri` of a request, an object or the bytes of a body; None where there is none."""
    if isinstance(request, bytes):
        try:
            request = json.loads(request)
        except ValueError:
            return None
    uri = request.get("callback_uri") if isinstance(request, dict) else None
    return uri if isinstance(uri, str) else None
