"""POST /predict: verify a request, hand it to the executor, answer with the predictions or the task's id."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

import falcon
import falcon.asgi

from denzel import callback_addresses, jsonio
from denzel.api import quick, reading
from denzel.api.answers import (
    MODEL,
    RETRY_AFTER,
    Malformed,
    ended_badly,
    write_json,
    write_outcome,
    write_task_id,
)
from denzel.api.bodies import refuse_encoding
from denzel.api.entry import OWNER
from denzel.api.exchange import EXCHANGE, Exchange
from denzel.executor import ACCEPTED, GONE, Executor, NotTaken, Outcome, QueueFull, Task, Unavailable, mark_of
from denzel.memory import NoRoom, Share
from denzel.metrics.counts import COUNTS
from denzel.pipeline import stages
from denzel.pipeline.errors import BadAnswer, PipelineError, message_of, traceback_of
from denzel.pipeline.in_api import UserPipeline
from denzel.pipeline.thread import Stuck
from denzel.record import FINAL
from denzel.settings import Settings
from denzel.timings import header_of as timing_of

log = logging.getLogger("denzel.api")

# Errors that code raises by mistake; one is shown in _SHOWN_FOR seconds.
_MISTAKES = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)
_SHOWN_FOR = 10.0


class Predict:
    """POST /predict: verify a request, hand it to the executor, answer with the predictions or the task's id."""

    def __init__(self, settings: Settings, executor: Executor, pipeline: UserPipeline) -> None:
        self._settings = settings
        self._executor = executor
        self._pipeline = pipeline
        self._allowed = settings.callback_policy
        self._shown_until = 0.0

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        share = Share()
        try:
            await self._post(req, resp, share)
        finally:
            share.release()

    async def _post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, share: Share) -> None:
        exchange: Exchange = req.scope[EXCHANGE]
        if begun := req.scope.get(quick.BEGUN):
            task, outcome = begun
            exchange.about_task(task.id)
            return self._answer(resp, exchange, task, await _heeded(outcome))
        if task := req.scope.get(quick.READY):
            share.take(len(task.request))
            return self._answer(resp, exchange, task, await _heeded(self._submit(req, exchange, task)))
        refuse_encoding(req)
        body = await reading.read(req, self._settings.max_body_bytes, share)
        mode, wait = _preference(req, self._settings.max_wait)
        request, callback_uri = await self._verified(req, body, exchange)
        if callback_uri is not None:
            callback_uri = await self._check_callback(callback_uri, mode)

        task = Task(exchange.new_task, request, mode, callback_uri, wait)
        task.verify, task.origin = exchange.verify, exchange.origin.text
        known = None
        if key := req.get_header("Idempotency-Key"):
            key = _own_key(key, req.scope.get(OWNER))
            task.kept, task.mark = True, mark_of(key)
            digest = hashlib.sha256(body).hexdigest()
            task.awaited = await self._bind(key, digest, task)
            # A task that never got through is submitted in the other's place; were it there by now, nothing changes.
            exchange.about_task(task.id)
            known = None if task.awaited else await self._executor.status(task.id)
        del body  # the task has what is needed of it
        outcome = ACCEPTED
        if known is None:
            try:
                outcome = await _heeded(self._submit(req, exchange, task))
            except (falcon.HTTPTooManyRequests, NotTaken):
                if key:
                    await self._release(key, task.id)
                raise
            if key and not task.awaited:  # it may have been released meanwhile, by the one that had bound it
                await self._executor.reserve(key, digest, task.id, accepted=True)
        resp.set_header("Denzel-Task-Id", task.id)
        if mode != "live":
            resp.set_header("Preference-Applied", "respond-async" if mode == "async" else f"wait={wait:g}")
        if task.awaited:
            self._answer(resp, exchange, task, outcome)
        else:
            await self._answer_again(resp, exchange, mode, wait)

    def _answer(self, resp: falcon.asgi.Response, exchange: Exchange, task: Task, outcome: Outcome) -> None:
        if outcome is not ACCEPTED and outcome is not GONE:
            exchange.answered = time.perf_counter()
        resp.set_header("Denzel-Task-Id", task.id)
        exchange.call = outcome.times
        if outcome is not GONE:
            write_outcome(resp, task.id, outcome)

    async def _submit(self, req: falcon.asgi.Request, exchange: Exchange, task: Task) -> Outcome:
        """The task's outcome; its client may go before that is there."""
        exchange.about_task(task.id)
        connection = req.scope.get("denzel.connection")  # of our own server
        if connection is None or task.mode == "async":
            return await self._executor.submit(task)
        if connection.is_gone and not task.kept:
            return GONE
        withdraw = partial(self._executor.withdraw, task.id)
        connection.when_gone.add(withdraw)
        try:
            return await self._executor.submit(task)
        finally:
            connection.when_gone.discard(withdraw)

    async def _release(self, key: str, task_id: str) -> None:
        """A task was refused: nothing of it stays, if that can be had."""
        with contextlib.suppress(Unavailable):
            await self._executor.release(key, task_id)

    async def _bind(self, key: str, digest: str, task: Task) -> bool:
        """Bind an idempotency key to this task; False when it was bound before: then the task takes over that id."""
        bound_id, bound_digest = await self._executor.reserve(key, digest, task.id)
        if bound_digest != digest:
            raise falcon.HTTPUnprocessableEntity(
                title="Idempotency-Key used before",
                description="This Idempotency-Key belongs to another request of the last day; use a new one.",
            )
        if bound_id == task.id:
            return True
        task.id = bound_id
        return False

    async def _answer_again(
        self, resp: falcon.asgi.Response, exchange: Exchange, mode: str, wait: float | None
    ) -> None:
        """Answer a request that was sent before as it was, or would have been, answered then."""
        task_id = exchange.task_id
        seconds = 0.0 if mode == "async" else wait or await self._executor.response_timeout()
        if not seconds:
            return write_task_id(resp, task_id)
        until = time.monotonic() + seconds
        while (status := await self._executor.status(task_id)) and status["status"] not in FINAL:
            if time.monotonic() > until or self._executor.ending:
                break
            await asyncio.sleep(0.1)
        if status:
            exchange.timing = timing_of(status)
        if status and "model" in status:
            resp.set_header(MODEL, status["model"])
        if status is None or status["status"] not in FINAL:
            write_task_id(resp, task_id, falcon.HTTP_202)
        elif status["status"] == "SUCCESS":
            write_json(resp, status["result"])
        else:
            raise ended_badly(status["status"], ", ".join(str(value) for value in status["result"]["args"]))

    async def _verified(self, req: falcon.asgi.Request, body: bytearray, exchange: Exchange) -> tuple[bytes, Any]:
        """What `verify_input` made of a request, as JSON, and the request's callback_uri."""
        tree = Share()
        try:
            parse = partial(reading.parse, req, body, self._settings, tree)
            if not reading.is_small(body):
                began = time.perf_counter()
                try:
                    return await self._checked(self._pipeline.verify_parsed(parse))
                finally:
                    COUNTS.verified(exchange.measured(began))
            json_data = parse()
            callback_uri = stages.callback_uri(json_data)
            verified = req.scope.get(quick.VERIFIED)
            if not verified:
                began = time.perf_counter()
                try:
                    verified = await self._checked(self._pipeline.verify(json_data, body, quick.DOUBTFUL in req.scope))
                finally:
                    COUNTS.verified(exchange.measured(began))
            return verified[0], verified[1] or callback_uri
        except reading.BodyRefused as refused:
            raise refused.error from None
        finally:
            tree.release()

    async def _checked(self, verified: Awaitable[tuple[bytes, Any]]) -> tuple[bytes, Any]:
        """What the pipeline makes of a request, or the answer to its error."""
        try:
            return await verified
        except PipelineError as error:
            raise falcon.HTTPInternalServerError(title="Error in pipeline.py", description=str(error)) from None
        except Stuck as error:
            raise falcon.HTTPServiceUnavailable(
                title="Service busy", description=f"{error}.", retry_after=RETRY_AFTER
            ) from None
        except jsonio.TooDeep:
            raise Malformed("nested too deep") from None
        except (BadAnswer, NoRoom, reading.BodyRefused):
            raise
        except Exception as error:
            self._log_refusal(error)
            error.__traceback__ = None  # should it be raised again and again, that would grow and hold all requests
            raise falcon.HTTPBadRequest(title="Bad input format", description=message_of(error)) from None

    def _log_refusal(self, error: Exception) -> None:
        """What looks like a mistake in the code rather than in the request is shown, as often as it helps."""
        level = logging.DEBUG
        if isinstance(error, _MISTAKES) and time.monotonic() > self._shown_until:
            self._shown_until = time.monotonic() + _SHOWN_FOR
            level = logging.WARNING
        if log.isEnabledFor(level):
            log.log(level, "verify_input refused a request\n%s", traceback_of(error))

    async def _check_callback(self, uri: Any, mode: str) -> str | None:
        """The URI if a callback may go there; None in synchronous mode, where a bad one does not matter."""
        try:
            self._allowed.check_uri(uri)
            return uri
        except callback_addresses.CallbackUriError as error:
            if mode == "sync" or (mode == "live" and await self._executor.response_timeout() > 0):
                return None
            raise falcon.HTTPBadRequest(title="Bad input format", description=str(error)) from None


