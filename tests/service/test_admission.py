"""Who is let in when much waits, and when the others are to come again: simulated, and held against the script."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

import pytest
import redis

from denzel import admission
from denzel.admission import Admission, Refused
from denzel.queue import scripts

SPEED, CALL, WAIT = 40.0, 0.05, 5.0
PROCESSES = 2


@dataclass
class Simulated:
    """What came of a simulated load."""

    new: int = 0
    came_again: int = 0
    let_in_again: int = 0
    answered: list[float] = field(default_factory=list)
    late: int = 0
    told: list[tuple[float, int]] = field(default_factory=list)


def simulate(load: float, seconds: float, obey: float, clients: int = 0, same: bool = False) -> Simulated:
    """Two processes under an open load of so many times their speed, or under clients that ask again and again."""
    generator, bouncer, found = random.Random(7), Admission(86_400), Simulated()
    events: list[tuple[float, int, str, int, float]] = []
    order = itertools.count()

    def plan(moment: float, what: str, request: int, detail: float) -> None:
        heapq.heappush(events, (moment, next(order), what, request, detail))

    moment, number = 0.0, 0
    while moment < seconds and not clients:
        moment += generator.expovariate(load * SPEED)
        number += 1
        plan(moment, "arrives", number, False)
    for client in range(clients):
        plan(generator.random(), "arrives", client * 1_000_000, False)
    queue: list[tuple[float, int]] = []
    idle = PROCESSES
    while events:
        moment, _, what, request, detail = heapq.heappop(events)
        if moment > seconds:
            break
        if what == "ends":
            idle += 1
            in_time = moment - detail < WAIT
            found.answered += [moment] * in_time
            found.late += not in_time
            if clients:
                plan(moment + 0.001, "arrives", request + 1, False)
        else:
            found.new += not detail
            found.came_again += bool(detail)
            try:
                ahead = 0 if idle else len(queue) + PROCESSES / 2
                bouncer.check(moment, b"same" if same else b"%d" % request, WAIT, ahead, SPEED, CALL)
            except Refused as error:
                found.told.append((moment, error.retry_after))
                if generator.random() < obey:
                    plan(moment + error.retry_after + generator.random() / 50, "arrives", request, True)
                continue
            found.let_in_again += bool(detail)
            queue.append((moment, request))
        while idle and queue:
            came, first = queue.pop(0)
            idle -= 1
            plan(moment + PROCESSES / SPEED * generator.uniform(0.9, 1.1), "ends", first, came)
    return found


@pytest.mark.parametrize(
    ("load", "obey", "clients"),
    [(1.05, 1, 0), (2, 1, 0), (10, 1, 0), (2, 0.1, 0), (10, 0.05, 0), (0, 1, 300), (0, 1, 1000)],
)
def test_nine_of_ten_of_those_who_obey_are_let_in_and_nothing_is_done_in_vain(
    load: float, obey: float, clients: int
) -> None:
    found = simulate(load, 60, obey, clients)
    assert found.came_again > 20
    assert found.let_in_again >= 0.9 * found.came_again
    assert found.late == 0
    assert len(found.answered) >= 0.95 * 60 * SPEED
    assert sum(moment > 30 for moment in found.answered) >= 0.95 * 30 * SPEED


def test_where_nobody_comes_again_nobody_waits_for_those_who_do_not() -> None:
    found = simulate(2, 60, 0)
    assert max(seconds for moment, seconds in found.told if moment > 40) < 10
    assert len(found.answered) >= 0.95 * 60 * SPEED


def test_of_those_with_the_same_request_fewer_are_known() -> None:
    found = simulate(0, 60, 1, clients=300, same=True)
    assert found.let_in_again >= 0.6 * found.came_again
    assert len(found.answered) >= 0.95 * 60 * SPEED


def test_a_task_that_nothing_lies_before_is_let_in_and_so_is_everything_while_no_speed_is_known() -> None:
    Admission(60).check(0, b"", 5, 0, 0.001, 1000)
    Admission(60).check(0, b"", 5, 10**6, 0, 0)
    Admission(60).check(0, b"", 0, 10**6, 0, 0)


def test_where_a_call_takes_longer_than_the_client_waits_the_begin_counts() -> None:
    Admission(60).check(0, b"", 5, 4, 1, 10)
    with pytest.raises(Refused):
        Admission(60).check(0, b"", 5, 5, 1, 10)


def test_asynchronous_tasks_have_a_bound_of_their_own() -> None:
    Admission(60).check(0, b"", 0, 60, 1, 1)
    with pytest.raises(Refused) as refused:
        Admission(60).check(0, b"", 0, 80, 1, 1)
    assert refused.value.retry_after == 26


def test_the_text_says_why() -> None:
    assert admission.why_refused(12.3, 5, False) == "12 s of work wait already, your request waits 5 s at most"
    assert admission.why_refused(90_000, 86_400, True).endswith("86400 s at most may (MAX_WAIT_ASYNC)")


def test_the_script_decides_alike(empty_redis: redis.Redis) -> None:
    """Step by step, on the clock of Redis: the same requests are let in, and the others hear the same."""
    decide = scripts.Script(
        "local got, after = refuse(ARGV[1], ARGV[2], tonumber(ARGV[3]), 60, ARGV[4] / ARGV[5], tonumber(ARGV[5]),"
        " tonumber(ARGV[6]))\nreturn got and after or 0"
    )
    generator, bouncer = random.Random(3), Admission(60)
    for number in range(600):
        request = b"%d" % generator.randrange(400)
        wait, speed, call = generator.choice((0, 2, 5)), generator.choice((3.0, 40.0)), generator.choice((0.05, 3.0))
        ahead = generator.randrange(1, 400)
        told = decide(empty_redis, str(number), request, wait, ahead, speed, call)
        seconds, micro = empty_redis.time()
        try:
            bouncer.check(seconds + micro / 1e6, request, wait, ahead, speed, call)
            expected = 0
        except Refused as error:
            expected = error.retry_after
        assert told == expected, (number, request, wait, ahead, speed, call)
