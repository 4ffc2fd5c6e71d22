"""What is known of the service as metric families, and as text in the format that a scraper asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from denzel.metrics.figures import Known
from denzel.metrics.layout import (
    ATTEMPTS,
    BATCH,
    CALLBACK_TRIES,
    DELIVERIES,
    DURATION,
    MILLIONTHS,
    OUTCOMES,
    RELOADING,
    REQUESTS,
    RESULTS,
    STAGE,
    Histogram,
)
from denzel.metrics.machine import HOST

# Gauges of the queue: what `Known.queue` holds.
QUEUE = {
    "waiting": ("denzel_tasks_waiting", "Tasks that wait for a prediction process"),
    "oldest": ("denzel_oldest_waiting_task_age_seconds", "How long the oldest of them has waited; 0: none waits"),
    "claimed": ("denzel_tasks_claimed", "Tasks that prediction processes have taken from the queue and not ended yet"),
    "dead": ("denzel_tasks_dead", "Tasks that were given up (make dead)"),
    "callbacks": ("denzel_callbacks_waiting", "Callbacks that are to be sent, now or later"),
    "capacity": ("denzel_capacity_tasks_per_second", "The measured speed of all prediction processes; 0: not known"),
    "redis_used": ("denzel_redis_memory_used_bytes", "Memory that Redis uses"),
    "redis_limit": ("denzel_redis_memory_limit_bytes", "Memory that Redis may use (REDIS_MAXMEMORY); 0: no limit"),
}
_OF_PROCESS = ("service", "host", "process", "pid")


def text(known: Known, accept: str) -> tuple[bytes, str]:
    """All families, and the media type: OpenMetrics for who asks for it by the header Accept, else Prometheus' own."""
    encode, media_type = choose_encoder(accept)
    return encode(_Collected(known)), media_type


