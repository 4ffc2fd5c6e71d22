"""Whether traces are wanted: the standard variables of OpenTelemetry say so, and where they go.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/: an exporter is named by
OTEL_TRACES_EXPORTER (otlp, console, none), or an address by OTEL_EXPORTER_OTLP_ENDPOINT; OTEL_SDK_DISABLED=true
switches all off. The SDK itself reads the others: headers, samplers, batches, OTEL_SERVICE_NAME.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from denzel.settings import Settings
from denzel.tracing.spans import NO_SPANS, Spans

log = logging.getLogger("denzel.tracing")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
INSTALL = "write the line `-r requirements-tracing.txt` into requirements.txt, then `make updatepipreqs`"


def exporters(environment: Mapping[str, str]) -> list[str]:
    """The names of the exporters that are wanted."""

    def value(name: str) -> str:
        return environment.get(name, "").strip()

    if value("OTEL_SDK_DISABLED").lower() == "true":
        return []
    named = value("OTEL_TRACES_EXPORTER")
    if not named:
        return ["otlp"] if any(map(value, _ENDPOINTS)) else []
    return [name for part in named.split(",") if (name := part.strip().lower()) and name != "none"]


def start(settings: Settings, process: str, environment: Mapping[str, str] = os.environ) -> Spans:
    """Traces of this process, if they are wanted; to be called after all forks.

    Args:
        process: what it is in the service.
    """
    wanted = exporters(environment)
    if not wanted:
        return NO_SPANS
    try:
        from denzel.tracing.recorded import Recorded

        spans = Recorded(settings.project_slug, process, wanted, environment)
    except ImportError as error:
        log.error(
            "Traces are switched on (OTEL_... in .env) and cannot be had, as %s is not installed: %s "
            "(with make dev: make install). The service runs without them",
            error.name or error, INSTALL,
        )  # fmt: skip
        return NO_SPANS
    except Exception as error:
        log.error("Traces are switched on (OTEL_... in .env) and cannot be had: %s. The service runs without", error)
        return NO_SPANS
    log.info("Traces are sent (%s)", ", ".join(wanted))
    return spans
