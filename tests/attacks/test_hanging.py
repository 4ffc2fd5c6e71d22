"""A `verify_input` that never returns costs a request, not a core."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from tests.support.processes import children_of
from tests.support.services import Service
from tests.support.waiting import eventually

# Takes a core, and heeds nothing.
SPINS = {"verify_input": "all(one == 0 for one in iter(int, 1))"}
# Longer than it may, but not for ever.
SLOW = {"verify_input": "time.sleep(2)"}


def seconds_of_this_machine(seconds: float) -> float:
    """As many, on a machine that has its cores for this test; more, up to three times, where others use them, too."""
    return seconds * min(3.0, max(1.0, os.getloadavg()[0] / ((os.cpu_count() or 1) + 1)))


def api_processes(service: Service) -> set[int]:
    return set(children_of(service.pid("api")))


def test_a_process_whose_verify_input_hangs_is_replaced_and_no_request_fails(
    new_service: Callable[..., Service],
) -> None:
    service = new_service(API_WORKERS=2, VERIFY_TIMEOUT=1)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    before = eventually(lambda: len(found := api_processes(service)) == 2 and found, "both processes are there")
    statuses: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            statuses.append(service.predict({"a": 1}, timeout=30).status_code)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        assert service.predict(SPINS, timeout=30).status_code == 503
        given_up, within = time.monotonic(), seconds_of_this_machine(10)
        eventually(lambda: api_processes(service) - before, "another process is there", timeout=within - 2)
        came = time.monotonic() - given_up
        eventually(
            lambda: len(api_processes(service)) == 2,
            f"the spent one has gone; the other came after {came:.1f} s",
            timeout=within - came,
        )
        assert len(api_processes(service) & before) == 1, "the other one has stayed"
    finally:
        is_over.set()
        for client in clients:
            client.join()
    assert statuses
    assert set(statuses) <= {200, 202}
    assert "that never ends" in service.log("api")


def test_a_process_whose_verify_input_was_only_slow_stays(new_service: Callable[..., Service]) -> None:
    service = new_service(API_WORKERS=1, VERIFY_TIMEOUT=0.5)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    before = api_processes(service)
    assert service.predict(SLOW, timeout=30).status_code == 503
    time.sleep(5)  # it would have been replaced by now
    assert api_processes(service) == before
    assert service.predict({"a": 1}).status_code == 200
