"""Services of baked projects whose pages are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.service.support.baked import BAKED
from tests.support.services import Service


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Call it with the name of a baked project and settings: its service, ready; stopped after the module."""
    with ExitStack() as stack:
        running: dict[str, Service] = {}

        def start(name: str, **settings: str) -> Service:
            if name not in running:
                project = BAKED[name](tmp_path_factory.mktemp(name))
                service = stack.enter_context(Service(project, **settings))
                service.start("redis", "api", "denzel")
                service.wait_ready(timeout=60)
                running[name] = service
            return running[name]

        yield start
