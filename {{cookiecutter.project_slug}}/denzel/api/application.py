"""The HTTP interface as a Falcon ASGI application: /predict, /status, /info, /ping, /ready, /metrics, and the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import falcon
import falcon.asgi

from denzel import jsonio
from denzel.api.answers import (
    too_large,
    unavailable,
    unexpected,
    write_error,
)
from denzel.api.cors import Cors
from denzel.api.entry import Entry
from denzel.api.exchange import EXCHANGE, Exchanges
from denzel.api.heads import Refusal
from denzel.api.hosts import Hosts
from denzel.api.metrics import Metrics, count
from denzel.api.predict import Predict
from denzel.api.quick import QuickWay
from denzel.api.rates import Rates
from denzel.api.resources import Info, Ping, Ready, Status
from denzel.api.routes import BEHIND_PAGES, pages_of
from denzel.api.task_id import TaskIds
from denzel.api_keys import Keys
from denzel.executor import Executor, Unavailable
from denzel.log import about
from denzel.log.configure import configure
from denzel.memory import MEMORY
from denzel.metrics.figures import Figures
from denzel.pipeline.in_api import UserPipeline
from denzel.settings import Settings, get_settings
from denzel.tracing import switch
from denzel.tracing.spans import Spans

PATHS = ("/predict", "/status/{task_id}", "/info", "/ping", "/ready")
METRICS = "/metrics"  # besides, unless METRICS=off
_CLOSE = (b"connection", b"close")


def create_app(
    settings: Settings | None = None, executor: Executor | None = None, pipeline: UserPipeline | None = None
) -> falcon.asgi.App:
    """The application; unless given, settings come from the environment, the executor and the pipeline from these."""
    settings = settings or get_settings()
    configure(settings, "api", printed=False)
    pipeline = pipeline or UserPipeline(settings.verify_timeout)
    ids = TaskIds.of(settings.callback_secret, settings.redis_url)
    spans = switch.start(settings, "api")
    executor, figures = _create_executor(settings, pipeline, spans, executor)

    cors = Cors(settings.cors_origins)
    hosts = Hosts(settings.allowed_hosts, settings.is_on_loopback, settings.own_hosts)
    keys, rates = Keys(settings.api_keys, settings.api_keys_file), Rates(settings.api_rate_limit)
    exchanges = Exchanges(ids, settings.log_sample / settings.api_workers, spans)
    is_quick = not cors and settings.executor == "queue" and not spans.on
    MEMORY.limit = settings.api_memory
    # What has so few bytes has not too many values, nor ids, each of which takes four and more.
    most_quick = min(settings.max_body_bytes, settings.max_values, 4 * settings.max_ids)
    quick_way = QuickWay(executor, pipeline, ids, most_quick, is_quick, exchanges, hosts, keys, rates)
    lifespan = _Lifespan(executor, pipeline, spans, figures)
    entry = Entry(hosts, cors, keys, rates, settings.open_paths)
    app = _App(settings.max_body_bytes, executor, pipeline, entry, cors, quick_way, exchanges, middleware=[lifespan])
    app.is_replaceable = settings.executor != "inline"
    app.add_error_handler(Unavailable, unavailable)
    app.add_error_handler(Exception, unexpected)
    resources = (
        Predict(settings, executor, pipeline),
        Status(settings, executor, ids),
        Info(),
        Ping(),
        Ready(executor, pipeline),
    )
    routes = {
        **dict(zip(PATHS, resources, strict=True)),
        **({METRICS: Metrics(figures)} if figures else {}),
        **pages_of(settings, executor, pipeline, figures, keys),
    }
    for path, resource in routes.items():
        app.add_route(path, resource)
    app.set_error_serializer(partial(write_error, [path for path in routes if path not in BEHIND_PAGES]))
    return app


def _create_executor(
    settings: Settings, pipeline: UserPipeline, spans: Spans, given: Executor | None
) -> tuple[Executor, Figures | None]:
    """What runs the model, unless it is given, and what tells of the whole service: nothing with METRICS=off."""
    # Only what is used is imported: without a queue neither Celery nor Redis is needed.
    if settings.executor == "inline":
        from denzel.inline.executor import InlineExecutor
        from denzel.inline.figures import InlineFigures

        executor = given or InlineExecutor(settings, pipeline, spans)
        return executor, InlineFigures(executor) if settings.metrics == "on" else None
    from denzel.queue.executor import QueueExecutor
    from denzel.queue.totals import QueueFigures

    executor = given or QueueExecutor.of_service(settings)
    return executor, QueueFigures(settings, executor.readiness) if settings.metrics == "on" else None


class _App(falcon.asgi.App):
    """Refuses what announces a body too large at once; Falcon itself awaits the body's first part for every request.

    The server says when its process is to end: by `leave`, then by `end_waits`.
    """

    def __init__(
        self,
        max_body_bytes: int,
        executor: Executor,
        pipeline: UserPipeline,
        entry: Entry,
        cors: Cors,
        quick_way: QuickWay,
        exchanges: Exchanges,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.quick_way = quick_way
        self._exchanges = exchanges
        self._max_body_bytes = max_body_bytes
        self._entry = entry
        self._cors = cors
        self._leaving = False
        self.end_waits = executor.end_waits
        self._user_thread, self.is_replaceable = pipeline.thread, True
        self.run_short_calls_on_loop = pipeline.thread.loop_calls.enable

    def tell_when_spent(self, tell: Callable[[], None]) -> None:
        """Call `tell` when user code never ends; not where the process holds tasks that no other one knows."""
        if self.is_replaceable:
            self._user_thread.when_spent = tell

    def leave(self) -> None:
        """From now on each answer is the last one on its connection."""
        self._leaving = True
        self.quick_way.is_open = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # type: ignore[override]
        if self._leaving:
            send = _closing(send)
        if scope["type"] == "http":
            if type(scope["headers"]) is not list:  # an iterable, says ASGI, which may be read but once
                scope = {**scope, "headers": [tuple(header) for header in scope["headers"]]}
            exchange = scope.get(EXCHANGE)
            if exchange is None:
                owner = self._entry.identify(scope)
                exchange = self._exchanges.begin(scope["method"], scope["path"], scope["headers"], owner)
                scope[EXCHANGE] = exchange
            about.REQUEST.set(exchange.about)
            try:
                await self._answer(scope, receive, self._exchanges.sending(exchange, send))
            finally:
                self._exchanges.end(exchange)
                if exchange.new_task:
                    count(exchange, scope.get("denzel.connection"))
        else:
            await super().__call__(scope, receive, send)

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request."""
        refusal = self._entry.refusal(scope)
        if self._cors:
            if not refusal and (headers := self._cors.preflight(scope)) is not None:
                await send({"type": "http.response.start", "status": 204, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
            send = self._cors.sending(scope, send)
        if refusal:
            return await self._refuse(scope, send, refusal)
        if scope["method"] == "POST":
            for name, value in scope["headers"]:
                if name == b"content-length" and value.isdigit() and int(value) > self._max_body_bytes:
                    error = too_large(self._max_body_bytes)
                    return await self._refuse(scope, send, Refusal(413, str(error.title), str(error.description)))
        await super().__call__(scope, receive, send)

    async def _refuse(self, scope: dict[str, Any], send: Any, refusal: Refusal) -> None:
        """Answer a request whose body is not looked at."""
        body = jsonio.dumps({"title": refusal.title, "description": refusal.description})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *refusal.headers]
        if any(name == b"expect" for name, _ in scope["headers"]) and _CLOSE not in headers:
            headers.append(_CLOSE)  # the body may never come
        if _CLOSE in headers and (connection := scope.get("denzel.connection")):  # of our own server
            connection.stop_listening()
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _closing(send: Any) -> Any:
    """The same, with the announcement that the connection ends with this answer."""

    async def send_closing(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return send_closing


class _Lifespan:
    """Starts and stops the executor with the API process, and what tells of the service."""

    def __init__(self, executor: Executor, pipeline: UserPipeline, spans: Spans, figures: Figures | None) -> None:
        self._executor = executor
        self._pipeline = pipeline
        self._spans = spans
        self._figures = figures

    async def process_startup(self, scope: dict, event: dict) -> None:
        self._pipeline.start()
        await self._executor.start()
        if self._figures:
            await self._figures.start()

    async def process_shutdown(self, scope: dict, event: dict) -> None:
        self._pipeline.stop()
        await self._executor.stop()
        await asyncio.to_thread(self._spans.stop)
        if self._figures:
            await self._figures.stop()
