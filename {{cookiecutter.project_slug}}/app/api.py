"""The HTTP interface: /predict, /status, /info, /ping and /ready as a Falcon ASGI application."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import falcon
import falcon.asgi
import orjson

from app import addresses, jsonio, stages, store
from app.executor import Executor, QueueFull, Task, Unavailable
from app.settings import Settings, get_settings
from app.user_thread import Stuck, UserThread

log = logging.getLogger("denzel.api")

INFO = Path("app/assets/info.txt")
PATHS = ("/predict", "/status/{task_id}", "/info", "/ping", "/ready")
_RETRY_AFTER = 1  # seconds
_TASK_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def create_app(settings: Settings | None = None, executor: Executor | None = None) -> falcon.asgi.App:
    """The application; settings come from the environment and the executor from the settings unless given."""
    settings = settings or get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    pipeline = _UserPipeline(settings)
    executor = executor or _create_executor(settings, pipeline)

    app = falcon.asgi.App(middleware=[_Lifespan(executor)])
    app.set_error_serializer(_write_error)
    app.add_error_handler(Unavailable, _answer_unavailable)
    app.add_error_handler(Exception, _answer_unexpected)
    resources = (
        Predict(settings, executor, pipeline),
        Status(executor),
        Info(),
        Ping(),
        Ready(executor, pipeline),
    )
    for path, resource in zip(PATHS, resources, strict=True):
        app.add_route(path, resource)
    return app


def _create_executor(settings: Settings, pipeline: _UserPipeline) -> Executor:
    # Only what is used is imported: without a queue neither Celery nor Redis is needed.
    if settings.executor == "inline":
        from app.inline_executor import InlineExecutor

        return InlineExecutor(settings, pipeline.module, pipeline.thread)
    from app.queue_executor import QueueExecutor

    return QueueExecutor(settings)


class Predict:
    """POST /predict: verify a request, hand it to the executor, answer with the predictions or the task's id."""

    def __init__(self, settings: Settings, executor: Executor, pipeline: _UserPipeline) -> None:
        self._settings = settings
        self._executor = executor
        self._pipeline = pipeline
        self._allowed = addresses.Policy(settings.callback_allow, settings.callback_ports)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        body = await self._read(req)
        mode, wait = _preference(req)
        try:
            json_data = jsonio.loads(body)
        except ValueError as error:
            log.debug("Malformed JSON: %s", error)
            raise falcon.HTTPBadRequest(
                title="Malformed JSON", description="Could not decode the request body."
            ) from None
        callback_uri = _callback_uri(json_data)
        verified = await self._pipeline.verify(json_data)
        request = stages.dumps_verified(verified)
        callback_uri = _callback_uri(verified) or callback_uri
        if callback_uri is not None:
            callback_uri = await self._check_callback(callback_uri, mode)

        task = Task(store.new_task_id(), request, mode, callback_uri)
        try:
            live = await self._executor.submit(task)
        except QueueFull as error:
            raise falcon.HTTPTooManyRequests(
                title="Too many requests", description=f"{error}; try again later.", retry_after=_RETRY_AFTER
            ) from None
        resp.set_header("Denzel-Task-Id", task.id)
        if mode == "async" or (mode == "live" and live == 0):
            _accepted(resp, task.id)
        else:
            await self._answer(resp, task.id, min(wait or live, self._settings.max_wait))
        if mode != "live":
            resp.set_header("Preference-Applied", "respond-async" if mode == "async" else f"wait={wait:g}")

    async def _answer(self, resp: falcon.asgi.Response, task_id: str, seconds: float) -> None:
        outcome = await self._executor.wait(task_id, seconds)
        if outcome is None:
            _accepted(resp, task_id, falcon.HTTP_202)
        elif outcome.status == "SUCCESS":
            resp.content_type = falcon.MEDIA_JSON
            resp.data = outcome.payload
        else:
            status, title = falcon.HTTP_500, "Error invoking predict"
            if outcome.status == "REVOKED":
                status, title = falcon.HTTP_409, "Task cancelled"
            raise falcon.HTTPError(status, title=title, description=orjson.loads(outcome.payload))

    async def _read(self, req: falcon.asgi.Request) -> bytes:
        """The request's body, never more of it than allowed."""
        most = self._settings.max_body_bytes
        too_large = falcon.HTTPContentTooLarge(
            title="Request too large",
            description=f"The request body is larger than {most} bytes (MAX_BODY_BYTES in .env).",
        )
        if (req.content_length or 0) > most:
            raise too_large
        parts, size = [], 0
        try:
            async for part in req.stream:
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)
        except OSError as error:
            raise _cut_off() from error
        if req.content_length is not None and size < req.content_length:
            raise _cut_off()
        return b"".join(parts)

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

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        status = await self._executor.status(task_id) if _TASK_ID(task_id) else None
        if status is None:
            raise _unknown(task_id)
        _write_json(resp, status)

    async def on_delete(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, task_id: str) -> None:
        found = await self._executor.cancel(task_id) if _TASK_ID(task_id) else None
        if found is None:
            raise _unknown(task_id)
        if found in store.FINAL:
            raise falcon.HTTPConflict(title="Already ended", description=f"The task has ended already: {found}.")
        resp.status = falcon.HTTP_202
        _write_json(resp, await self._executor.status(task_id) or {"status": "REVOKED", "result": None})