class _Collected:
    """A registry, as the encoders know it."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def collect(self) -> Iterator[Metric]:
        if self._known.totals is not None:
            yield from _counted(self._known.totals)
        yield _counted_here(self._known.here)
        yield from _now(self._known)
        yield from _containers(self._known)


def _counted(totals: Mapping[str, float]) -> Iterator[Metric]:
    yield _counter("denzel_requests", "Answers to POST /predict", totals, "requests", outcome=OUTCOMES)
    yield _histogram(
        "denzel_request_duration_seconds",
        "Time from the arrival of a request that waits for predictions to its answer",
        totals,
        {"": DURATION},
    )
    yield _histogram(
        "denzel_stage_duration_seconds",
        "Time of the stages: verify, queue and reply of each request, process and predict of each call of the "
        "pipeline, callback of each attempt",
        totals,
        STAGE,
        "stage",
    )
    yield _histogram("denzel_batch_size", "Tasks in a call of the pipeline", totals, {"": BATCH})
    yield _counter(
        "denzel_callbacks", "Callbacks that were delivered or given up", totals, "callbacks", outcome=DELIVERIES
    )
    yield _counter(
        "denzel_callback_attempts", "Attempts to deliver callbacks", totals, "callback_attempts", result=ATTEMPTS
    )
    yield _histogram(
        "denzel_callback_tries", "Attempts of a callback that was delivered or given up", totals, {"": CALLBACK_TRIES}
    )
    reloads = CounterMetricFamily("denzel_reloads", "Reloads of code and model", labels=["service", "result"])
    for service in RELOADING:
        for result in RESULTS:
            reloads.add_metric([service, result], totals.get(f"reloads:{service}:{result}", 0.0))
    yield reloads
    yield _counter("denzel_model_loads", "Calls of load_model", totals, "model_loads", result=RESULTS)


def _counted_here(here: Sequence[float]) -> Metric:
    family = CounterMetricFamily(
        "denzel_api_requests",
        "The same of the API's container that answers here, since it was started; there also while Redis is away",
        labels=["host", "outcome"],
    )
    for outcome, place in REQUESTS.items():
        family.add_metric([HOST, outcome], here[place])
    return family


def _now(known: Known) -> Iterator[Metric]:
    yield GaugeMetricFamily("denzel_ready", "1 while /ready answers 200", value=float(known.ready))
    if known.redis is not None:
        yield GaugeMetricFamily(
            "denzel_redis_up",
            "1 while Redis answers; 0: what it knows is left out, the counters above all",
            value=float(known.redis),
        )
    for name, (family, documentation) in QUEUE.items():
        if name in known.queue:
            yield GaugeMetricFamily(family, documentation, value=known.queue[name])
    up = GaugeMetricFamily(
        "denzel_prediction_processes_up", "Prediction processes that have a model and take tasks", labels=["node"]
    )
    wanted = GaugeMetricFamily("denzel_prediction_processes", "Prediction processes that should", labels=["node"])
    for node in known.nodes:
        up.add_metric([node["name"]], node["up"])
        wanted.add_metric([node["name"]], node["processes"])
    if known.nodes:
        yield up
        yield wanted


def _containers(known: Known) -> Iterator[Metric]:
    cpu = CounterMetricFamily("denzel_process_cpu_seconds", "CPU time of a process", labels=_OF_PROCESS)
    memory = GaugeMetricFamily(
        "denzel_process_resident_memory_bytes", "Resident memory of a process", labels=_OF_PROCESS
    )
    running = GaugeMetricFamily("denzel_tasks_running", "Tasks in a call of the pipeline", labels=_OF_PROCESS)
    load = GaugeMetricFamily("denzel_model_load_seconds", "Time that the last load_model took", labels=_OF_PROCESS)
    model = InfoMetricFamily("denzel_model", "The models that serve", labels=["service", "host"])
    used = GaugeMetricFamily(
        "denzel_memory_used_bytes",
        "Memory that the container uses; where it has no limit, the machine",
        labels=["service", "host"],
    )
    limit = GaugeMetricFamily(
        "denzel_memory_limit_bytes", "Memory that it may use at the most", labels=["service", "host"]
    )
    places: dict[tuple[str, ...], tuple[set[str], Mapping[str, float]]] = {}
    for container in known.containers:
        place = container["service"], container["host"]
        for process in container["processes"]:
            labels = [*place, process["title"], str(process["pid"])]
            cpu.add_metric(labels, process["cpu"])
            memory.add_metric(labels, process["memory"])
            if process.get("load_seconds"):  # it holds a model
                running.add_metric(labels, process["running"])
                load.add_metric(labels, process["load_seconds"])
        versions, _ = places.get(place, (set(), {}))
        places[place] = {*versions, *container.get("versions", ())}, container["memory"]
    for where, (versions, bytes_of) in places.items():
        for version in sorted(versions):
            model.add_metric(where, {"version": version})
        if bytes_of:
            used.add_metric(where, bytes_of["used"])
            limit.add_metric(where, bytes_of["limit"])
    yield from (family for family in (cpu, memory, running, load, model, used, limit) if family.samples)


def _counter(name: str, documentation: str, totals: Mapping[str, float], prefix: str, **labels: tuple) -> Metric:
    """A counter with one label."""
    [(label, values)] = labels.items()
    family = CounterMetricFamily(name, documentation, labels=[label])
    for value in values:
        family.add_metric([value], totals.get(f"{prefix}:{value}", 0.0))
    return family


def _histogram(
    name: str, documentation: str, totals: Mapping[str, float], histograms: Mapping[str, Histogram], label: str = ""
) -> Metric:
    """A histogram for each value of a label, or one without."""
    family = HistogramMetricFamily(name, documentation, labels=[label] if label else [])
    for value, histogram in histograms.items():
        numbers = [totals.get(each, 0.0) for each in histogram.names]
        bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(numbers[:-1]), strict=True))
        family.add_metric([value] if label else [], buckets, numbers[-1] / MILLIONTHS)
    return family
