"""The other paths: /status, /info, /ping and /ready; where there is GET, there is HEAD."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import falcon
import falcon.asgi

from denzel.api.answers import MODEL, write_json
from denzel.api.entry import OWNER
from denzel.api.exchange import EXCHANGE
from denzel.api.task_id import TaskIds
from denzel.executor import Executor, Unavailable
from denzel.pipeline.in_api import UserPipeline
from denzel.record import FINAL
from denzel.server import board
from denzel.settings import Settings
from denzel.timings import header_of

ROOT = Path(__file__).parents[2]
SYNC_TIMEOUT = "Denzel-Sync-Timeout"  # the header that tells how long /predict waits, 0: not at all
INFO = "app/assets/info.txt"
# The record of a task may follow its answer by a moment: seconds after which an unknown one is looked for again.
_RECORD_FOLLOWS = (0.02, 0.05, 0.1, 0.2)

T = TypeVar("T")
_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


class Status:
    """GET and DELETE /status/{task_id}: how a task stands; cancel it."""

    def __init__(self, settings: Settings, executor: Executor, ids: TaskIds) -> None:
        self._settings = settings
        self._executor = executor
        self._ids = ids

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        owner = req.scope.get(OWNER) or ""
        status = await self._look(self._executor.status, task_id, owner)
        if status is None:
            raise self._unknown(task_id, owner)
        if status["status"] == "PENDING" and (reason := (await self._executor.readiness())["reason"]):
            status["waiting_for"] = reason
        req.scope[EXCHANGE].about_task(task_id)
        req.scope[EXCHANGE].timing = header_of(status)
        if "model" in status:
            resp.set_header(MODEL, status["model"])
        write_json(resp, status)

    on_head = on_get  # Falcon leaves the body out, its length is told

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        owner = req.scope.get(OWNER) or ""
        found = await self._look(self._executor.cancel, task_id, owner)
        if found is None:
            raise self._unknown(task_id, owner)
        if found in FINAL:
            raise falcon.HTTPConflict(title="Already ended", description=f"The task has ended already: {found}.")
        resp.status = falcon.HTTP_202
        write_json(resp, await self._executor.status(task_id) or {"status": "REVOKED", "result": None})

    async def _look(self, ask: Callable[[str], Awaitable[T | None]], task_id: str, owner: str) -> T | None:
        """What the executor says of a task; asked again where it was made here just now: its record may follow.

        Of another owner's it is not asked.
        """
        if not _TASK_ID(task_id) or (owner and self._ids.age(task_id, owner) is None):
            return None
        for pause in _RECORD_FOLLOWS:
            found = await ask(task_id)
            age = self._ids.age(task_id, owner)
            if found is not None or age is None or age > self._settings.sync_result_expires:
                return found
            await asyncio.sleep(pause)
        return await ask(task_id)

    def _unknown(self, task_id: str, owner: str) -> falcon.HTTPError:
        """410 for an id that was made here so long ago that its record has expired, else 404."""
        age = self._ids.age(task_id, owner)
        if age is not None and age > self._settings.sync_result_expires:
            return falcon.HTTPGone(title="Expired", description=f"The result of task {task_id} is no longer kept.")
        return falcon.HTTPNotFound(title="Unknown task", description=f"There is no task {task_id[:64]!r}.")


class Info:
    """GET /info: the text of app/assets/info.txt."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        try:
            resp.data = (ROOT / INFO).read_bytes()
        except OSError as error:
            raise falcon.HTTPNotFound(
                title="No information",
                description=f"{INFO} cannot be read ({error.strerror}); write into it what users should know.",
            ) from error
        resp.content_type = falcon.MEDIA_TEXT

    on_head = on_get


class Ping:
    """GET /ping: this process is alive."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header(board.HEADER, board.BOARD.text)
        resp.data = b"pong"

    on_head = on_get


class Ready:
    """GET /ready: 200 only while a worker with a loaded model takes requests, else 503 with the reason."""

    def __init__(self, executor: Executor, pipeline: UserPipeline) -> None:
        self._executor = executor
        self._pipeline = pipeline

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        body = await self._executor.readiness()
        if req.scope.get(OWNER) is None:  # there are keys, and this request has none
            ready = bool(body["ready"]) and not self._pipeline.problem
            resp.status = falcon.HTTP_200 if ready else falcon.HTTP_503
            return write_json(resp, {"ready": ready})
        if body["queue"] is not None:  # else nobody can tell
            with contextlib.suppress(Unavailable):
                resp.set_header(SYNC_TIMEOUT, f"{await self._executor.response_timeout():g}")
        if self._pipeline.problem and body["ready"]:
            body.update(ready=False, reason=self._pipeline.problem)
        if not body["ready"]:
            resp.status = falcon.HTTP_503
            body = {"title": "Not ready", "description": body["reason"], **body}
        write_json(resp, body)

    on_head = on_get
