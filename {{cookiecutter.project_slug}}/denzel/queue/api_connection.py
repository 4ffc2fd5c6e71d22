"""The API's connection to Redis on the path of a request: tasks go out, replies come in, with little in between.

redis-py makes the connection (address, TLS, password, handshake); after that its transport is read and written by
callbacks of the event loop. A command through redis-py's client costs several times the CPU of the rest of a request's
way; what is needed here, commands answered in order and messages of one channel between them (RESP3 push), is little.
https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import hiredis
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, NoScriptError, OutOfMemoryError, ResponseError

from denzel.queue import keys, owner
from denzel.queue.pubsub import ASK_EVERY

log = logging.getLogger("denzel.api")

_LONGEST_PAUSE = 1.0  # seconds between two tries to connect

_NOTHING = object()
_UNKNOWN = b"0"


class ApiConnection:
    """Sends commands and hands on the messages of one channel; connects again for ever.

    Args:
        url: of Redis.
        channel: subscribed to on every connection.
        on_message: called with the data of each message.
        on_connect: awaited after each connection, the first one too: messages may have been missed.

    Attributes:
        response: the live response setting as it is in Redis (None: not set); as long as it is not known, asynchronous,
            which those who need to know have to ask for. Redis tells of every change (client-side caching).
            https://redis.io/docs/latest/develop/reference/client-side-caching/
    """

    def __init__(
        self, url: str, channel: str, on_message: Callable[[bytes], None], on_connect: Callable[[], Awaitable[None]]
    ) -> None:
        self.response: bytes | None = _UNKNOWN
        self._pool = redis.ConnectionPool.from_url(
            url,
            protocol=3,
            redis_connect_func=owner.connected_async,
            socket_timeout=5,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        self._channel = channel
        self._on_message = on_message
        self._on_connect = on_connect
        self._wire: _Wire | None = None
        self._away = False
        self._wanted = asyncio.Event()
        self._tried: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = 0.0
        while True:
            try:
                wire = await self._connect()
            except Exception as error:  # mostly RedisError and OSError; whatever it is, the next try may succeed
                problem = error
                self._tell(error)
            else:
                problem = await self._stay(wire)
            if not self._away:
                log.warning("The connection to Redis broke, connecting again: %s", problem)
                pause = 0.0
            self._away = True
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), pause)
            pause = min(_LONGEST_PAUSE, pause * 2 + 0.05)

    def _tell(self, outcome: Exception | None) -> None:
        """Let those know who wait for a connection: it is there, or why it is not."""
        self._tried.set_result(outcome)
        self._tried = asyncio.get_running_loop().create_future()
        self._wanted.clear()

    async def evalsha(self, *arguments: Any) -> Any:
        """Run a script that the server knows."""
        return await self._call("EVALSHA", *arguments)

    async def eval(self, *arguments: Any) -> Any:
        """Run a script."""
        return await self._call("EVAL", *arguments)

    async def set(self, name: str, value: bytes, *, nx: bool, ex: int) -> Any:
        """Store a value that expires after so many seconds; where `nx`, unless there is one."""
        return await self._call("SET", name, value, "EX", ex, *(["NX"] if nx else []))

    async def _call(self, *arguments: Any) -> Any:
        """The answer; sent once more when the connection breaks, as a stale one does: every script may run twice."""
        for last in (False, True):
            try:
                wire = self._wire
                if wire is None or wire.lost.done():
                    wire = await self._next_wire()
                return await wire.send(*arguments)
            except ConnectionError:
                if last:
                    raise

    @property
    def is_connected(self) -> bool:
        """Whether Redis answers, as far as is known."""
        return self._wire is not None and not self._wire.lost.done()

    def _read_response(self) -> None:
        """The live setting has changed, or is not known yet."""
        self.response = _UNKNOWN
        if self._wire is not None:
            self._wire.send("GET", keys.RESPONSE).add_done_callback(self._have_response)

    def _have_response(self, answer: asyncio.Future[Any]) -> None:
        """Answers come in order: what is told of a change after this one makes it unknown again."""
        if not answer.cancelled() and answer.exception() is None:
            self.response = answer.result()

    async def _next_wire(self) -> _Wire:
        """The connection that is made now; raises why it cannot be made."""
        self._wanted.set()
        problem = await asyncio.shield(self._tried)
        if isinstance(problem, owner.OtherProjectError):
            raise problem
        if problem is not None or self._wire is None:
            raise ConnectionError(str(problem or "the connection broke at once"))
        return self._wire

    async def _connect(self) -> _Wire:
        connection = self._pool.make_connection()
        try:
            await connection.connect()
            wire = _Wire(connection, self._on_message, self._read_response)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        try:
            wire.subscribe(self._channel)
            await asyncio.wait_for(wire.subscribed, ASK_EVERY)
        except BaseException:
            await wire.close()
            raise
        return wire

    async def _stay(self, wire: _Wire) -> Exception:
        """Serve on a connection until it breaks; why it did."""
        self._wire = wire
        self._tell(None)
        wire.send("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", keys.RESPONSE).add_done_callback(self._tracked)
        catching_up = asyncio.ensure_future(self._on_connect())
        catching_up.add_done_callback(partial(self._caught_up, wire))
        try:
            while not wire.lost.done():
                wire.heard = False
                wire.send("PING").add_done_callback(_forget)
                await asyncio.wait([wire.lost], timeout=ASK_EVERY)
                if not wire.heard:
                    wire.abort()
                    await wire.lost
            return wire.lost.result()
        finally:
            self._wire, self.response = None, _UNKNOWN
            catching_up.cancel()
            await wire.close()

    def _tracked(self, answer: asyncio.Future[Any]) -> None:
        """Without it (something between that is no Redis) the setting stays unknown."""
        if not answer.cancelled() and answer.exception() is None:
            self._read_response()

    def _caught_up(self, wire: _Wire, catching_up: asyncio.Future[None]) -> None:
        """Only now is all well; a Redis that is loading its data, say, lets one connect and refuses the rest."""
        if catching_up.cancelled():
            return
        if catching_up.exception() is not None:
            wire.abort()
            return
        if self._away:
            log.warning("The connection to Redis is back")
        self._away = False


class _Wire(asyncio.Protocol):
    """One connection, taken over from redis-py.

    Attributes:
        heard: something came; for those who want to know whether anything does.
        subscribed: done when the channel is.
        lost: done when the connection has ended; the result says why.
    """

    def __init__(
        self, connection: redis.Connection, on_message: Callable[[bytes], None], on_change: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        self.heard = True
        self.subscribed: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[Exception] = loop.create_future()
        self._loop = loop
        self._connection = connection
        self._on_message = on_message
        self._on_change = on_change
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._reader = hiredis.Reader(replyError=_error, notEnoughData=_NOTHING)
        # Not public in redis-py; tested with the versions of requirements-denzel.txt.
        self._transport = connection._writer.transport  # type: ignore[union-attr]
        self._transport.set_protocol(self)

    def send(self, *arguments: Any) -> asyncio.Future[Any]:
        """Send a command; its answer, or ConnectionError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.lost.done():
            future.set_exception(self.lost.result())
        else:
            self._answers.append(future)
            self._write(*arguments)
        return future

    def subscribe(self, channel: str) -> None:
        """Ask for a channel's messages."""
        self._write("SUBSCRIBE", channel)

    def _write(self, *arguments: Any) -> None:
        self._transport.write(hiredis.pack_command(arguments))

    def abort(self) -> None:
        """End the connection."""
        self._transport.abort()

    async def close(self) -> None:
        """Let go of everything."""
        self._transport.abort()
        await self._connection.disconnect(nowait=True)
        if not self.subscribed.done():
            self.subscribed.cancel()

    def data_received(self, data: bytes) -> None:
        self.heard = True
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NOTHING:
            if isinstance(reply, hiredis.PushNotification):
                if reply[0] == b"message":
                    self._on_message(reply[2])
                elif reply[0] == b"invalidate":
                    self._on_change()
                elif reply[0] == b"subscribe":
                    self.subscribed.set_result(None)
            elif self._answers:
                future = self._answers.popleft()
                if future.done():  # nobody waits any more
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
            else:  # the subscription was refused
                log.error("Redis refused the channel of replies: %s", reply)
                self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        reason = ConnectionError(f"the connection was closed ({error or 'by Redis'})")
        if not self.lost.done():
            self.lost.set_result(reason)
        if not self.subscribed.done():
            self.subscribed.set_exception(reason)
        for future in self._answers:
            if not future.done():
                future.set_exception(reason)


def _error(text: str) -> ResponseError:
    """An answer that is an error, as redis-py would raise it."""
    kinds = {"NOSCRIPT": NoScriptError, "OOM": OutOfMemoryError}
    return kinds.get(text.partition(" ")[0], ResponseError)(text)


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