class Info:
    """GET /info: the text of app/assets/info.txt."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        try:
            resp.data = INFO.read_bytes()
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
        resp.data = b"pong"


class Ready:
    """GET /ready: 200 only while a worker with a loaded model takes requests, else 503 with the reason."""

    def __init__(self, executor: Executor, pipeline: _UserPipeline) -> None:
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


class _UserPipeline:
    """The user's `verify_input` in the API process; a pipeline.py that cannot be imported is answered, not fatal."""

    def __init__(self, settings: Settings) -> None:
        self.thread = UserThread()
        self.module: ModuleType | None = None
        self._patience = settings.verify_timeout
        self.problem: str | None = None
        try:
            self.module = stages.import_pipeline()
        except stages.PipelineError as error:
            log.exception("The pipeline cannot be used until it is corrected (then: make restart)")
            self.problem = str(error)

    async def verify(self, json_data: Any) -> Any:
        if self.module is None:
            raise falcon.HTTPInternalServerError(title="Error in pipeline.py", description=self.problem)
        try:
            return await self.thread.run("verify_input", self._patience, stages.verified, self.module, json_data)
        except Stuck as error:
            raise falcon.HTTPServiceUnavailable(
                title="Service busy", description=f"{error}.", retry_after=_RETRY_AFTER
            ) from None
        except stages.BadAnswer:
            raise
        except Exception as error:
            log.debug("verify_input refused a request", exc_info=True)
            raise falcon.HTTPBadRequest(title="Bad input format", description=stages.message_of(error)) from None


class _Lifespan:
    """Starts and stops the executor with the API process."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def process_startup(self, scope: dict, event: dict) -> None:
        await self._executor.start()

    async def process_shutdown(self, scope: dict, event: dict) -> None:
        await self._executor.stop()


def _preference(req: falcon.asgi.Request) -> tuple[str, float | None]:
    """The mode a client asked for by the header `Prefer` (RFC 7240), and its wait in seconds."""
    header = req.get_header("Prefer")
    if not header:
        return "live", None
    preferences = [part.strip().lower() for part in header.replace(";", ",").split(",")]
    if "respond-async" in preferences:
        return "async", None
    for preference in preferences:
        name, _, value = preference.partition("=")
        if name.strip() == "wait" and re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value.strip().strip('"')):
            seconds = float(value.strip().strip('"'))
            if seconds > 0:
                return "sync", seconds
    return "live", None  # a preference that cannot be understood is ignored, as the RFC says


def _callback_uri(data: Any) -> Any:
    return data.get("callback_uri") if isinstance(data, dict) else None


def _accepted(resp: falcon.asgi.Response, task_id: str, status: str = falcon.HTTP_200) -> None:
    resp.status = status
    resp.set_header("Location", f"/status/{task_id}")
    _write_json(resp, {"status": "success", "data": {"task_id": task_id}})


def _cut_off() -> falcon.HTTPError:
    return falcon.HTTPBadRequest(
        title="Stream read error", description="The request body ended before the announced length."
    )


def _unknown(task_id: str) -> falcon.HTTPError:
    return falcon.HTTPNotFound(title="Unknown task", description=f"There is no task {task_id[:64]!r}.")


def _write_json(resp: falcon.asgi.Response, body: Any) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = orjson.dumps(body)


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
    _write_json(resp, {"title": title, "description": description or title})


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
