"""Test a model service made with denzel-template: its pipeline in-process, and the running service.

The fixtures and options are described in docs/pytest_denzel.md. The names below are for type hints; they are imported
when they are used, so that the plugin costs nothing in a project that is not Denzel's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from pytest_denzel.callbacks.receiver import Answer, CallbackReceiver, Delivery, hang_up, slow
    from pytest_denzel.in_process.api_client import ApiClient
    from pytest_denzel.in_process.outside_world import OutsideWorld
    from pytest_denzel.in_process.pipeline import Pipeline
    from pytest_denzel.project import Project
    from pytest_denzel.services.chaos import Chaos
    from pytest_denzel.services.service import Redis, Service, Worker
    from pytest_denzel.services.tasks import ServiceError

_PLACES = {
    "Answer": "callbacks.receiver",
    "ApiClient": "in_process.api_client",
    "CallbackReceiver": "callbacks.receiver",
    "Chaos": "services.chaos",
    "Delivery": "callbacks.receiver",
    "OutsideWorld": "in_process.outside_world",
    "Pipeline": "in_process.pipeline",
    "Project": "project",
    "Redis": "services.service",
    "Service": "services.service",
    "ServiceError": "services.tasks",
    "Worker": "services.service",
    "hang_up": "callbacks.receiver",
    "slow": "callbacks.receiver",
}

__all__ = [
    "Answer",
    "ApiClient",
    "CallbackReceiver",
    "Chaos",
    "Delivery",
    "OutsideWorld",
    "Pipeline",
    "Project",
    "Redis",
    "Service",
    "ServiceError",
    "Worker",
    "hang_up",
    "slow",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
