"""What a service tells at GET /metrics, as numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.services import Service
from tests.support.waiting import eventually

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
Samples = dict[str, float]


def scrape(service: Service) -> Samples:
    """All samples by name and labels: `denzel_requests_total{outcome="success"}`."""
    answer = service.get("/metrics", headers={"Accept": OPENMETRICS})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith(OPENMETRICS)
    found: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found
            found[key] = sample.value
    return found


def outcomes(samples: Samples) -> dict[str, int]:
    """Requests by outcome, those that there were."""
    prefix = 'denzel_requests_total{outcome="'
    return {key[len(prefix) : -2]: int(value) for key, value in samples.items() if key.startswith(prefix) and value}


def total(samples: Samples, name: str, *labels: str) -> float:
    """The sum of a family's samples that have these labels (`stage="queue"`)."""
    return sum(
        value
        for key, value in samples.items()
        if key.partition("{")[0] == name and all(label in key for label in labels)
    )


def grown(service: Service, before: Samples, expected: dict[str, int], timeout: float = 10.0) -> Samples:
    """The samples, once so many requests more have been counted by outcome than before; no others."""
    was = outcomes(before)

    def seen() -> dict[str, int]:
        now = outcomes(scrape(service))
        return {name: number - was.get(name, 0) for name, number in now.items() if number != was.get(name, 0)}

    last: dict[str, Any] = {}

    def is_there() -> bool:
        last["seen"] = seen()
        return last["seen"] == expected

    eventually(is_there, lambda: f"{expected} are counted: {last['seen']}", timeout, interval=0.1)
    return scrape(service)


def more(before: Samples, number: float, name: str, *labels: str) -> Callable[[Samples], bool]:
    """Says of samples whether a family has grown by this number since before."""
    return lambda now: total(now, name, *labels) - total(before, name, *labels) == number


def until(service: Service, holds: Callable[[Samples], bool], what: str, timeout: float = 10.0) -> Samples:
    """The samples, once something holds for them."""
    return eventually(lambda: holds(found := scrape(service)) and found, what, timeout, interval=0.1)
