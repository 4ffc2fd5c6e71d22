"""One run: load on a service that is disturbed, until everything that was accepted has come to its end."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from tests.chaos.asked import ACCEPTED, CALLBACK
from tests.chaos.form import Form
from tests.chaos.load import Load
from tests.chaos.schedule import Disturbance, disturb
from tests.chaos.verdict import Verdict, judge
from tests.support.http import answers
from tests.support.receivers import Receiver, Reply
from tests.support.waiting import eventually

PIPELINE = Path(__file__).parent / "pipeline.py"
# Seconds that everything together may take to end after the last disturbance: the queue is short, but a callback
# that failed twice waits for half a minute.
SETTLED_WITHIN = 120.0
# Seconds that a disturbance may keep the service from predicting: a lease runs out, processes and models are loaded.
RECOVERED_WITHIN = 30.0
# How far a run is, is said this often (seconds).
SAY_EVERY = 30.0
# The receiver refuses some callbacks, which are then sent again.
REPLIES = [Reply(status=503 if number % 20 == 7 else 200) for number in range(1000)]


class Target(Protocol):
    """A service that runs, and what can be done to it."""

    url: str
    project: Path

    @property
    def disturbances(self) -> Mapping[str, Disturbance]:
        """What can be done to it, by names that say so."""
        ...


def use_pipeline(project: Path, batchable: bool) -> None:
    """Give a project the pipeline whose answers are known."""
    text = PIPELINE.read_text(encoding="utf-8")
    assert text.count("\nBATCHABLE = True\n") == 1
    text = text if batchable else text.replace("\nBATCHABLE = True\n", "\nBATCHABLE = False\n")
    (project / "app/logic/pipeline.py").write_text(text, encoding="utf-8")


def withstand(target: Target, receiver: Receiver, callback_uri: str, form: Form, say: Callable[[str], None]) -> Verdict:
    """Ask and disturb as long as the form says, and say how far it is; what came of it, when all is over."""
    load = Load(target.url, callback_uri, form.seed)
    began = said = time.monotonic()

    def is_enough() -> bool:
        nonlocal said
        now, accepted = time.monotonic(), len(load.accepted)
        if now > said + SAY_EVERY:
            say(f"{(now - began) / 60:.1f} of {form.minutes:g} minutes, {accepted} of {form.tasks} tasks accepted")
            said = now
        return now > began + 60 * form.minutes and accepted >= form.tasks

    with load:
        eventually(lambda: load.successes, "the first predictions")
        done = disturb(target.disturbances, form.seed, is_enough)
        eventually(lambda: answers(f"{target.url}/ready", timeout=10), "the service is ready again", 60)
        last = time.monotonic()
        eventually(lambda: load.successes[-1][0] > last, "it predicts again", RECOVERED_WITHIN)
    deadline = time.monotonic() + SETTLED_WITHIN
    load.follow(SETTLED_WITHIN)
    wanted = {asked.task_id for asked in load.asked if asked.outcome == ACCEPTED and asked.mode == CALLBACK}
    while time.monotonic() < deadline and wanted - taken_by(receiver).keys():
        time.sleep(0.1)
    runs = Counter(int(line) for line in (target.project / "logs/runs.txt").read_text().split())
    return judge(load.asked, taken_by(receiver), runs, done, load.successes)


def require(verdict: Verdict, form: Form) -> None:
    """Fail unless the service has kept its promises, and the run was one."""
    assert (verdict.lost, verdict.wrong) == (0, 0), f"{form}\n{verdict}"
    assert verdict.accepted >= form.tasks, f"{form}\n{verdict}"
    slowest = max((seconds for seconds in verdict.undisturbed.values() if seconds), default=0.0)
    assert slowest < RECOVERED_WITHIN, f"{form}\n{verdict}"


def taken_by(receiver: Receiver) -> dict[str, list[bytes]]:
    """The callbacks that a receiver has not refused: their bodies by task id."""
    taken = defaultdict(list)
    for request in list(receiver.received):
        if request.answered < 300:
            taken[request.task_id].append(request.body)
    return taken
