"""Nobody is warned of running as root, at any level of the log; in containers nobody is root in the first place."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from tests.support.services import Service
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def own(new_service: Callable[..., Service]) -> Service:
    service = new_service()
    service.start("redis")
    return service


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could be warned")
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_root_is_not_warned(own: Service, level: str) -> None:
    own.environment["LOG_LEVEL"] = level
    own.start("denzel", "monitor")
    try:
        eventually(lambda: own._processes_up() == 1, "the model is loaded", 30)
        eventually(lambda: "Connected to" in own.log("monitor"), "the monitor runs", 30)
    finally:
        own.stop("monitor")
        own.stop("denzel")
    printed = own.log("denzel") + own.log("monitor")
    assert not re.search("superuser|privileges|SecurityWarning|run as root", printed, re.IGNORECASE), printed
