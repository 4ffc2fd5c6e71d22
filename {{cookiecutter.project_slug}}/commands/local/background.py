"""Work beside the event loop of `make dev`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


async def in_thread(work: Callable[[], str]) -> str:
    """Run something in a thread that nobody waits for when everything ends, as asyncio's own are."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[str] = loop.create_future()

    def end(method: Callable[[Any], None], value: Any) -> None:
        if not result.done():
            method(value)

    def run() -> None:
        try:
            method: Callable[[Any], None] = result.set_result
            value: Any = work()
        except Exception as error:
            method, value = result.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end, method, value)

    threading.Thread(target=run, daemon=True).start()
    return await result
