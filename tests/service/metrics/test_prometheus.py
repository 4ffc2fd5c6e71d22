"""The configuration, the rules and the dashboard, tried with a real Prometheus on a real service."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.service.support import prometheus
from tests.service.support.metrics import total, until
from tests.service.support.prometheus import RULES, Prometheus, names_in, promtool, queries
from tests.support.bakery import TEMPLATE
from tests.support.receivers import Receivers, Reply
from tests.support.services import Service
from tests.support.waiting import eventually

HOLDS = {"predict": "wait_for('go') and {'a': 1}"}
ALERTS = [rule["alert"] for rule in RULES]


@pytest.fixture(scope="module")
def service(new_service: Callable[..., Service], new_project: Callable[[str], Path]) -> Service:
    """Two API and two prediction processes, a model with a version; three tasks may wait."""
    prometheus.program("prometheus")
    service = new_service(
        API_WORKERS=2, WORKER_CONCURRENCY=2, MAX_QUEUE=3, CALLBACK_ALLOW="127.0.0.1", CALLBACK_RETRY_SPAN=0
    )
    (service.project / "app/assets/card.json").write_text('{"version": "2026-1"}')
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    return service


@pytest.fixture(scope="module")
def watched(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with prometheus.watching(service.url.partition("//")[2], tmp_path_factory.mktemp("prometheus")) as watched:
        yield watched


# ---- Without a service -------------------------------------------------------------------------------------


def test_configuration_and_rules_are_valid() -> None:
    done = promtool("check", "config", str(prometheus.FOLDER / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


def series(name: str, *values: str, **labels: str) -> list[dict[str, str]]:
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return [{"series": f"{name}{{{told}}}" if told else name, "values": value} for value in values]


REQUESTS = "denzel_requests_total"
# For each alert: what brings it about, and what does not; from minute 0 on, one value each 10 seconds.
FIRES: dict[str, list[dict[str, str]]] = {
    "DenzelDown": series("up", "0x120", job="denzel", instance="api:8000"),
    "DenzelRedisDown": series("denzel_redis_up", "0x120"),
    "DenzelNotReady": series("denzel_ready", "0x120"),
    "DenzelWorkerDown": series("denzel_prediction_processes_up", "1x120", node="worker@a")
    + series("denzel_prediction_processes", "2x120", node="worker@a"),
    "DenzelQueueAge": series("denzel_oldest_waiting_task_age_seconds", "61+10x120"),
    "DenzelFailureRate": series(REQUESTS, "0+94x120", outcome="success")
    + series(REQUESTS, "0+4x120", outcome="failure")
    + series(REQUESTS, "0+2x120", outcome="unavailable"),
    "DenzelBusy": series(REQUESTS, "0+94x120", outcome="success") + series(REQUESTS, "0+6x120", outcome="busy"),
    "DenzelCallbackFailures": series("denzel_callbacks_total", "0x30 1x90", outcome="failed"),
    "DenzelTaskGivenUp": series("denzel_tasks_dead", "0x60 1x60"),
    "DenzelMemoryNearLimit": series("denzel_memory_used_bytes", "91x120", service="denzel", host="a")
    + series("denzel_memory_limit_bytes", "100x120", service="denzel", host="a"),
    "DenzelRedisMemoryNearLimit": series("denzel_redis_memory_used_bytes", "86x120")
    + series("denzel_redis_memory_limit_bytes", "100x120"),
}
CALM: dict[str, list[dict[str, str]]] = {
    "DenzelDown": series("up", "1x120", job="denzel", instance="api:8000"),
    "DenzelRedisDown": series("denzel_redis_up", "1 0 0 1x117"),
    "DenzelNotReady": series("denzel_ready", "0x4 1x116"),
    "DenzelWorkerDown": series("denzel_prediction_processes_up", "1x6 2x114", node="worker@a")
    + series("denzel_prediction_processes", "2x120", node="worker@a"),
    "DenzelQueueAge": series("denzel_oldest_waiting_task_age_seconds", "59x120"),
    "DenzelFailureRate": series(REQUESTS, "0+96x120", outcome="success")
    + series(REQUESTS, "0+4x120", outcome="failure"),
    "DenzelBusy": series(REQUESTS, "0x120", outcome="success") + series(REQUESTS, "0x120", outcome="busy"),
    "DenzelCallbackFailures": series("denzel_callbacks_total", "1x120", outcome="failed")
    + series("denzel_callback_attempts_total", "0+9x120", result="delivered")
    + series("denzel_callback_attempts_total", "0+1x120", result="failed"),
    "DenzelTaskGivenUp": series("denzel_tasks_dead", "1x120"),
    "DenzelMemoryNearLimit": series("denzel_memory_used_bytes", "89x120", service="denzel", host="a")
    + series("denzel_memory_limit_bytes", "100x120", service="denzel", host="a"),
    "DenzelRedisMemoryNearLimit": series("denzel_redis_memory_used_bytes", "86x120")
    + series("denzel_redis_memory_limit_bytes", "0x120"),
}


@pytest.mark.parametrize(("cases", "fires"), [(FIRES, True), (CALM, False)], ids=["fire", "stay calm"])
def test_alerts_by_the_values_of_metrics(cases: dict, fires: bool, tmp_path: Path) -> None:
    """With the times that they wait, by Prometheus' own means to test rules."""
    assert list(cases) == ALERTS
    tests = []
    for name, input_series in cases.items():
        expression = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
        samples = [{"labels": "{}", "value": int(fires)}]
        check = {"expr": expression, "eval_time": "18m", "exp_samples": samples}
        tests.append({"name": name, "interval": "10s", "input_series": input_series, "promql_expr_test": [check]})
    file = tmp_path / "tests.yml"
    rules = {"rule_files": [str(prometheus.FOLDER / "alerts.yml")], "evaluation_interval": "10s"}
    file.write_text(yaml.safe_dump({**rules, "tests": tests}), encoding="utf-8")
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_say_what_to_do() -> None:
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]


