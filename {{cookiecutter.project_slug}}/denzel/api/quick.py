"""The quick way of POST /predict: nothing of it waits, and what is not needed for it is left out.

A plain request whose `verify_input` is short, and which a prediction process takes at once, needs neither Falcon nor
a task of the event loop. Whatever is not plain, and whatever does not end in predictions, goes the usual way, at the
point where this one ends: both give the same answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from denzel import json_bounds, jsonio
from denzel.api.entry import OWNER, WAIT
from denzel.api.exchange import EXCHANGE, Exchange, Exchanges
from denzel.api.hosts import Hosts
from denzel.api.rates import Rates
from denzel.api.task_id import TaskIds
from denzel.api_keys import Keys
from denzel.executor import Executor, Outcome, Task
from denzel.log import about
from denzel.log.sample import tell_answer
from denzel.memory import MEMORY, SMALL
from denzel.metrics.counts import COUNTS
from denzel.origin import HEADERS, NOWHERE, Origin, from_headers
from denzel.pipeline import stages
from denzel.pipeline.in_api import Doubtful, UserPipeline
from denzel.timings import CallTimes

# What the usual way finds in the scope of a request: its task, and how it ends; its task, which is to be submitted;
# what `verify_input` made of it; that this has failed.
BEGUN = "denzel.begun"
READY = "denzel.ready"
VERIFIED = "denzel.verified"
DOUBTFUL = "denzel.doubtful"

# Requests with these headers ask for more than predictions.
_NOT_PLAIN = frozenset(
    (b"prefer", b"idempotency-key", b"content-encoding", b"expect", b"transfer-encoding", b"te", b"trailer", b"origin")
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


class _Asked:
    """A request that was verified.

    Attributes:
        source: where it comes from.
        came: when it had come (perf_counter).
        verified: when `verify_input` had ended.
        verify: seconds of that.
        withdraw: what is to be called when its client goes.
    """

    __slots__ = ("came", "connection", "cycle", "source", "task_id", "verified", "verify", "withdraw")

    def __init__(
        self, connection: Connection, cycle: Any, task_id: str, source: Origin, came: float, verified: float
    ) -> None:
        self.connection, self.cycle, self.task_id, self.source = connection, cycle, task_id, source
        self.came, self.verified, self.verify = came, verified, 0.0
        self.withdraw: Callable[[], None] = _nothing

    @property
    def request_id(self) -> str:
        """The client's own, or its task's."""
        return self.source.request_id or self.task_id

    def exchange(self) -> Exchange:
        """What the usual way goes on with."""
        return Exchange(
            "POST", "/predict", self.came, self.source, self.request_id, self.task_id, "", self.verify, self.verified
        )


def _nothing() -> None:
    pass


class QuickWay:
    """Takes requests from the server, and gives back those that it does not answer.

    Attributes:
        is_open: requests may come.
    """

    def __init__(
        self,
        executor: Executor,
        pipeline: UserPipeline,
        ids: TaskIds,
        most_bytes: int,
        is_open: bool,
        exchanges: Exchanges,
        hosts: Hosts,
        keys: Keys,
        rates: Rates,
    ) -> None:
        self._rates = rates
        self.is_open = is_open
        self._hosts = hosts
        self._keys = keys
        self._exchanges, self._sample = exchanges, exchanges.sample
        self._most_bytes = most_bytes
        self._executor = executor
        self._pipeline = pipeline
        self._ids = ids
        self._finishing: set[asyncio.Future[Outcome]] = set()

    def may_take(self, scope: dict[str, Any]) -> bool:
        """Whether a request is a plain one, by its head."""
        if not (
            self.is_open
            and scope["path"] == "/predict"
            and scope["method"] == "POST"
            and scope["http_version"] == "1.1"
        ):
            return False
        headers = dict(scope["headers"])
        if not (_NOT_PLAIN.isdisjoint(headers) and headers.get(b"host") in self._hosts.known):
            return False
        if len(headers) != len(scope["headers"]):  # one of them came twice: Host, perhaps
            return False
        owner = scope[OWNER] = self._keys.owner(headers)
        if owner and self._rates:
            scope[WAIT] = self._rates.wait(owner)
            return not scope[WAIT]
        return owner is not None

    def take(self, connection: Connection, cycle: Any) -> bool:
        """Begin with a request whose body has come; False when it has to go the usual way.

        Args:
            cycle: the server's own, with the request's `scope` and `body`.
        """
        came, size = perf_counter(), len(cycle.body)
        if size > self._most_bytes or not self._pipeline.may_verify_now(size):
            return False
        scope, task_id = cycle.scope, self._ids.new(cycle.scope[OWNER])
        source = NOWHERE if HEADERS.isdisjoint(dict(scope["headers"])) else from_headers(scope["headers"])
        whose = ((task_id, source.text),)
        try:
            if json_bounds.may_be_deep(cycle.body):
                return False
            json_data = jsonio.loads(bytes(cycle.body))
            if stages.callback_uri(json_data) is not None:
                return False
            about.THREAD.about = whose
            began = perf_counter()
            verified = self._pipeline.verify_now(json_data)
        except Doubtful:
            scope[DOUBTFUL] = True
            return False
        except ValueError:
            return False
        finally:
            about.THREAD.about = ()
        if verified is None:
            return False
        asked = _Asked(connection, cycle, task_id, source, came, perf_counter())
        asked.verify = asked.verified - began
        COUNTS.verified(asked.verify)
        if verified[1] is not None:  # a callback_uri
            scope[VERIFIED], scope[EXCHANGE] = verified, asked.exchange()
            return False
        return self._give(asked, Task(task_id, verified[0], "live", None, origin=whose[0][1], verify=asked.verify))

    def _give(self, asked: _Asked, task: Task) -> bool:
        """Have a task run; False when no process takes it at once."""
        future = self._executor.begin(task, partial(self._tell, asked))
        if future is None:
            asked.cycle.scope[READY], asked.cycle.scope[EXCHANGE] = task, asked.exchange()
            return False
        asked.withdraw = partial(self._executor.withdraw, task.id)
        asked.connection.when_gone.add(asked.withdraw)
        future.add_done_callback(partial(self._take_usual_way, asked, task))
        return True

    def _tell(self, asked: _Asked, predictions: bytes, model: str, times: CallTimes) -> None:
        """Answer a request."""
        asked.connection.when_gone.discard(asked.withdraw)
        if len(predictions) > SMALL and not MEMORY.has_room_for(len(predictions)):
            return self._tell_usual_way(asked, Outcome("SUCCESS", predictions, model, times))
        now = perf_counter()
        passed = now - asked.verified
        headers = (
            f"content-type: application/json\r\ndenzel-task-id: {asked.task_id}\r\n"
            f"x-request-id: {asked.request_id}\r\n"
            f"server-timing: verify;dur={asked.verify * 1e3:.3f}, queue;dur={times.queue(passed) * 1e3:.3f}"
            f"{times.header}\r\n"
        )
        if model:
            headers += f"denzel-model: {model}\r\n"
        asked.connection.answer(asked.cycle, headers.encode(), predictions)
        COUNTS.predicted(asked.came, now)
        if self._sample.admits(now):
            about_it = ((asked.task_id, asked.source.text),)
            tell_answer("POST", "/predict", 200, now - asked.came, about_it, asked.verify, passed, times)

    def _tell_usual_way(self, asked: _Asked, outcome: Outcome) -> None:
        """Let the usual way answer with an outcome."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        future.set_result(outcome)
        scope, task = asked.cycle.scope, Task(asked.task_id, b"", "live", None)
        scope[BEGUN], scope[EXCHANGE] = (task, future), asked.exchange()
        asked.connection.take_usual_way(asked.cycle)

    def _take_usual_way(self, asked: _Asked, task: Task, future: Any) -> None:
        connection, scope = asked.connection, asked.cycle.scope
        connection.when_gone.discard(asked.withdraw)
        # Falcon may find that the client has gone, and do nothing more.
        finishing = asyncio.ensure_future(self._executor.finish(task))
        self._finishing.add(finishing)
        finishing.add_done_callback(self._finished)
        if connection.is_gone:
            self._exchanges.end(asked.exchange())
            COUNTS.answered("gone", 0.0, 0.0)
        else:
            scope[BEGUN], scope[EXCHANGE] = (task, finishing), asked.exchange()
            connection.take_usual_way(asked.cycle)

    def _finished(self, finishing: asyncio.Future[Outcome]) -> None:
        self._finishing.discard(finishing)
        if not finishing.cancelled():
            finishing.exception()  # whoever waits for it is told
