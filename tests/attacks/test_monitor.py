"""The monitor: who reaches it without the password, and whom it lets do and see what."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
import requests

from tests.support.services import Service
from tests.support.waiting import eventually

NODE = "worker@tested"
# All that changes something, of Flower's API.
CONTROL = [
    *(f"/api/worker/shutdown/{NODE}", f"/api/worker/pool/restart/{NODE}", f"/api/worker/pool/grow/{NODE}"),
    *(f"/api/worker/pool/shrink/{NODE}", f"/api/worker/pool/autoscale/{NODE}"),
    *(f"/api/worker/queue/add-consumer/{NODE}", f"/api/worker/queue/cancel-consumer/{NODE}"),
    *("/api/task/apply/denzel.predict", "/api/task/async-apply/denzel.predict", "/api/task/send-task/denzel.predict"),
    *(
        "/api/task/abort/1",
        "/api/task/revoke/1",
        "/api/task/timeout/denzel.predict",
        "/api/task/rate-limit/denzel.predict",
    ),
]
SHOWN = ["/", "/workers", "/tasks", "/broker", f"/worker/{NODE}", "/api/workers", "/api/tasks", "/api/queues/length"]
TABLE = "/tasks/datatable?draw=1&start=0&length=10&search[value]=&order[0][column]=0&order[0][dir]=asc"
TABLE += "&columns[0][data]=name"


@pytest.fixture(scope="module", params=["off", "on"])
def watched(request: pytest.FixtureRequest, new_service: Callable[..., Service]) -> tuple[Service, bool]:
    """A service under the monitor, and whether it is switched on that this shows data and may do something."""
    service = new_service(MONITOR_SHOWS_DATA=request.param, MONITOR_CONTROL=request.param)
    service.start("redis", "api", "denzel", "monitor")
    service.wait_ready()
    eventually(lambda: _get(service, "/healthcheck").status_code == 200, "the monitor answers", 30)
    return service, request.param == "on"


def _get(service: Service, path: str, method: str = "GET", password: str | None = None) -> requests.Response:
    login = ("admin", password or service.environment["MONITOR_PASSWORD"]) if password != "" else None
    try:
        return requests.request(
            method, f"http://127.0.0.1:{service.ports['monitor']}{path}", auth=login, timeout=10, allow_redirects=False
        )
    except requests.ConnectionError:  # it is starting
        answer = requests.Response()
        answer.status_code = 503
        return answer


@pytest.mark.parametrize("path", [*SHOWN, TABLE, "/metrics", "/api/task/info/1", "/api/task/types"])
def test_without_the_password_nothing_is_shown(watched: tuple[Service, bool], path: str) -> None:
    service, _ = watched
    for password in ("", "wrong"):
        assert _get(service, path, password=password).status_code == 401
    assert _get(service, path).status_code in (200, 404)


def test_it_changes_nothing_unless_switched_on(watched: tuple[Service, bool]) -> None:
    service, on = watched
    for path in CONTROL:
        assert _get(service, path, "POST", password="").status_code in (401, 403)
        if not on:
            assert _get(service, path, "POST").status_code == 403, path
    if on:
        assert _get(service, "/api/task/revoke/1", "POST").status_code == 200
    assert service.predict({"a": 1}).status_code == 200


def test_requests_and_predictions_are_shown_only_when_switched_on(watched: tuple[Service, bool]) -> None:
    service, on = watched
    secret = secrets.token_hex(8)
    task_id = service.submit({"a": secret})
    assert secret in str(service.wait(task_id))
    info = f"/api/task/info/{task_id}"
    eventually(lambda: "SUCCESS" in _get(service, info).text, "the monitor knows the task's end", 15)
    for path in (info, "/api/tasks", f"/task/{task_id}", TABLE):
        found = _get(service, path)
        assert (found.status_code, secret in found.text) == (200, on), path
