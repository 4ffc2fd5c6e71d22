"""Which deliveries are under way at a time, so that no receiver keeps others waiting."""

from __future__ import annotations

import time

import pytest

from denzel.callbacks.dispatcher import BROKEN_AFTER, Dispatcher, LeasedCallback, Receiver
from denzel.callbacks.sender import Attempt


def test_connections_left_by_slow_receivers_serve_quick_ones() -> None:
    dispatcher = Dispatcher(connections=40)
    now = time.monotonic()
    quick = dispatcher.receiver("quick")
    quick.learn(Attempt(200, seconds=0.1))
    for number in range(100):
        receiver = dispatcher.receiver(f"slow{number}")
        for index in range(10):
            dispatcher.add(LeasedCallback(f"{number}.{index}", "", receiver, 1, b"", now))
    assert len(dispatcher.start()) == 30
    for index in range(20):
        dispatcher.add(LeasedCallback(f"quick{index}", "", quick, 1, b"", now))
    chosen = dispatcher.start()
    assert {delivery.receiver.name for delivery in chosen} == {"quick"}
    assert len(chosen) == 5, "as many as it has shown to take"
    for delivery in chosen:
        dispatcher.end(delivery)
        quick.learn(Attempt(200, seconds=0.1))
    assert len(dispatcher.start()) == 10, "then more, up to all connections"
    assert dispatcher.start() == []


def test_a_receiver_gets_more_connections_while_it_answers_well() -> None:
    receiver = Receiver("x")

    def room() -> int:
        receiver.active = 0
        while receiver.room:
            receiver.active += 1
        return receiver.active

    assert room() == 4
    for _ in range(200):
        receiver.learn(Attempt(200, seconds=0.1))
    assert room() == 100
    receiver.learn(Attempt(200, seconds=3))
    assert room() == 16, "slow"
    receiver.learn(Attempt(500, "HTTP 500", seconds=0.1))
    assert room() == 50
    for _ in range(BROKEN_AFTER):
        assert not receiver.broken
        receiver.learn(Attempt(error="no answer within 15 s", seconds=15))
    assert receiver.broken
    receiver.learn(Attempt(200, seconds=0.1))
    assert not receiver.broken


def test_large_bodies_are_not_in_memory_all_at_once() -> None:
    dispatcher = Dispatcher()
    for index in range(10):
        receiver = dispatcher.receiver(str(index))
        dispatcher.add(LeasedCallback(str(index), "", receiver, 30 << 20, b"", time.monotonic()))
    chosen = dispatcher.start()
    assert len(chosen) == 2
    dispatcher.undo(chosen)
    assert len(dispatcher.start()) == 2
    huge = Dispatcher()
    huge.add(LeasedCallback("a", "", huge.receiver("x"), 1 << 30, b"", time.monotonic()))
    assert len(huge.start()) == 1


def queue(dispatcher: Dispatcher, name: str, count: int) -> Receiver:
    receiver = dispatcher.receiver(name)
    for index in range(count):
        dispatcher.add(LeasedCallback(f"{name}{index}", "", receiver, 1, b"", time.monotonic()))
    return receiver


def test_long_queues_that_hardly_move_make_room() -> None:
    dispatcher = Dispatcher(connections=1)
    slow, quick = queue(dispatcher, "slow", 1000), queue(dispatcher, "quick", 1000)
    now = time.monotonic() + 2
    quick.ended = 1999
    assert dispatcher.too_long(quick, now) == 0, "it will be through in a second"
    released = dispatcher.relieve(now)
    assert [delivery.id for delivery in released] == [f"slow{index}" for index in range(999, 15, -1)], "the newest"
    assert len(dispatcher.held) == 1016
    queue(dispatcher, "slow", 10)
    assert dispatcher.too_long(slow, now) == 10
    quick.ended = 99
    assert len(dispatcher.relieve(now)) == pytest.approx(10 + 750, abs=20), "with 20 ms each, 5 s are 250"


def test_without_scarcity_queues_may_be_long() -> None:
    dispatcher = Dispatcher(connections=1)
    slow = queue(dispatcher, "slow", 900)
    assert dispatcher.too_long(slow, time.monotonic() + 100) == 0


def test_the_pace_is_that_of_late() -> None:
    receiver = Receiver("x", busy_since=1000.0, ended=10_000)
    assert receiver.pace(1010.0) == pytest.approx(0.001, rel=0.01)
    for second in range(1011, 1101):
        pace = receiver.pace(second)
    assert pace > 2, "it has not moved for 90 s"


def test_callbacks_that_found_a_queue_too_long_come_back_in_time() -> None:
    dispatcher = Dispatcher(connections=1)
    receiver = queue(dispatcher, "x", 100)
    now = time.monotonic() + 1
    receiver.ended = 99
    delays = [dispatcher.break_for(receiver, now) for _ in range(10_000)]
    assert all(2.5 <= delay <= 5 for delay in delays[:300]), "in 5 s the queue will be empty"
    assert 40 < max(delays) <= 60
