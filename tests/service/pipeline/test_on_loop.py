"""Short calls on the event loop: who may, and what happens to those that turn out otherwise."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from denzel.pipeline.on_loop import _SILENT, BUDGET, CALLS, MOST_BYTES, LoopCalls, Overdue
from denzel.pipeline.thread import UserThread
from tests.support.services import Service
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(60, method="thread")  # its other method takes SIGALRM, which is needed here

Run = Callable[..., Awaitable[Any]]


@pytest.fixture
def thread() -> Iterator[UserThread]:
    """A thread whose short calls may run in place, as in a process of the API."""
    before = signal.getsignal(signal.SIGALRM)
    thread = UserThread()
    thread.loop_calls.enable()
    yield thread
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


async def call(thread: UserThread, function: Callable[..., Any], *arguments: Any, size: int = 10) -> Any:
    return await thread.run_short("verify_input", 5, function, lambda: arguments, size)


async def become_short(thread: UserThread) -> None:
    """Make as many short calls as it takes."""
    for _ in range(3 * CALLS):  # more than enough where the machine stutters
        await call(thread, int)
        if thread.loop_calls.allows("verify_input", 0):
            return
    raise AssertionError("it never became short")


def in_place() -> bool:
    return threading.current_thread() is threading.main_thread()


def test_a_function_runs_in_place_when_it_has_been_short_for_a_while(thread: UserThread) -> None:
    async def main() -> None:
        assert not await call(thread, in_place)
        await become_short(thread)
        assert await call(thread, in_place)
        with pytest.raises(ZeroDivisionError):
            await call(thread, divmod, 1, 0)
        assert await call(thread, in_place), "an error of its own is nothing against it"

    asyncio.run(main())


def test_nothing_runs_in_place_unless_enabled() -> None:
    async def main() -> None:
        thread = UserThread()
        for _ in range(3 * CALLS):
            assert not await call(thread, in_place)

    asyncio.run(main())


def test_a_function_that_takes_long_never_does(thread: UserThread) -> None:
    async def main() -> None:
        for _ in range(2 * CALLS):
            await call(thread, time.sleep, 0.002)
        assert not await call(thread, in_place)

    asyncio.run(main())


def test_a_large_request_never_does(thread: UserThread) -> None:
    async def main() -> None:
        await become_short(thread)
        assert not await call(thread, in_place, size=MOST_BYTES + 1)

    asyncio.run(main())


def test_a_call_goes_behind_those_in_the_thread(thread: UserThread) -> None:
    release, order = threading.Event(), []

    async def main() -> None:
        await become_short(thread)
        first = asyncio.create_task(thread.run("verify_input", 30, release.wait, 20))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(call(thread, lambda: order.append(in_place())))
        await asyncio.sleep(0.01)
        assert order == []
        release.set()
        await first
        await second
        assert order == [False]

    asyncio.run(main())


def test_a_call_that_takes_long_after_all_is_made_again_in_the_thread(thread: UserThread) -> None:
    calls = []

    def hang() -> str:
        calls.append(in_place())
        if in_place():
            time.sleep(30)
        return "done"

    async def main() -> None:
        await become_short(thread)
        began = time.monotonic()
        assert await call(thread, hang) == "done"
        assert time.monotonic() - began < 10
        assert calls == [True, False]
        assert not await call(thread, in_place), "for a while it stays in the thread"

    asyncio.run(main())


def overdue(place: LoopCalls) -> None:
    with pytest.raises(Overdue):
        place.call("verify_input", lambda: time.sleep(30))


def calls_until_allowed(place: LoopCalls) -> int:
    for count in range(1, 200_000):
        place.record("verify_input", 0.0001)
        if place.allows("verify_input", 0):
            return count
    raise AssertionError("it never came back")


def test_an_interrupted_function_stays_away_longer_each_time(thread: UserThread) -> None:
    assert calls_until_allowed(thread.loop_calls) == CALLS
    overdue(thread.loop_calls)
    assert calls_until_allowed(thread.loop_calls) == 2 * CALLS
    overdue(thread.loop_calls)
    assert calls_until_allowed(thread.loop_calls) == 4 * CALLS


def test_no_function_stays_away_for_ever(thread: UserThread) -> None:
    for _ in range(20):
        overdue(thread.loop_calls)
    assert calls_until_allowed(thread.loop_calls) == 100_000


def test_how_long_calls_took_before_its_exile_says_nothing_about_a_function(thread: UserThread) -> None:
    place = thread.loop_calls
    calls_until_allowed(place)
    overdue(place)
    for _ in range(3 * CALLS):
        place.record("verify_input", 0.01)
        assert not place.allows("verify_input", 0), "it was quick once, and is no longer"
    calls_until_allowed(place)
    while place.allows("verify_input", 0):
        place.call("verify_input", time.sleep, 0.01)
    calls_until_allowed(place)
    place.call("verify_input", int)
    assert place.allows("verify_input", 0), "it was slow once, and is no longer"


def test_code_that_catches_everything_is_interrupted_again(thread: UserThread) -> None:
    def stubborn() -> str:
        try:
            time.sleep(30 if in_place() else 0)
        except BaseException:
            time.sleep(30)
        return "done"

    async def main() -> None:
        await become_short(thread)
        began = time.monotonic()
        assert await call(thread, stubborn) == "done"
        assert time.monotonic() - began < 10

    asyncio.run(main())


@pytest.mark.parametrize("catch", [BaseException, Overdue])
def test_what_user_code_makes_of_an_interruption_is_not_its_answer(
    thread: UserThread, catch: type[BaseException]
) -> None:
    def with_default() -> str:
        try:
            time.sleep(30 if in_place() else 0)
        except catch:
            return "a default"
        return "the answer"

    async def main() -> None:
        await become_short(thread)
        assert await call(thread, with_default) == "the answer"
        assert not await call(thread, in_place)

    asyncio.run(main())


def test_an_interruption_that_becomes_another_error_is_none_of_the_functions(thread: UserThread) -> None:
    def translate() -> str:
        try:
            time.sleep(30 if in_place() else 0)
        except BaseException as error:
            raise ValueError("it failed") from error
        return "the answer"

    async def main() -> None:
        await become_short(thread)
        assert await call(thread, translate) == "the answer"

    asyncio.run(main())


def test_a_function_that_is_short_only_now_and_then_goes_back_to_the_thread(thread: UserThread) -> None:
    async def main() -> None:
        await become_short(thread)
        for _ in range(CALLS):
            await call(thread, time.sleep, 0.01)
        assert not await call(thread, in_place)

    asyncio.run(main())


def test_an_import_is_not_interrupted(thread: UserThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.1)\nanswer = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    where = []

    def late_import() -> int:
        where.append(in_place())
        import slow_to_import  # type: ignore[import-not-found]

        return slow_to_import.answer

    async def main() -> None:
        await become_short(thread)
        assert await call(thread, late_import) == 42

    asyncio.run(main())
    assert where == [True]
    del sys.modules["slow_to_import"]


@pytest.mark.parametrize("error", [RuntimeError("no running loop, please"), SystemExit(3)])
def test_what_works_in_a_thread_only_is_always_called_there(thread: UserThread, error: BaseException) -> None:
    def shy() -> str:
        if in_place():
            raise error
        return "done"

    async def main() -> None:
        await become_short(thread)
        assert await call(thread, shy) == "done"
        for _ in range(3 * CALLS):
            assert not await call(thread, in_place)

    asyncio.run(main())


def test_arguments_are_made_anew_for_the_second_try(thread: UserThread) -> None:
    def spoil(numbers: list[int]) -> int:
        numbers.pop()
        if in_place():
            raise ValueError("later")
        return len(numbers)

    async def main() -> None:
        await become_short(thread)
        assert await thread.run_short("verify_input", 5, spoil, lambda: ([1, 2, 3],), 10) == 2

    asyncio.run(main())


def test_only_user_code_is_interrupted(thread: UserThread) -> None:
    """A function that is not written in Python has no frame: the signal finds `call` itself, as before and after it."""
    assert thread.loop_calls.call("verify_input", time.sleep, 5 * BUDGET) is None


def test_nothing_is_left_of_calls_soon_after_the_last_one(thread: UserThread) -> None:
    for number in range(3):
        assert thread.loop_calls.call("verify_input", str, number) == str(number)
        signal.raise_signal(signal.SIGALRM)  # a tick between two calls
    eventually(lambda: signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), "the timer stops", timeout=2)


def test_no_tick_finds_the_handler_of_user_code(thread: UserThread) -> None:
    """It takes SIGALRM in its thread, where nothing is called on the event loop from then on."""
    thread.loop_calls.call("verify_input", str, 1)
    assert signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(thread.loop_calls.forbid, "it uses signals").result()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_no_tick_is_left_where_user_code_takes_the_signal_just_as_the_timer_is_set(
    thread: UserThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_timer(*arguments: Any) -> None:
        monkeypatch.undo()
        thread.loop_calls.forbid("it uses signals")
        signal.setitimer(*arguments)

    monkeypatch.setattr(signal, "setitimer", set_timer)
    assert thread.loop_calls.call("verify_input", signal.getitimer, signal.ITIMER_REAL) != (0.0, 0.0)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_call_is_interrupted_though_user_code_has_stopped_the_timer(thread: UserThread) -> None:
    def stop() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def hang() -> None:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            pass

    thread.loop_calls.call("verify_input", stop)
    time.sleep(1.5 * _SILENT)
    with pytest.raises(Overdue):
        thread.loop_calls.call("verify_input", hang)


@pytest.fixture(scope="module")
def short(new_service: Callable[..., Service]) -> Service:
    service = new_service(WORKER_CONCURRENCY=1, VERIFY_TIMEOUT=0.5)
    service.start("redis", "api", "denzel")
    service.wait_ready()
    return service


MAIN = "(__import__('threading').current_thread() is __import__('threading').main_thread())"


def verify_in_place(service: Service) -> None:
    """Ask until `verify_input` is called on the main thread."""
    asks = {"verify_input": f"{{'predict': str({{'main': {MAIN}}})}}"}
    eventually(lambda: service.predict(asks).json()["main"], "it is called in place", timeout=60)


def test_a_service_stays_alive_when_a_short_verify_input_hangs(short: Service) -> None:
    service = short
    verify_in_place(service)
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(service.predict, {"verify_input": "time.sleep(60)"})
        longest = 0.0
        while not hanging.done():
            began = time.monotonic()
            assert service.get("/ping").status_code == 200
            longest = max(longest, time.monotonic() - began)
    assert hanging.result().status_code == 503
    assert longest < 5
    assert service.predict({}).status_code == 200


def test_what_a_verify_input_has_changed_in_place_is_not_seen_by_the_second_try(short: Service) -> None:
    verify_in_place(short)
    fails = f"(request.update(n=request['n'] + 1), {MAIN} and throw(ValueError('later')), request)[2]"
    response = short.predict({"verify_input": fails, "predict": "{'n': data['n']}", "n": 1})
    assert response.json() == {"n": 2}
