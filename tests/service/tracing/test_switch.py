"""Whether traces are wanted, and what is said where they cannot be had."""

from __future__ import annotations

import subprocess
import sys

import pytest

from denzel.settings import Settings
from denzel.tracing import switch
from denzel.tracing.spans import NO_SPANS
from tests.support.bakery import TEMPLATE

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, []),
        ({"OTEL_SERVICE_NAME": "mine"}, []),
        (ENDPOINT, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "console, OTLP"}, ["console", "otlp"]),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, []),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, []),
    ],
)
def test_the_standard_variables_switch_traces(environment: dict[str, str], wanted: list[str]) -> None:
    assert switch.exporters(environment) == wanted


def test_a_package_that_is_missing_is_named_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "denzel.tracing.recorded", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert switch.start(Settings.from_environment({}), "api", ENDPOINT) is NO_SPANS
    [message] = caplog.messages
    assert "opentelemetry is not installed" in message
    assert "-r requirements-tracing.txt" in message


def test_an_exporter_that_is_not_there_is_named(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("opentelemetry.sdk")
    assert switch.start(Settings.from_environment({}), "api", {"OTEL_TRACES_EXPORTER": "zipkin"}) is NO_SPANS
    assert "the exporter zipkin is not installed" in caplog.messages[0]


def test_nothing_of_opentelemetry_is_imported_while_they_are_off() -> None:
    """By us: redis-py itself looks for its metrics, where they are installed."""
    code = """
import sys
for name in ("opentelemetry.metrics", "opentelemetry.sdk.metrics"):
    sys.modules[name] = None  # as if redis-py did not find it
from denzel.settings import Settings
from denzel.tracing import switch
import denzel.api.application, denzel.callbacks.__main__, denzel.inline.executor, denzel.worker.process
assert not switch.start(Settings.from_environment({}), "api", {}).on
names = [name for name, module in sys.modules.items() if name.startswith("opentelemetry.") and module]
print(names, "denzel.tracing.recorded" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=TEMPLATE, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[] False", done.stdout + done.stderr
