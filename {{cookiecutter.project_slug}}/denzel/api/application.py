"""The HTTP interface: /predict, /status, /info, /ping and /ready as a Falcon ASGI application."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi
import orjson

from denzel import addresses, jsonio
from denzel.api.task_id import TaskIds
from denzel.executor import ACCEPTED, RAN_OUT, Executor, Outcome, QueueFull, Task, Unavailable
from denzel.pipeline import stages
from denzel.pipeline.in_api import UserPipeline
from denzel.pipeline.thread import Stuck
from denzel.record import FINAL
from denzel.server import board
from denzel.settings import Settings, get_settings

log = logging.getLogger("denzel.api")

ROOT = Path(__file__).parents[2]
INFO = "app/assets/info.txt"
PATHS = ("/predict", "/status/{task_id}", "/info", "/ping", "/ready")
_RETRY_AFTER = 1  # seconds
# Errors that code raises by mistake; one is shown in so many seconds.
_MISTAKES = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError)
_SHOWN_FOR = 10.0
_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def create_app(settings: Settings | None = None, executor: Executor | None = None) -> falcon.asgi.App:
    """The application; settings come from the environment and the executor from the settings unless given."""
    settings = settings or get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    pipeline = UserPipeline(settings.verify_timeout)
    ids = TaskIds(settings.callback_secret or settings.redis_url)
    executor = executor or _create_executor(settings, pipeline)

    app = _App(settings.max_body_bytes, executor, pipeline, middleware=[_Lifespan(executor, pipeline)])
    app.set_error_serializer(_write_error)
    app.add_error_handler(Unavailable, _answer_unavailable)
    app.add_error_handler(Exception, _answer_unexpected)
    resources = (
        Predict(settings, executor, pipeline, ids),
        Status(settings, executor, ids),
        Info(),
        Ping(),
        Ready(executor, pipeline),
    )
    for path, resource in zip(PATHS, resources, strict=True):
        app.add_route(path, resource)
    return app


def _create_executor(settings: Settings, pipeline: UserPipeline) -> Executor:
    # Only what is used is imported: without a queue neither Celery nor Redis is needed.
    if settings.executor == "inline":
        from denzel.inline.executor import InlineExecutor

        return InlineExecutor(settings, pipeline)
    from denzel.queue.executor import QueueExecutor

    return QueueExecutor(settings)


class _App(falcon.asgi.App):
    """Refuses what announces a body too large at once; Falcon itself awaits the body's first part for every request.

    The server says when its process is to end: by `leave`, then by `end_waits`.
    """

    def __init__(self, max_body_bytes: int, executor: Executor, pipeline: UserPipeline, **options: Any) -> None:
        super().__init__(**options)
        self._max_body_bytes = max_body_bytes
        self._leaving = False
        self.end_waits = executor.end_waits
        self.run_short_calls_in_place = pipeline.thread.in_place.enable

    def leave(self) -> None:
        """From now on each answer is the last one on its connection."""
        self._leaving = True

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # type: ignore[override]
        if self._leaving:
            send = _closing(send)
        if scope["type"] == "http" and scope["method"] == "POST":
            if type(scope["headers"]) is not list:  # an iterable, says ASGI, which may be read but once
                scope = {**scope, "headers": [tuple(header) for header in scope["headers"]]}
            for name, value in scope["headers"]:
                if name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                    error = _too_large(self._max_body_bytes)
                    body = jsonio.dumps({"title": error.title, "description": error.description})
                    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
                    if any(name == b"expect" for name, _ in scope["headers"]):  # then the body may never come
                        headers.append((b"connection", b"close"))
                    await send({"type": "http.response.start", "status": 413, "headers": headers})
                    await send({"type": "http.response.body", "body": body})
                    return
        await super().__call__(scope, receive, send)


def _closing(send: Any) -> Any:
    """The same, with the announcement that the connection ends with this answer."""

    async def send_closing(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return send_closing


class Predict:
    """POST /predict: verify a request, hand it to the executor, answer with the predictions or the task's id."""

    def __init__(self, settings: Settings, executor: Executor, pipeline: UserPipeline, ids: TaskIds) -> None:
        self._settings = settings
        self._executor = executor
        self._pipeline = pipeline
        self._ids = ids
        self._allowed = addresses.Policy(settings.callback_allow, settings.callback_ports)
        self._shown_until = 0.0

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        body = await self._read(req)
        mode, wait = _preference(req, self._settings.max_wait)
        try:
            json_data = jsonio.loads(body)
        except ValueError as error:
            raise _Malformed(str(error) if body else "the request has no body") from None
        callback_uri = stages.callback_uri(json_data)
        request, verified_uri = await self._verify(json_data, body)
        callback_uri = verified_uri or callback_uri
        if callback_uri is not None:
            callback_uri = await self._check_callback(callback_uri, mode)

        task = Task(self._ids.new(), request, mode, callback_uri, wait)
        known = None
        if key := req.get_header("Idempotency-Key"):
            task.kept = True
            task.awaited = await self._bind(key, body, task)
            # A task that never got through is submitted in the other's place; were it there by now, nothing changes.
            known = None if task.awaited else await self._executor.status(task.id)
        outcome = ACCEPTED
        if known is None:
            try:
                outcome = await self._executor.submit(task)
            except QueueFull as error:
                raise falcon.HTTPTooManyRequests(
                    title="Too many requests", description=f"{error}; try again later.", retry_after=_RETRY_AFTER
                ) from None
        resp.set_header("Denzel-Task-Id", task.id)
        if mode != "live":
            resp.set_header("Preference-Applied", "respond-async" if mode == "async" else f"wait={wait:g}")
        if task.awaited:
            _answer(resp, task.id, outcome)
        else:
            await self._answer_again(resp, task.id, mode, wait)

    async def _bind(self, key: str, body: bytes, task: Task) -> bool:
        """Bind an idempotency key to this task; False when it was bound before: then the task takes over that id."""
        if len(key) > 255:
            raise falcon.HTTPBadRequest(
                title="Bad Idempotency-Key", description="The header Idempotency-Key may have 255 characters at most."
            )
        digest = hashlib.sha256(body).hexdigest()
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

    async def _answer_again(self, resp: falcon.asgi.Response, task_id: str, mode: str, wait: float | None) -> None:
        """Answer a request that was sent before as it was, or would have been, answered then."""
        seconds = 0.0 if mode == "async" else wait or await self._executor.response_timeout()
        if not seconds:
            return _accepted(resp, task_id)
        until = time.monotonic() + seconds
        while (status := await self._executor.status(task_id)) and status["status"] not in FINAL:
            if time.monotonic() > until or self._executor.ending:
                break
            await asyncio.sleep(0.1)
        if status is None or status["status"] not in FINAL:
            _accepted(resp, task_id, falcon.HTTP_202)
        elif status["status"] == "SUCCESS":
            _write_json(resp, status["result"])
        else:
            raise _ended_badly(status["status"], ", ".join(str(value) for value in status["result"]["args"]))

    async def _read(self, req: falcon.asgi.Request) -> bytes:
        """The request's body, never more of it than allowed."""
        most = self._settings.max_body_bytes
        parts, size = [], 0
        try:
            if req.content_length is not None:  # which is not too large: that was checked before
                body = await req.stream.read()
                if len(body) < req.content_length:
                    raise _cut_off()
                return body
            async for part in req.stream:
                size += len(part)
                if size > most:
                    raise _too_large(most)
                parts.append(part)
        except OSError as error:
            raise _cut_off() from error
        return b"".join(parts)

    async def _verify(self, json_data: Any, body: bytes) -> tuple[bytes, Any]:
        try:
            return await self._pipeline.verify(json_data, body)
        except stages.PipelineError as error:
            raise falcon.HTTPInternalServerError(title="Error in pipeline.py", description=str(error)) from None
        except Stuck as error:
            raise falcon.HTTPServiceUnavailable(
                title="Service busy", description=f"{error}.", retry_after=_RETRY_AFTER
            ) from None
        except jsonio.TooDeep:
            raise _Malformed("nested too deep") from None
        except stages.BadAnswer:
            raise
        except Exception as error:
            self._log_refusal(error)
            error.__traceback__ = None  # should it be raised again and again, that would grow and hold all requests
            raise falcon.HTTPBadRequest(title="Bad input format", description=stages.message_of(error)) from None

    def _log_refusal(self, error: Exception) -> None:
        """What looks like a mistake in the code rather than in the request is shown, as often as it helps."""
        level = logging.DEBUG
        if isinstance(error, _MISTAKES) and time.monotonic() > self._shown_until:
            self._shown_until = time.monotonic() + _SHOWN_FOR
            level = logging.WARNING
        if log.isEnabledFor(level):
            log.log(level, "verify_input refused a request\n%s", stages.traceback_of(error))

    async def _check_callback(self, uri: Any, mode: str) -> str | None:
        """The URI if a callback may go there; None in synchronous mode, where a bad one does not matter."""
        try:
            self._allowed.check_uri(uri)
            return uri
        except addresses.CallbackUriError as error:
            if mode == "sync" or (mode == "live" and await self._executor.response_timeout() > 0):
                return None
            raise falcon.HTTPBadRequest(title="Bad input format", description=str(error)) from None