# ---- On a service ------------------------------------------------------------------------------------------


def test_what_it_tells_is_well_formed(service: Service) -> None:
    service.predict({})
    done = promtool("check", "metrics", stdin=service.get("/metrics").text)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout + done.stderr == ""


def test_every_family_is_documented(service: Service) -> None:
    told = set(re.findall(r"^# TYPE (\w+) ", service.get("/metrics").text, re.MULTILINE))
    rows = re.findall(r"^\| (`denzel_[^|]*)\|", (TEMPLATE / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    documented = re.findall(r"`(denzel_\w+)`", " ".join(rows))
    assert set(documented) == told


def test_every_query_of_the_dashboard_and_every_alert_finds_its_metrics(
    service: Service, watched: Prometheus, receivers: Receivers
) -> None:
    eventually(lambda: watched.query("denzel_ready"), "it is scraped", 30, 0.2)
    service.redis.config_set("maxmemory", 10**9)
    receiver = receivers.open(Reply())
    numbers = itertools.count()

    def without_answer() -> list[str]:
        """The queries that find nothing; requests of all kinds go on meanwhile."""
        service.submit({"callback_uri": receiver.url})
        for _ in range(10):
            number = next(numbers)
            service.predict({"number": number, **({"predict": "1 / 0"} if number % 2 else {})})
        found = {f"{title}: {expression}": watched.query(expression) for title, expression in queries()}
        return [text for text, series in found.items() if all(one["value"][1] == "NaN" for one in series)]

    eventually(lambda: not without_answer(), lambda: f"all find something: {without_answer()}", 30, 0.5)
    for rule in RULES:
        watched.query(rule["expr"])  # it can be asked
        assert {name for name in names_in(rule["expr"]) if not watched.query(name)} == set(), rule["alert"]


def test_alerts_fire(service: Service, watched: Prometheus) -> None:
    """For what really happens; memory near its limit cannot be had, and is tested by values alone."""
    fired = set()

    def fires(name: str) -> None:
        watched.until_fires(name)
        fired.add(name)

    for _ in range(20):
        service.predict({"predict": "1 / 0"})
    fires("DenzelFailureRate")

    service.submit({"callback_uri": "http://127.0.0.1:9/closed"})
    fires("DenzelCallbackFailures")

    memory = service.redis.info("memory")["used_memory"]
    service.redis.config_set("maxmemory", int(memory * 1.11))
    fires("DenzelRedisMemoryNearLimit")
    service.redis.config_set("maxmemory", 0)
    watched.until_calm("DenzelRedisMemoryNearLimit")
    eventually(lambda: not service.redis.exists("denzel/tested:full"), "tasks are accepted again")

    service.redis.zadd("denzel/tested:dead", {"00000000-0000-0000-0000-000000000000": time.time()})
    fires("DenzelTaskGivenUp")

    tasks = [service.submit(HOLDS) for _ in range(2)]
    until(service, lambda now: total(now, "denzel_tasks_running") == 2, "both processes are at work")
    tasks += [service.submit(HOLDS) for _ in range(3)]
    oldest = service.redis.lindex("denzel/tested:waiting", -1).decode()
    service.redis.hset(f"denzel/tested:task:{oldest}", "accepted", time.time() - 100)
    fires("DenzelQueueAge")
    for _ in range(20):
        assert service.predict({}, prefer="respond-async").status_code == 429
    fires("DenzelBusy")
    (service.project / "go").touch()
    for task in tasks:
        service.wait(task)

    doomed = service.predictors()[0]
    os.kill(doomed, signal.SIGSTOP)
    fires("DenzelWorkerDown")
    os.kill(doomed, signal.SIGCONT)
    watched.until_calm("DenzelWorkerDown")

    service.stop("denzel")
    fires("DenzelNotReady")
    service.stop("redis")
    fires("DenzelRedisDown")
    service.stop("api")
    fires("DenzelDown")
    assert set(ALERTS) - fired == {"DenzelMemoryNearLimit"}


def test_rates_are_right_over_what_was_killed(new_service: Callable[..., Service], tmp_path: Path) -> None:
    """What Prometheus makes of the counters is what was sent: no process that ends looks like a counter's new begin."""
    service = new_service(API_WORKERS=2, WORKER_CONCURRENCY=2)
    service.start("redis", "api", "denzel")
    service.wait_ready(processes=2)
    with prometheus.watching(service.url.partition("//")[2], tmp_path) as watched:

        def counted() -> str:
            return "".join(one["value"][1] for one in watched.query(f'{REQUESTS}{{outcome="success"}}'))

        assert service.predict({}).status_code == 200
        eventually(lambda: counted() == "1", lambda: f"it is scraped: {counted()}", 30, 0.2)
        for _ in range(3):
            for number in range(30):
                assert service.predict({"number": number}).status_code == 200
            os.kill(service.predictors()[0], signal.SIGKILL)
            os.kill(service.pid("api"), signal.SIGHUP)
            time.sleep(2)
        eventually(lambda: counted() == "91", lambda: f"all of them are scraped: {counted()}", 30, 0.2)
        for name in (REQUESTS, "denzel_stage_duration_seconds_sum", "denzel_stage_duration_seconds_bucket"):
            assert watched.query(f"sum(resets({name}[5m]))")[0]["value"][1] == "0", name
