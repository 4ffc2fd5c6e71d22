"""Spans by OpenTelemetry's SDK; imported only where traces are switched on."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from denzel.origin import TRACEPARENT, TRACESTATE, Origin, parse
from denzel.timings import Stopwatch
from denzel.tracing.spans import Attempt, Spans

# Seconds for which a process that ends sends what is left.
_LAST_SECONDS = 3.0
# A merged call is linked to no more requests than this.
_MOST_LINKS = 128
_PROPAGATOR = TraceContextTextMapPropagator()


class Recorded(Spans):
    """Traces are on.

    Args:
        service: its name, unless OTEL_SERVICE_NAME says another.
        process: what this is in the service.
        exporters: by their names in OTEL_TRACES_EXPORTER.

    Raises:
        ImportError: a package is missing.
        LookupError: there is no such exporter.
    """

    on = True

    def __init__(self, service: str, process: str, exporters: Sequence[str], environment: Mapping[str, str]) -> None:
        attributes: dict[str, str | int] = {"denzel.process": process, "process.pid": os.getpid()}
        if not environment.get("OTEL_SERVICE_NAME") and "service.name=" not in environment.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            attributes["service.name"] = service
        self.provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
        for name in exporters:
            self.provider.add_span_processor(BatchSpanProcessor(_exporter(name, environment)))
        trace.set_tracer_provider(self.provider)  # spans of user code belong to these
        self._tracer = self.provider.get_tracer("denzel")
        self._begun: set[str] = set()  # ids of the tasks of the last calls: run again apart, they wait no more

    def begin_request(self, name: str, came: Origin) -> tuple[Span, Origin]:
        span = self._tracer.start_span(name, _context(came), SpanKind.SERVER)
        return span, _origin(span, came.request_id)

    def end_request(self, exchange: Any, now: float) -> None:
        span: Span = exchange.span
        end = time.time_ns()

        def at(moment: float) -> int:
            return end - int((now - moment) * 1e9)

        inside = trace.set_span_in_context(span)
        if exchange.verify is not None:
            began = at(exchange.verified - exchange.verify)
            self._tracer.start_span("verify", inside, start_time=began).end(at(exchange.verified))
        if exchange.answered:
            self._tracer.start_span("reply", inside, start_time=at(exchange.answered)).end(end)
        span.set_attributes(
            {
                "http.request.method": exchange.method,
                "url.path": exchange.path,
                "http.response.status_code": exchange.status,
                "denzel.request_id": exchange.request_id,
                "denzel.task_id": exchange.task_id,
            }
        )
        if exchange.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    @contextmanager
    def call(self, about: Sequence[tuple[str, str]], watch: Stopwatch) -> Iterator[None]:
        began = time.time_ns()
        requests = [(task_id, came, _context(came)) for task_id, text in about if (came := parse(text)).traceparent]
        traced = [one for one in requests if _is_sampled(one[2])]
        if not traced:
            yield
            return
        for task_id, came, inside in traced:
            if task_id not in self._begun and came.since:
                since = min(began, int(came.since * 1e9))
                self._tracer.start_span("queue", inside, start_time=since).end(began)
        if not {task_id for task_id, *_ in traced} <= self._begun:
            self._begun = {task_id for task_id, *_ in traced}
        links = [Link(_span_context(inside)) for *_, inside in traced[:_MOST_LINKS]]
        alone = len(about) == 1
        parent = traced[0][2] if alone else otel_context.Context()
        span = self._tracer.start_span("call", parent, links=links, start_time=began)
        span.set_attributes({"denzel.tasks": len(about), "denzel.task_ids": [task_id for task_id, *_ in traced]})
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            otel_context.detach(token)
            self._end_call(span, watch, error, began, [] if alone else traced)

    def _end_call(
        self, span: Span, watch: Stopwatch, error: BaseException | None, began: int, requests: Sequence[Any]
    ) -> None:
        inside = trace.set_span_in_context(span)
        processed = began + int(watch.process * 1e9)
        end = processed + int(watch.predict * 1e9)
        self._tracer.start_span("process", inside, start_time=began).end(processed)
        if watch.predict:
            self._tracer.start_span("predict", inside, start_time=processed).end(end)
        if error is not None:
            with contextlib.suppress(Exception):
                span.record_exception(error)
            with contextlib.suppress(Exception):  # some errors fail when they are asked what they say
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:300]))
        span.end()
        for task_id, _, request in requests:
            merged = self._tracer.start_span("merged", request, links=[Link(span.get_span_context())], start_time=began)
            merged.set_attribute("denzel.task_id", task_id)
            merged.end()

    @contextmanager
    def attempt(self, task_id: str, came: Origin, receiver: str) -> Iterator[Attempt]:
        span = self._tracer.start_span("callback", _context(came), SpanKind.CLIENT)
        span.set_attributes({"denzel.task_id": task_id, "server.address": receiver, "http.request.method": "POST"})
        try:
            yield _Attempt(span, _origin(span, came.request_id))
        finally:
            span.end()

    def stop(self) -> None:
        """Send what is left."""
        last = threading.Thread(target=self.provider.shutdown, daemon=True)
        last.start()
        last.join(_LAST_SECONDS)


class _Attempt(Attempt):
    def __init__(self, span: Span, origin: Origin) -> None:
        super().__init__(origin)
        self._span = span

    def end(self, status: int | None, error: str | None) -> None:
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if error:
            self._span.set_status(Status(StatusCode.ERROR, error))


def _context(came: Origin) -> otel_context.Context:
    """A context whose current span is where something comes from; an empty one where that is not told."""
    return _PROPAGATOR.extract(came.headers, otel_context.Context())


def _span_context(context: otel_context.Context) -> trace.SpanContext:
    return trace.get_current_span(context).get_span_context()


def _is_sampled(context: otel_context.Context) -> bool:
    return _span_context(context).trace_flags.sampled


def _origin(span: Span, request_id: str) -> Origin:
    """Where something comes from that this span brings about."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span))
    return Origin(request_id, carrier.get(TRACEPARENT, ""), carrier.get(TRACESTATE, ""))


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    """The exporter of that name, as its package has announced it."""
    if name == "otlp":
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    for found in entry_points(group="opentelemetry_traces_exporter", name=name):
        return found.load()()
    package = {
        "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
        "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    }.get(name)
    raise ImportError(name=package or f"the exporter {name}")