class Status:
    """GET and DELETE /status/{task_id}: how a task stands; cancel it."""

    def __init__(self, settings: Settings, executor: Executor, ids: TaskIds) -> None:
        self._settings = settings
        self._executor = executor
        self._ids = ids

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        status = await self._executor.status(task_id) if _TASK_ID(task_id) else None
        if status is None:
            raise self._unknown(task_id)
        _write_json(resp, status)

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        found = await self._executor.cancel(task_id) if _TASK_ID(task_id) else None
        if found is None:
            raise self._unknown(task_id)
        if found in FINAL:
            raise falcon.HTTPConflict(title="Already ended", description=f"The task has ended already: {found}.")
        resp.status = falcon.HTTP_202
        _write_json(resp, await self._executor.status(task_id) or {"status": "REVOKED", "result": None})

    def _unknown(self, task_id: str) -> falcon.HTTPError:
        """410 for an id that was made here so long ago that its record has expired, else 404."""
        age = self._ids.age(task_id)
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


class Ping:
    """GET /ping: this process is alive."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.set_header(board.HEADER, board.BOARD.text)
        resp.data = b"pong"


class Ready:
    """GET /ready: 200 only while a worker with a loaded model takes requests, else 503 with the reason."""

    def __init__(self, executor: Executor, pipeline: UserPipeline) -> None:
        self._executor = executor
        self._pipeline = pipeline

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        body = await self._executor.readiness()
        if self._pipeline.problem and body["ready"]:
            body.update(ready=False, reason=self._pipeline.problem)
        if not body["ready"]:
            resp.status = falcon.HTTP_503
            body = {"title": "Not ready", "description": body["reason"], **body}
        _write_json(resp, body)


class _Lifespan:
    """Starts and stops the executor with the API process."""

    def __init__(self, executor: Executor, pipeline: UserPipeline) -> None:
        self._executor = executor
        self._pipeline = pipeline

    async def process_startup(self, scope: dict, event: dict) -> None:
        self._pipeline.start()
        await self._executor.start()

    async def process_shutdown(self, scope: dict, event: dict) -> None:
        self._pipeline.stop()
        await self._executor.stop()


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


def _answer(resp: falcon.asgi.Response, task_id: str, outcome: Outcome) -> None:
    if outcome.status == "SUCCESS":
        resp.content_type = falcon.MEDIA_JSON
        resp.data = outcome.payload
    elif outcome is ACCEPTED:
        _accepted(resp, task_id)
    elif outcome is RAN_OUT:
        _accepted(resp, task_id, falcon.HTTP_202)
    else:
        raise _ended_badly(outcome.status, orjson.loads(outcome.payload))


def _accepted(resp: falcon.asgi.Response, task_id: str, status: str = falcon.HTTP_200) -> None:
    resp.status = status
    resp.set_header("Location", f"/status/{task_id}")
    _write_json(resp, {"status": "success", "data": {"task_id": task_id}})


def _ended_badly(status: str, message: str) -> falcon.HTTPError:
    if status == "REVOKED":
        return falcon.HTTPConflict(title="Task cancelled", description=message)
    return falcon.HTTPInternalServerError(title="Error invoking predict", description=message)


class _Malformed(falcon.HTTPBadRequest):
    """Not JSON; clients are told the reason, too."""

    def __init__(self, reason: str) -> None:
        super().__init__(title="Malformed JSON", description="Could not decode the request body.")
        self.reason = reason


def _too_large(most: int) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(
        title="Request too large",
        description=f"The request body is larger than {most} bytes (MAX_BODY_BYTES in .env).",
    )


def _cut_off() -> falcon.HTTPError:
    return falcon.HTTPBadRequest(
        title="Stream read error", description="The request body ended before the announced length."
    )


def _write_json(resp: falcon.asgi.Response, body: Any) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = jsonio.dumps(body, jsonio.DEEPER)  # holds what predict may return; orjson refuses large integers


def _write_error(req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError) -> None:
    """Every error is JSON with a title and a description, whatever the client accepts."""
    title, description = error.title, error.description
    if isinstance(error, falcon.HTTPRouteNotFound):
        title, description = (
            "Not found",
            f"There is nothing at {req.path[:200]!r}; the paths are: {', '.join(PATHS)}.",
        )
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        title, description = "Method not allowed", f"This path takes: {error.headers['Allow']}."  # type: ignore[index]
    reason = {"reason": error.reason} if isinstance(error, _Malformed) else {}
    _write_json(resp, {"title": title, "description": description or title, **reason})


async def _answer_unavailable(req: Any, resp: Any, error: Unavailable, params: dict) -> None:
    raise falcon.HTTPServiceUnavailable(title="Service unavailable", description=f"{error}.", retry_after=_RETRY_AFTER)


async def _answer_unexpected(req: Any, resp: Any, error: Exception, params: dict) -> None:
    if isinstance(error, stages.BadAnswer):
        raise falcon.HTTPInternalServerError(title="Error invoking predict", description=str(error))
    log.error("Unexpected error at %s %s", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(
        title="Internal error",
        description="Something went wrong in the service; its log says what (make logs SERVICE=api).",
    )
