"""Clients that ask without pause while something is done to the service, and what became of each request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import aiohttp


class Clients:
    """Clients on connections that they keep, and others that open one for each request. A context manager.

    Args:
        kept: clients that keep their connection.
        fresh: clients that open a connection for each request.
        later: clients that keep their connection and ask asynchronously.
        think: seconds between an answer and the next request.
        forwarded: Docker stands between: it accepts connections for a service that is away, and closes them again. So
            a new connection on which nothing came back was refused.

    Attributes:
        outcomes: how many requests ended how: a status, "wrong" (another request's answer), "refused" (no connection
            came about, so nothing was sent) or "cut off" (a connection broke under the request).
        accepted: the tasks whose answers are to be fetched, with their requests.
        versions: how many answers named which version of the pipeline, where it has one.
        slowest: the longest time that an answer took (seconds).
    """

    def __init__(
        self, url: str, kept: int = 16, fresh: int = 8, later: int = 0, think: float = 0.005, forwarded: bool = False
    ) -> None:
        self._url = url
        self._kinds = [(False, False)] * kept + [(True, False)] * fresh + [(False, True)] * later
        self._think = think
        self._forwarded = forwarded
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._number = 0
        self.outcomes: Counter[str | int] = Counter()
        self.accepted: dict[str, dict[str, int]] = {}
        self.versions: Counter[Any] = Counter()
        self.slowest = 0.0

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def answered(self) -> int:
        """Requests that were answered with their predictions, or, asynchronously, accepted."""
        return self.outcomes[200]

    async def _main(self) -> None:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(_note_new_connection)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trace_configs=[tracing]) as session:
            await asyncio.gather(*(self._ask_on(session, *kind) for kind in self._kinds))

    async def _ask_on(self, session: aiohttp.ClientSession, fresh: bool, later: bool) -> None:
        while not self._stop.is_set():
            if fresh:
                async with aiohttp.ClientSession(trace_configs=session.trace_configs) as own:
                    await self._ask(own, later)
            else:
                await self._ask(session, later)
            await asyncio.sleep(self._think)

    async def _ask(self, session: aiohttp.ClientSession, later: bool) -> None:
        self._number += 1
        body, began = {"number": self._number}, time.monotonic()
        headers = {"Prefer": "respond-async" if later else "wait=20"}
        connection = SimpleNamespace(is_new=False)
        outcome: Any
        try:
            async with session.post(
                f"{self._url}/predict", json=body, headers=headers, trace_request_ctx=connection
            ) as response:
                answer = await response.json()
                outcome = response.status
            if outcome == 202 or (outcome == 200 and later):
                self.accepted[answer["data"]["task_id"]] = body
            elif outcome == 200:
                self.versions[answer.get("version")] += 1
                if answer["answer"] != body:
                    outcome = "wrong"
        except aiohttp.ClientConnectorError:
            outcome = "refused"
        except (aiohttp.ClientError, OSError):
            outcome = "refused" if self._forwarded and connection.is_new else "cut off"
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if outcome in ("refused", 503):
            await asyncio.sleep(0.02)


async def _note_new_connection(session: Any, context: SimpleNamespace, parameters: Any) -> None:
    context.trace_request_ctx.is_new = True
