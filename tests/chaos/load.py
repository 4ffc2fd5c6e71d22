"""Clients that ask without pause while the service is disturbed, and follow every accepted task to its end."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterable
from typing import Any

import aiohttp

from tests.chaos.asked import ACCEPTED, POLLED, REFUSED, SYNC, UNANSWERED, Asked, questions

CLIENTS = 12
THINK = 0.7  # seconds between two requests of a client, at the most
ANSWERED_WITHIN = 30.0  # seconds; a client that waits for longer hangs up
POLLED_FOR = 3.0  # seconds that a client asks for its task before it goes on to others
FOLLOWED = 8  # tasks that are asked for at the same time when the load is over
FINAL = ("SUCCESS", "FAILURE", "REVOKED")


class Load:
    """Clients on connections that they keep, in a thread of their own; the load ends with the `with` block.

    Attributes:
        asked: every request that was sent.
        successes: when the synchronous requests that got their predictions were sent and answered (time.monotonic).
    """

    def __init__(self, url: str, callback_uri: str, seed: int) -> None:
        self._url = url
        self._callback_uri = callback_uri
        self._questions = questions(seed)
        self._random = random.Random(f"clients {seed}")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._problem: BaseException | None = None
        self.asked: list[Asked] = []
        self.successes: list[tuple[float, float]] = []

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopping.set()
        self._thread.join()
        if self._problem:
            raise self._problem

    @property
    def accepted(self) -> list[Asked]:
        """The requests that the service has taken on."""
        return [asked for asked in list(self.asked) if asked.outcome == ACCEPTED]

    def follow(self, timeout: float) -> None:
        """When the load is over: see every accepted task end, or the time run out."""
        asyncio.run(self._follow_all(time.monotonic() + timeout))

    def _run(self) -> None:
        try:
            asyncio.run(self._ask_all())
        except BaseException as problem:
            self._problem = problem

    async def _ask_all(self) -> None:
        async with self._session() as session:
            await asyncio.gather(*(self._client(session) for _ in range(CLIENTS)))

    async def _follow_all(self, deadline: float) -> None:
        left = iter([asked for asked in self.accepted if not asked.status])

        async def follower(session: aiohttp.ClientSession, share: Iterable[Asked]) -> None:
            for asked in share:
                while not await self._ask_status(session, asked) and time.monotonic() < deadline:
                    await asyncio.sleep(0.1)

        async with self._session() as session:
            await asyncio.gather(*(follower(session, left) for _ in range(FOLLOWED)))

    def _session(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=ANSWERED_WITHIN)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)

    async def _client(self, session: aiohttp.ClientSession) -> None:
        while not self._stopping.is_set():
            asked = next(self._questions)
            self.asked.append(asked)
            await self._ask(session, asked)
            until = time.monotonic() + POLLED_FOR
            while asked.outcome == ACCEPTED and asked.mode == POLLED and time.monotonic() < until:
                if await self._ask_status(session, asked):
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(self._random.uniform(0, THINK))

    async def _ask(self, session: aiohttp.ClientSession, asked: Asked) -> None:
        """Send a request until it is known what became of it; without a key that is once."""
        outcome = await self._send(session, asked)
        until = time.monotonic() + 2 * ANSWERED_WITHIN
        while outcome == UNANSWERED and asked.key and time.monotonic() < until:
            await asyncio.sleep(0.2)
            again = await self._send(session, asked)
            outcome = again if again != REFUSED else UNANSWERED  # what came of the first time is still unknown
        asked.outcome = outcome

    async def _send(self, session: aiohttp.ClientSession, asked: Asked) -> str:
        sent = time.monotonic()
        asked.sent = asked.sent or sent
        body, headers = asked.body(self._callback_uri), asked.headers
        try:
            async with session.post(f"{self._url}/predict", data=body, headers=headers) as response:
                text = await response.read()
        except aiohttp.ClientConnectorError:
            return REFUSED
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            return UNANSWERED
        if response.status in (503, 429):
            return REFUSED
        outcome = _judge(asked, response.status, response.headers.get("Denzel-Task-Id", ""), text)
        if asked.status == "SUCCESS":
            self.successes.append((sent, asked.ended))
        return outcome

    async def _ask_status(self, session: aiohttp.ClientSession, asked: Asked) -> bool:
        """Ask for a task; True when it has ended or is gone."""
        try:
            async with session.get(f"{self._url}/status/{asked.task_id}") as response:
                document: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
            return False
        if response.status == 503 or (response.status == 200 and document["status"] not in FINAL):
            return False
        asked.status = document["status"] if response.status == 200 else str(response.status)
        asked.result = document.get("result")
        asked.ended = time.monotonic()
        return True


def _judge(asked: Asked, status: int, task_id: str, text: bytes) -> str:
    """What an answer means that is no refusal."""
    try:
        document = json.loads(text)
    except ValueError:
        return f"{status} {text[:200]!r}"
    now, asked.task_id = time.monotonic(), task_id
    if asked.mode == SYNC and status == 200:
        asked.status, asked.result, asked.ended = "SUCCESS", document, now
    elif asked.mode == SYNC and status == 500 and task_id:
        asked.status, asked.result, asked.ended = "FAILURE", document, now
    elif status not in (200, 202) or not task_id or document != _accepted(task_id):
        return f"{status} {document}"
    return ACCEPTED


def _accepted(task_id: str) -> dict[str, Any]:
    return {"status": "success", "data": {"task_id": task_id}}
