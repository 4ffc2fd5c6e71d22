"""One trace for each request, across all processes: what a collector gets of a real service."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.support.sending import SECRET
from tests.service.tracing.collector import Collector, Span, collecting
from tests.support.http import ASYNC
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")

SERVER, CLIENT = 2, 3


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def traced(
    new_service: Callable[..., Service], collector: Collector, pipeline: str, **settings: str | float
) -> Service:
    service = new_service(
        pipeline, SYNC_TIMEOUT=10, CALLBACK_ALLOW="127.0.0.1", CALLBACK_SECRET=SECRET,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=200, **settings,
    )  # fmt: skip
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


@pytest.fixture(scope="module")
def scripted(new_service: Callable[..., Service], collector: Collector) -> Service:
    return traced(new_service, collector, "scripted")


@pytest.fixture(scope="module")
def merging(new_service: Callable[..., Service], collector: Collector) -> Service:
    return traced(new_service, collector, "batched", WORKER_CONCURRENCY=2, API_WORKERS=2, OTEL_SERVICE_NAME="mine")


def of_trace(collector: Collector, trace: str, *names: str) -> dict[str, Span]:
    """The spans of a trace by name, once these are there."""

    def found() -> dict[str, Span] | None:
        spans = {span.name: span for span in list(collector.spans) if span.trace == trace}
        return spans if set(names) <= spans.keys() else None

    return eventually(found, f"{', '.join(names)} have come")


def new_parent() -> tuple[str, str, dict[str, str]]:
    """The ids of a trace and a span of a client, and the header that says so."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, {"traceparent": f"00-{trace}-{span}-01"}


def test_a_request_is_one_trace(scripted: Service, collector: Collector) -> None:
    trace, client, headers = new_parent()
    body = {"process": "(time.sleep(0.02), {'predict': request['predict']})[1]", "predict": "(time.sleep(0.03), {})[1]"}
    answer = scripted.predict(body, headers=headers)
    names = ("POST /predict", "verify", "queue", "call", "process", "predict", "reply")
    spans = of_trace(collector, trace, *names)
    server, call = spans["POST /predict"], spans["call"]
    assert (server.parent, server.kind) == (client, SERVER)
    assert {spans[name].parent for name in ("verify", "queue", "call", "reply")} == {server.id}
    assert spans["process"].parent == spans["predict"].parent == call.id
    assert server.id in call.links
    assert spans["process"].ended - spans["process"].began >= 0.02e9
    assert spans["predict"].ended - spans["predict"].began >= 0.03e9
    assert server.began <= spans["verify"].began <= spans["queue"].began <= spans["queue"].ended == call.began
    assert call.ended <= spans["reply"].ended == server.ended
    assert server.attributes["http.response.status_code"] == 200
    assert server.attributes["denzel.task_id"] == answer.headers["Denzel-Task-Id"]
    assert server.resource["service.name"] == "tested"
    assert {server.resource["denzel.process"], call.resource["denzel.process"]} == {"api", "denzel"}


def test_each_attempt_of_a_callback_belongs_to_it(
    scripted: Service, collector: Collector, receivers: Receivers
) -> None:
    trace, _, headers = new_parent()
    receiver = receivers.open(Reply(503), Reply())
    scripted.predict({"callback_uri": receiver.url}, prefer=ASYNC, headers={**headers, "tracestate": "a=1"})
    sent = [{name.lower(): value for name, value in one.headers.items()} for one in receiver.wait(2, 30)]

    def attempts() -> list[Span] | None:
        found = [span for span in collector.named("callback") if span.trace == trace]
        return found if len(found) == 2 else None

    first, second = sorted(eventually(attempts, "both have come"), key=lambda span: span.began)
    server = of_trace(collector, trace, "POST /predict")["POST /predict"]
    assert first.parent == second.parent == server.id
    assert (first.kind, first.failed, second.failed) == (CLIENT, True, False)
    assert [one["traceparent"] for one in sent] == [f"00-{trace}-{span.id}-01" for span in (first, second)]
    assert {one["tracestate"] for one in sent} == {"a=1"}


def test_a_failure_is_seen(scripted: Service, collector: Collector) -> None:
    trace, _, headers = new_parent()
    assert scripted.predict({"predict": "throw(ValueError('no'))"}, headers=headers).status_code == 500
    spans = of_trace(collector, trace, "POST /predict", "call")
    assert spans["POST /predict"].failed
    assert spans["call"].failed


def test_a_client_that_wants_no_trace_gets_none(scripted: Service, collector: Collector) -> None:
    trace, _, headers = new_parent()
    scripted.predict({}, headers={"traceparent": headers["traceparent"][:-2] + "00"})
    later, _, headers = new_parent()
    scripted.predict({}, headers=headers)
    of_trace(collector, later, "POST /predict", "call")
    time.sleep(0.5)
    assert not [span for span in collector.spans if span.trace == trace]


def test_spans_of_user_code_belong_to_the_call(scripted: Service, collector: Collector) -> None:
    trace, _, headers = new_parent()
    code = "(__import__('opentelemetry.trace').trace.get_tracer('mine').start_span('mine').end(), {})[1]"
    scripted.predict({"predict": code}, headers=headers)
    spans = of_trace(collector, trace, "mine", "call")
    assert spans["mine"].parent == spans["call"].id


def test_of_a_thousand_requests_no_span_is_an_orphan(
    merging: Service, collector: Collector, receivers: Receivers
) -> None:
    """Synchronous, asynchronous, with callbacks; merged; some fail, of which the merged calls run again apart."""
    receiver = receivers.open()
    before = len(collector.spans)

    def send(number: int) -> int:
        expression = "throw(ValueError('no'))" if number % 50 == 7 else str(number)
        body: dict = {"data": {"answer": expression}}
        if number % 4 == 1:
            return merging.predict({**body, "callback_uri": receiver.url}, prefer=ASYNC).status_code
        return merging.predict(body, prefer=ASYNC if number % 4 == 2 else None).status_code

    with ThreadPoolExecutor(24) as threads:
        codes = list(threads.map(send, range(1000)))
    assert set(codes) <= {200, 500}
    assert codes.count(500) == sum(number % 50 == 7 and number % 4 not in (1, 2) for number in range(1000))

    def all_there() -> bool:
        new = collector.spans[before:]
        count = {name: sum(span.name == name for span in new) for name in ("POST /predict", "queue", "callback")}
        return count == {"POST /predict": 1000, "queue": 1000, "callback": 250}

    eventually(all_there, "all have come", 60)
    merging.stop("api")
    merging.stop("denzel")
    spans = collector.spans[before:]
    ids = {span.id for span in spans}
    assert [span for span in spans if span.parent and span.parent not in ids] == [], "no orphan"
    assert {link for span in spans for link in span.links} <= ids, "links lead to spans that are there"
    servers = {span.id: span for span in spans if span.name == "POST /predict"}
    assert len({span.trace for span in servers.values()}) == 1000
    linked = {link for span in spans if span.name == "call" for link in span.links}
    assert servers.keys() <= linked, "each request has its call"
    merged = [span for span in spans if span.name == "call" and len(span.links) > 1]
    assert merged, "some were merged"
    of_merged = [span for span in spans if span.name == "merged"]
    assert {link for span in of_merged for link in span.links} == {span.id for span in merged}
    assert len(of_merged) == sum(len(span.links) for span in merged)
    assert {span.resource["service.name"] for span in spans} == {"mine"}
    assert {span.resource["denzel.process"] for span in spans} == {"api", "denzel", "callbacks"}
