"""What came of a run: the counts, and what must be nought."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.asked import ACCEPTED, CALLBACK, REFUSED, UNANSWERED, Asked
from tests.chaos.schedule import Done

# A task is given up, honestly, when so many processes have died of it alone.
DEATHS = 3

# Callbacks that a receiver has taken: the bodies by task id.
Callbacks = Mapping[str, Sequence[bytes]]


@dataclass
class Verdict:
    """The counts of a run; `problems` says for each lost or wrong task what it is about.

    Attributes:
        lost: accepted tasks that did not end, or were not called back.
        wrong: answers, of whatever kind, that are not the right ones.
        given_up: tasks that ended as failures because their processes were killed three times.
        callbacks_repeated, runs_repeated: accepted tasks that were called back, or run, more than once.
        recoveries: of each kind of disturbance, the seconds from one to the next answer with predictions; None where
            something else was done to the service before that.
        silence: the longest time in which no request was answered with predictions, whatever was done meanwhile.
    """

    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    lost: int = 0
    wrong: int = 0
    given_up: int = 0
    callbacks_repeated: int = 0
    runs_repeated: int = 0
    silence: float = 0.0
    recoveries: dict[str, list[float | None]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def slowest(self) -> float:
        """The slowest recovery."""
        return max(map(_slowest, self.recoveries.values()), default=0.0)

    def __str__(self) -> str:
        counts = {
            "accepted": self.accepted,
            "refused": self.refused,
            "unanswered": self.unanswered,
            "lost": self.lost,
            "wrong": self.wrong,
            "given up": self.given_up,
            "called back more than once": self.callbacks_repeated,
            "run more than once": self.runs_repeated,
            "slowest recovery": f"{self.slowest:.1f} s",
            "longest silence": f"{self.silence:.1f} s",
        }
        lines = [f"  {name:<28}{value:>8}" for name, value in counts.items()]
        lines.append(f"  {'':<28}{'times':>8}{'slowest recovery':>20}")
        lines += [f"  {what:<28}{len(found):>8}{_slowest(found):>18.1f} s" for what, found in self.recoveries.items()]
        return "\n".join(lines + self.problems[:20])


def judge(
    asked: Sequence[Asked],
    callbacks: Callbacks,
    runs: Counter[int],
    done: Sequence[Done],
    successes: Sequence[tuple[float, float]],
) -> Verdict:
    """Count what came of each request, and how quickly the service recovered."""
    verdict = Verdict()
    for one in asked:
        if one.outcome == ACCEPTED:
            _judge_task(verdict, one, callbacks.get(one.task_id, ()), done)
            verdict.accepted += 1
            verdict.runs_repeated += runs[one.number] > 1
            verdict.callbacks_repeated += len(callbacks.get(one.task_id, ())) > 1
        elif one.outcome == REFUSED:
            verdict.refused += 1
        elif one.outcome == UNANSWERED:
            verdict.unanswered += 1
        else:
            verdict.wrong += 1
            verdict.problems.append(f"request {one.number} ({one.mode}) was answered: {one.outcome}")
    _judge_recovery(verdict, done, successes)
    return verdict


def _judge_task(verdict: Verdict, asked: Asked, bodies: Sequence[bytes], done: Sequence[Done]) -> None:
    """Count an accepted task as lost, as wrong, as given up, or as right."""

    def report(what: str) -> None:
        verdict.problems.append(f"task {asked.task_id} (request {asked.number}, {asked.mode}): {what}")

    if asked.status == "SUCCESS":
        ends_right = asked.result == asked.right
        is_right: Callable[[bytes], bool] = lambda body: json.loads(body) == asked.right  # noqa: E731
    else:
        ends_right = asked.status == "FAILURE" and _was_given_up(asked, done)
        is_right = lambda body: json.loads(body)["status"] == "FAILURE"  # noqa: E731
        verdict.given_up += ends_right
    if asked.status not in ("SUCCESS", "FAILURE"):
        verdict.lost += 1
        report(f"did not end; /status: {asked.status or 'not ended'}")
    elif not ends_right:
        verdict.wrong += 1
        report(f"ended as {asked.status} with {asked.result!r}, not {asked.right!r}")
    elif asked.mode == CALLBACK and not bodies:
        verdict.lost += 1
        report("was not called back")
    elif not all(map(is_right, bodies)):
        verdict.wrong += 1
        report(f"was called back with {bodies!r}")


def _was_given_up(asked: Asked, done: Sequence[Done]) -> bool:
    """Whether a task may have ended as a failure: only because processes were killed in its time."""
    kills = sum(each.kills and asked.sent - 5 < each.hit < asked.ended for each in done)
    return kills >= DEATHS and f"died, {DEATHS} times" in json.dumps(asked.result)


def _judge_recovery(verdict: Verdict, done: Sequence[Done], successes: Sequence[tuple[float, float]]) -> None:
    """How quickly the service recovered from each disturbance: only a request that was sent after it proves that."""
    ends = [each.hit for each in done[1:]] + [float("inf")]
    for disturbance, next_one in sorted(zip(done, ends, strict=True), key=lambda pair: pair[0].what):
        answered = min((answered for sent, answered in successes if sent >= disturbance.hit), default=float("inf"))
        seconds = answered - disturbance.hit if answered <= next_one else None
        verdict.recoveries.setdefault(disturbance.what, []).append(seconds)
    answers = sorted(answered for _, answered in successes)
    verdict.silence = max((later - earlier for earlier, later in pairwise(answers)), default=0.0)


def _slowest(recoveries: Sequence[float | None]) -> float:
    return max((seconds for seconds in recoveries if seconds is not None), default=0.0)
