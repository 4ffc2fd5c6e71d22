"""Services of baked projects whose pages are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.service.support.baked import BAKED
from tests.service.support.sending import SECRET
from tests.support.services import Service


@pytest.fixture(scope="package")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Service]]:
    """Call it with the name of a baked project: its service, ready, with an inbox; stopped after these tests."""
    with ExitStack() as stack:
        running: dict[str, Service] = {}

        def start(name: str) -> Service:
            if name not in running:
                project = BAKED[name](tmp_path_factory.mktemp(name))
                service = stack.enter_context(Service(project, DOCS_INBOX="on", CALLBACK_SECRET=SECRET))
                service.start("redis", "api", "denzel")
                service.wait_ready(timeout=60)
                running[name] = service
            return running[name]

        yield start