async def _heeded(outcome: Awaitable[Outcome]) -> Outcome:
    """The outcome of a task, or the answer to a client that is to come again."""
    try:
        return await outcome
    except QueueFull as error:
        raise falcon.HTTPTooManyRequests(
            title="Too many requests",
            description=f"{error}; try again {error.when}.",
            retry_after=error.retry_after,
        ) from None


def _preference(req: falcon.asgi.Request, max_wait: float) -> tuple[str, float | None]:
    """The mode a client asked for by the header `Prefer` (RFC 7240), and its wait in seconds.

    With both, `respond-async, wait=10`, an answer that takes no longer than the wait is preferred.
    """
    header = req.get_header("Prefer")
    if not header:
        return "live", None
    preferences = [part.strip().lower() for part in header.replace(";", ",").split(",")]
    for preference in preferences:
        name, _, value = preference.partition("=")
        if name.strip() == "wait" and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value.strip().strip('"'), re.ASCII):
            seconds = min(float(value.strip().strip('"')), max_wait)
            if seconds > 0:
                return "sync", seconds
    if "respond-async" in preferences:
        return "async", None
    return "live", None  # a preference that cannot be understood is ignored, as the RFC says


def _own_key(key: str, owner: str | None) -> str:
    """An Idempotency-Key as it is kept: of each owner apart."""
    if len(key) > 255:
        raise falcon.HTTPBadRequest(
            title="Bad Idempotency-Key", description="The header Idempotency-Key may have 255 characters at most."
        )
    return f"{owner}\n{key}" if owner else key  # no header holds a line break
