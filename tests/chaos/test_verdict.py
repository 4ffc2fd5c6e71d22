"""What a run is judged by: each broken promise is counted as what it is."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.chaos.asked import ACCEPTED, CALLBACK, POLLED, REFUSED, SYNC, UNANSWERED, Asked
from tests.chaos.schedule import Done
from tests.chaos.verdict import Verdict, judge

DATA = {"a": {"number": 1, "text": "one", "seconds": 0}}
GIVEN_UP = {"args": ["the process that ran this task died, 3 times"], "type": "WorkerLostError"}
KILLS = [Done("kill a prediction process", 11.0), Done("kill denzel", 12.0), Done("kill denzel", 13.0)]


def ended(mode: str, status: str = "SUCCESS", result: object = None) -> Asked:
    """A task that was asked for at 10 and ended at 20; rightly, if no result is given."""
    asked = Asked(1, mode, 5, DATA, None, ACCEPTED, "id", 10.0, 20.0, status)
    asked.result = asked.right if result is None else result
    return asked


def verdict(asked: Asked, *bodies: object, done: list[Done] | None = None) -> Verdict:
    callbacks = {"id": [json.dumps(body).encode() for body in bodies]}
    return judge([asked], callbacks, Counter({1: 1}), done or [], [])


def counts(found: Verdict) -> tuple[int, int, int, int]:
    return found.accepted, found.lost, found.wrong, found.given_up


@pytest.mark.parametrize("mode", [SYNC, POLLED])
def test_the_right_answer_is_neither_lost_nor_wrong(mode: str) -> None:
    assert counts(verdict(ended(mode))) == (1, 0, 0, 0)


def test_a_callback_must_come_and_be_right() -> None:
    asked = ended(CALLBACK)
    assert counts(verdict(asked, asked.right)) == (1, 0, 0, 0)
    assert counts(verdict(asked)) == (1, 1, 0, 0)
    assert counts(verdict(asked, {"a": "other"})) == (1, 0, 1, 0)
    twice = verdict(asked, asked.right, asked.right)
    assert (counts(twice), twice.callbacks_repeated) == ((1, 0, 0, 0), 1)


def test_a_task_that_does_not_end_or_is_forgotten_is_lost() -> None:
    assert counts(verdict(ended(POLLED, status=""))) == (1, 1, 0, 0)
    assert counts(verdict(ended(SYNC, status="410"))) == (1, 1, 0, 0)


def test_another_answer_is_wrong() -> None:
    found = verdict(ended(POLLED, result={"a": "other"}), done=[Done("freeze redis", 11.5)])
    assert counts(found) == (1, 0, 1, 0)
    assert found.problems[0].endswith("; meanwhile: freeze redis after 1.5 s")
    assert found.problems[0] in str(found)


def test_a_failure_is_wrong_unless_the_kills_of_its_time_explain_it() -> None:
    asked = ended(CALLBACK, "FAILURE", GIVEN_UP)
    body = {"status": "FAILURE", "result": GIVEN_UP}
    assert counts(verdict(asked, body, done=KILLS)) == (1, 0, 0, 1)
    assert counts(verdict(asked, body, done=KILLS[:2])) == (1, 0, 1, 0)
    assert counts(verdict(asked, body, done=[*KILLS[:2], Done("kill redis", 15.0)])) == (1, 0, 1, 0)
    assert counts(verdict(asked, body, done=[*KILLS[:2], Done("kill denzel", 25.0)])) == (1, 0, 1, 0)
    assert counts(verdict(ended(POLLED, "FAILURE", {"args": ["no"]}), done=KILLS)) == (1, 0, 1, 0)


def test_what_was_not_accepted_promises_nothing() -> None:
    refused = judge([Asked(1, SYNC, 5, DATA, None, REFUSED)], {}, Counter(), [], [])
    unanswered = judge([Asked(1, SYNC, 5, DATA, None, UNANSWERED)], {}, Counter(), [], [])
    assert (counts(refused), refused.refused) == ((0, 0, 0, 0), 1)
    assert (counts(unanswered), unanswered.unanswered) == ((0, 0, 0, 0), 1)
    assert counts(verdict(Asked(1, SYNC, 5, DATA, None, "500 {}"))) == (0, 0, 1, 0)


def test_a_recovery_takes_until_a_request_that_was_sent_after_it_is_answered() -> None:
    done = [Done("kill api", 10.0), Done("kill redis", 11.0), Done("kill api", 20.0)]
    successes = [(9.0, 10.5), (10.2, 14.0), (11.5, 13.0), (20.5, 20.7)]
    found = judge([], {}, Counter(), done, successes)
    assert found.slowest == pytest.approx(3.0)
    assert found.times == {"kill api": 2, "kill redis": 1}
    assert found.undisturbed == {"kill api": pytest.approx(0.7), "kill redis": pytest.approx(2.0)}
