"""Requests made of the service's description, most of them good enough for a worker, thousands of them.

DENZEL_FUZZ_REQUESTS is their number, DENZEL_FUZZ_SEED which they are: `make fuzz` sends more of them, and others.
"""

from __future__ import annotations

import http.client
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.attacks import fuzzing
from tests.support.processes import children_of, memory_of
from tests.support.receivers import Receivers
from tests.support.services import Service
from tests.support.waiting import eventually

REQUESTS = int(os.environ.get("DENZEL_FUZZ_REQUESTS") or 10_000)
SEED = int(os.environ.get("DENZEL_FUZZ_SEED") or 1)
TOGETHER = 8  # requests that are sent at the same time
LEAST_SHARE = 0.6  # of the bodies, those that must reach a worker
GOOD = {"data": {"a": {"kind": "plain", "values": [1, 0.5, "x", True, None]}}}


@pytest.fixture
def receiver() -> Iterator[str]:
    with Receivers() as receivers:
        yield receivers.open().url


@pytest.fixture
def connections(fuzzed: Service) -> Iterator[list[http.client.HTTPConnection]]:
    with ExitStack() as stack:
        opened = [http.client.HTTPConnection("127.0.0.1", fuzzed.ports["api"], timeout=60) for _ in range(TOGETHER)]
        for connection in opened:
            stack.callback(connection.close)
        yield opened


@pytest.fixture
def fuzzed(new_project: Callable[[str], object], receiver: str) -> Iterator[Service]:
    project = new_project("fuzzed")
    (project / "app/assets/schema.json").write_text(json.dumps(fuzzing.DECLARED))
    with Service(project, API_WORKERS=2, WORKER_CONCURRENCY=2, CALLBACK_ALLOW="127.0.0.1", DOCS="on") as service:
        service.start("redis", "api", "denzel")
        service.wait_ready(processes=2)
        yield service


def processes(service: Service) -> set[int]:
    return {*children_of(service.pid("api")), *children_of(service.pid("denzel"))}


@pytest.mark.timeout(max(600, REQUESTS // 20))
def test_whatever_comes_is_answered_as_described_and_most_of_it_reaches_a_worker(
    fuzzed: Service, receiver: str, connections: list[http.client.HTTPConnection]
) -> None:
    print(f"{REQUESTS} requests, DENZEL_FUZZ_SEED={SEED}")
    document = fuzzed.get("/openapi.json").json()
    judge = fuzzing.Judge(document, receiver)
    sent: Counter[str] = Counter()
    answers: Counter[int] = Counter()
    accepted: list[tuple[fuzzing.Request, str]] = []
    before, memory = processes(fuzzed), max(map(memory_of, children_of(fuzzed.pid("api"))))

    @seed(SEED)
    @settings(
        max_examples=REQUESTS // TOGETHER,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(st.lists(fuzzing.requests(document, receiver), min_size=TOGETHER, max_size=TOGETHER))
    def answered(together: list[fuzzing.Request]) -> None:
        for request in together:
            sent["bodies" if request.is_prediction else "others"] += 1
            request.numbered(sum(sent.values()))
        found = list(pool.map(fuzzing.send, connections, together))
        for request, answer in zip(together, found, strict=True):
            answers[answer.status] += 1
            judge.check(request, answer)
            if request.is_prediction and "Location" in answer.headers:
                accepted.append((request, answer.headers["Denzel-Task-Id"]))

    with ThreadPoolExecutor(TOGETHER) as pool:
        answered()
    assert sum(sent.values()) >= REQUESTS
    for request, task_id in accepted[-500:]:
        record = fuzzed.wait(task_id)
        if "Idempotency-Key" not in request.headers and request.value:
            fails = request.value.get("act") == "raise"
            assert record["status"] == ("FAILURE" if fails else "SUCCESS")
            assert fails or record["result"] == request.value["data"]
    seen = eventually(lambda: (fuzzed.project / "seen.txt").read_text().split(), "the worker has noted what it saw")
    reached = len(set(seen)) / sent["bodies"]
    print(f"{dict(sent)}, answers {dict(answers)}, {reached:.0%} of the bodies reached a worker")
    assert reached >= LEAST_SHARE
    _is_as_before(fuzzed, before, memory)


def _is_as_before(service: Service, processes_before: set[int], memory_before: float) -> None:
    """The service is alive and right, no process of it has been replaced, and none has grown without end."""
    assert service.get("/ready").status_code == 200
    for _ in range(10):
        assert service.predict(GOOD).json() == GOOD["data"]
    assert processes(service) == processes_before
    assert max(map(memory_of, children_of(service.pid("api")))) < memory_before + 100
    assert "Traceback" not in service.log("api")
    raised = re.findall(r"^  (\w+(?:Error|Exception)\b.*)", service.log("denzel"), re.MULTILINE)
    assert set(raised) <= {"LookupError: raised as it was asked for"}
