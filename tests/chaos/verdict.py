"""What came of a run: the counts, and what must be nought."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

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
        slowest: the slowest recovery: seconds from a disturbance to the next answer with predictions, even where the
            service was disturbed again before that.
        times: how often each kind of disturbance was done.
        undisturbed: of each kind, the slowest recovery that nothing came between; None where something always did.
    """

    accepted: int = 0
    refused: int = 0
    unanswered: int = 0
    lost: int = 0
    wrong: int = 0
    given_up: int = 0
    callbacks_repeated: int = 0
    runs_repeated: int = 0
    slowest: float = 0.0
    times: Counter[str] = field(default_factory=Counter)
    undisturbed: dict[str, float | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

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
        }
        lines = [f"  {name:<28}{value:>8}" for name, value in counts.items()]
        lines.append(f"  {'':<28}{'times':>8}{'slowest recovery that nothing came between':>45}")
        for what, seconds in sorted(self.undisturbed.items()):
            lines.append(f"  {what:<28}{self.times[what]:>8}{'-' if seconds is None else f'{seconds:.1f} s':>45}")
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
        meanwhile = [f"{each.what} after {each.hit - asked.sent:.1f} s" for each in done if _concerns(each, asked)][:8]
        about = f"task {asked.task_id} (request {asked.number}, {asked.mode}, wait={asked.wait})"
        verdict.problems.append(f"{about}: {what}; meanwhile: {', '.join(meanwhile)}")

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
    kills = sum(each.kills and _concerns(each, asked) for each in done)
    return kills >= DEATHS and f"died, {DEATHS} times" in json.dumps(asked.result)


def _concerns(disturbance: Done, asked: Asked) -> bool:
    """Whether a disturbance fell into a task's time; what came just before may still have had its effect."""
    return asked.sent - 5 < disturbance.hit < (asked.ended or math.inf)


def _judge_recovery(verdict: Verdict, done: Sequence[Done], successes: Sequence[tuple[float, float]]) -> None:
    """How quickly the service recovered from each disturbance: only a request that was sent after it proves that."""
    nexts = [each.hit for each in done[1:]] + [math.inf]
    for disturbance, next_one in zip(done, nexts, strict=False):
        what = disturbance.what
        answered = min((answered for sent, answered in successes if sent >= disturbance.hit), default=math.inf)
        seconds = answered - disturbance.hit
        verdict.slowest = max(verdict.slowest, seconds)
        verdict.times[what] += 1
        verdict.undisturbed.setdefault(what, None)
        if answered <= next_one:
            verdict.undisturbed[what] = max(verdict.undisturbed[what] or 0.0, seconds)
