"""The quick way of POST /predict: nothing of it waits, and what is not needed for it is left out.

A plain request whose `verify_input` is short, and which a prediction process takes at once, needs neither Falcon nor
a task of the event loop. Whatever is not plain, and whatever does not end in predictions, goes the usual way, at the
point where this one ends: both give the same answers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from denzel import jsonio
from denzel.api.metrics import BEGAN
from denzel.api.task_id import TaskIds
from denzel.executor import Executor, Outcome, Task
from denzel.metrics.counts import COUNTS
from denzel.pipeline import stages
from denzel.pipeline.in_api import Doubtful, UserPipeline

# What the usual way finds in the scope of a request: its task, and how it ends; its task, which is to be submitted;
# what `verify_input` made of it; that this has failed.
BEGUN = "denzel.begun"
READY = "denzel.ready"
VERIFIED = "denzel.verified"
DOUBTFUL = "denzel.doubtful"

# Requests with these headers ask for more than predictions.
_NOT_PLAIN = frozenset(
    (b"prefer", b"idempotency-key", b"content-encoding", b"expect", b"transfer-encoding", b"te", b"trailer")
)


class Connection(Protocol):
    """A client's connection, as the server knows it.

    Attributes:
        when_gone: called when the client has closed it.
        is_gone: it has.
    """

    when_gone: set[Callable[[], None]]
    is_gone: bool

    def answer(self, cycle: Any, headers: bytes, body: bytes) -> None:
        """Answer a request by 200, with these lines of headers (each ends in CR LF) besides the usual ones."""

    def take_usual_way(self, cycle: Any) -> None:
        """Let the application have a request."""


class QuickWay:
    """Takes requests from the server, and gives back those that it does not answer.

    Attributes:
        is_open: requests may come.
    """

    def __init__(
        self, executor: Executor, pipeline: UserPipeline, ids: TaskIds, most_bytes: int, is_open: bool
    ) -> None:
        self.is_open = is_open
        self._most_bytes = most_bytes
        self._executor = executor
        self._pipeline = pipeline
        self._ids = ids
        self._finishing: set[asyncio.Future[Outcome]] = set()

    def may_take(self, scope: dict[str, Any]) -> bool:
        """Whether a request is a plain one, by its head."""
        return (
            self.is_open
            and scope["path"] == "/predict"
            and scope["method"] == "POST"
            and scope["http_version"] == "1.1"
            and all(name not in _NOT_PLAIN for name, _ in scope["headers"])
        )

    def take(self, connection: Connection, cycle: Any) -> bool:
        """Begin with a request whose body has come; False when it has to go the usual way.

        Args:
            cycle: the server's own, with the request's `scope` and `body`.
        """
        size = len(cycle.body)
        if size > self._most_bytes or not self._pipeline.may_verify_now(size):
            return False
        try:
            json_data = jsonio.loads(bytes(cycle.body))
            if stages.callback_uri(json_data) is not None:
                return False
            began = time.perf_counter()
            verified = self._pipeline.verify_now(json_data)
        except Doubtful:
            cycle.scope[DOUBTFUL] = True
            return False
        except ValueError:
            return False
        if verified is None:
            return False
        COUNTS.verified(time.perf_counter() - began)
        if verified[1] is not None:  # a callback_uri
            cycle.scope[VERIFIED] = verified
            return False
        task = Task(self._ids.new(), verified[0], "live", None)
        withdraw = partial(self._executor.withdraw, task.id)

        def tell(predictions: bytes, model: str) -> None:
            arrived = time.perf_counter()
            connection.when_gone.discard(withdraw)
            headers = b"content-type: application/json\r\ndenzel-task-id: %b\r\n" % task.id.encode()
            if model:
                headers += b"denzel-model: %b\r\n" % model.encode()
            connection.answer(cycle, headers, predictions)
            COUNTS.predicted(began, arrived)

        future = self._executor.begin(task, tell)
        if future is None:
            cycle.scope[READY] = task
            return False
        connection.when_gone.add(withdraw)
        future.add_done_callback(partial(self._take_usual_way, connection, cycle, task, withdraw, began))
        return True

    def _take_usual_way(
        self, connection: Connection, cycle: Any, task: Task, withdraw: Callable[[], None], began: float, future: Any
    ) -> None:
        connection.when_gone.discard(withdraw)
        # Falcon may find that the client has gone, and do nothing more.
        finishing = asyncio.ensure_future(self._executor.finish(task))
        self._finishing.add(finishing)
        finishing.add_done_callback(self._finished)
        if connection.is_gone:
            COUNTS.answered("gone", 0.0, 0.0)
        else:
            cycle.scope[BEGUN], cycle.scope[BEGAN] = (task, finishing), began
            connection.take_usual_way(cycle)

    def _finished(self, finishing: asyncio.Future[Outcome]) -> None:
        self._finishing.discard(finishing)
        if not finishing.cancelled():
            finishing.exception()  # whoever waits for it is told
