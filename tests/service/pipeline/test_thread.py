"""The user's functions beside the event loop: in order, one at a time, given up when they hang."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from denzel.log.about import REQUEST
from denzel.log.forms import TextForm
from denzel.pipeline.thread import Stuck, UserThread


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the end of the test, so that no hanging call outlives it."""
    event = threading.Event()
    yield event
    event.set()


async def run(thread: UserThread, function: Callable[..., Any], *arguments: Any, patience: float | None = 30) -> Any:
    return await thread.run("verify_input", patience, function, *arguments)


def test_results_and_errors_are_the_calls_own() -> None:
    async def main() -> None:
        thread = UserThread()
        assert await run(thread, max, 1, 2) == 2
        with pytest.raises(ZeroDivisionError):
            await run(thread, divmod, 1, 0)
        results = await asyncio.gather(*(run(thread, str, number) for number in range(500)))
        assert results == [str(number) for number in range(500)]

    asyncio.run(main())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_nothing_that_is_raised_ends_the_thread(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def main() -> None:
        thread = UserThread()
        first = await run(thread, threading.get_ident)
        with pytest.raises(RuntimeError, match=type(error).__name__):
            await run(thread, fail)
        assert await run(thread, threading.get_ident) == first

    asyncio.run(main())


def test_calls_run_in_order_and_never_two_at_once() -> None:
    running, order = [], []

    def call(number: int) -> None:
        assert not running
        running.append(number)
        time.sleep(0.001)
        order.append(running.pop())

    async def main() -> None:
        thread = UserThread()
        await asyncio.gather(*(run(thread, call, number) for number in range(50)))

    asyncio.run(main())
    assert order == list(range(50))


def test_the_loop_goes_on_meanwhile(release: threading.Event) -> None:
    async def main() -> None:
        call = asyncio.create_task(run(UserThread(), release.wait))
        ticks = 0
        began = time.monotonic()
        while time.monotonic() - began < 0.2:
            await asyncio.sleep(0.001)
            ticks += 1
        assert ticks > 50
        release.set()
        assert await call is True

    asyncio.run(main())


def test_a_call_that_hangs_is_given_up_and_those_behind_it_are_served(release: threading.Event) -> None:
    async def main() -> None:
        thread = UserThread()
        hanging = asyncio.create_task(run(thread, release.wait, patience=0.2))
        behind = [asyncio.create_task(run(thread, str, number, patience=0.2)) for number in range(3)]
        began = time.monotonic()
        with pytest.raises(Stuck, match=r"verify_input did not return within 0\.2 seconds"):
            await hanging
        assert await asyncio.gather(*behind) == ["0", "1", "2"]
        assert time.monotonic() - began < 2
        assert await run(thread, max, 1, 2) == 2

    asyncio.run(main())


def test_several_calls_that_hang_are_given_up_one_after_the_other(release: threading.Event) -> None:
    async def main() -> None:
        thread = UserThread()
        calls = [run(thread, release.wait, patience=0.1) for _ in range(3)]
        results = await asyncio.gather(*calls, run(thread, max, 1, 2), return_exceptions=True)
        assert [type(result) for result in results] == [Stuck, Stuck, Stuck, int]

    asyncio.run(main())


def test_an_answer_that_comes_too_late_disturbs_nobody(release: threading.Event) -> None:
    async def main() -> None:
        thread = UserThread()
        with pytest.raises(Stuck):
            await run(thread, release.wait, patience=0.1)
        release.set()
        assert [await run(thread, str, number) for number in range(20)] == [str(number) for number in range(20)]

    asyncio.run(main())


def test_an_answer_that_comes_too_late_does_not_hide_that_the_next_call_hangs(release: threading.Event) -> None:
    first, running = threading.Event(), threading.Event()

    def hang() -> None:
        running.set()
        release.wait()

    async def main() -> None:
        thread = UserThread()
        with pytest.raises(Stuck):
            await run(thread, first.wait, patience=0.1)
        second = asyncio.create_task(run(thread, hang, patience=1))
        await asyncio.to_thread(running.wait)
        first.set()
        with pytest.raises(Stuck):
            await asyncio.wait_for(second, 10)

    asyncio.run(main())


def test_a_call_that_nobody_waits_for_is_not_made(release: threading.Event) -> None:
    made = []

    async def main() -> None:
        thread = UserThread()
        first = asyncio.create_task(run(thread, release.wait))
        second = asyncio.create_task(run(thread, made.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        release.set()
        await first
        await run(thread, made.append, 2)

    asyncio.run(main())
    assert made == [2]


def test_what_is_said_of_a_call_that_hangs_is_about_its_own_request(
    release: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def call(name: str, seconds: float) -> None:
        REQUEST.set([(name, "")] if name else ())
        with contextlib.suppress(Stuck):
            await run(thread, release.wait, seconds, patience=0.2)

    async def main() -> None:  # one look after another, as long as calls wait
        await asyncio.gather(*(asyncio.create_task(call(*one)) for one in (("first", 0.1), ("second", 60), ("", 60))))

    thread = UserThread()
    monkeypatch.setattr(caplog.handler, "formatter", TextForm("%(message)s"))
    asyncio.run(main())
    message = "verify_input has not returned for 0.2 s; its thread is given up"
    assert caplog.text.splitlines() == [f"{message} [task second]", message]
