"""What one receiver gets of a process that sends by itself."""

from __future__ import annotations

import asyncio

import pytest

from denzel.callbacks import bounds
from denzel.callbacks.bounds import OwnBounds


def test_connections_are_bounded_however_many_receivers_there_are() -> None:
    async def send() -> tuple[list[bool], int]:
        own = OwnBounds(connections=2, retries=0)
        async with own.connection("a:80"):
            for number in range(20_000):  # each with a place of its own
                async with own.connection(f"{number}:80"):
                    pass
            async with own.connection("a:80"):
                third = asyncio.create_task(own.connection("a:80").acquire())
                await asyncio.sleep(0)
                waits = [not third.done()]
            await third
            waits.append(own.connection("a:80").locked())
        return waits, len(own._connections)

    waits, remembered = asyncio.run(send())
    assert waits == [True, True]
    assert remembered <= 1, "who gets nothing now is not remembered"


def test_retries_of_a_day_are_bounded_for_each_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnBounds(connections=1, retries=3)
    assert [own.may_retry("a:80") for _ in range(5)] == [True, True, True, False, False]
    assert own.may_retry("b:80")
    tomorrow = bounds.today() + 1
    monkeypatch.setattr(bounds, "today", lambda: tomorrow)
    assert own.may_retry("a:80")
