"""Clients that ask without pause while something is done to the service, and what became of each request."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import aiohttp


class Clients:
    """Clients on connections that they keep, and others that open one for each request. A context manager.

    Attributes:
        outcomes: how many requests ended how: a status, "wrong" (another request's answer), "refused" (no connection
            came about, so nothing was sent) or "cut off" (a connection broke under the request).
        slowest: the longest time that an answer took (seconds).
    """

    def __init__(self, url: str, kept: int = 16, fresh: int = 8, think: float = 0.005) -> None:
        self._url = url
        self._kinds = [False] * kept + [True] * fresh
        self._think = think
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._number = 0
        self.outcomes: Counter[str | int] = Counter()
        self.slowest = 0.0

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def answered(self) -> int:
        """Requests that were answered with their predictions."""
        return self.outcomes[200]

    async def _main(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await asyncio.gather(*(self._ask_on(session, fresh) for fresh in self._kinds))

    async def _ask_on(self, session: aiohttp.ClientSession, fresh: bool) -> None:
        while not self._stop.is_set():
            if fresh:
                async with aiohttp.ClientSession() as own:
                    await self._ask(own)
            else:
                await self._ask(session)
            await asyncio.sleep(self._think)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        self._number += 1
        body, began = {"number": self._number}, time.monotonic()
        outcome: Any
        try:
            async with session.post(f"{self._url}/predict", json=body, headers={"Prefer": "wait=20"}) as response:
                answer = await response.json()
                outcome = response.status
                if outcome == 200 and answer != {"answer": body}:
                    outcome = "wrong"
        except aiohttp.ClientConnectorError:
            outcome = "refused"
            await asyncio.sleep(0.02)
        except (aiohttp.ClientError, OSError):
            outcome = "cut off"
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
