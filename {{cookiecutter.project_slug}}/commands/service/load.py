"""Carries out the plan of `make bench`: sends the requests by Locust, shows the figures as they come, draws them.

Runs in `.venv`, as a process of its own: Locust replaces the standard library's sockets by gevent's.
"""

from __future__ import annotations

import locust  # first, as it must replace the sockets before anything else takes them

# isort: split

import itertools
import json
import logging
import math
import os
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from commands.service.bench_figures import Plan, Step, advice, enough, header, knee, row
from commands.shared import client_key
from commands.shared.project import MARKERS, ROOT
from commands.shared.screen import say

PLOT = MARKERS / "bench.svg"

# A step runs for this part of its time before it counts: connections are made, batches find their size.
WARM_UP = 0.2
# Where answers are slow, a step goes on until ANSWERS have come, but for LONGEST seconds at the most.
ANSWERS, LONGEST = 40, 60.0


def main(arguments: Sequence[str]) -> int:
    """Measure, recommend, draw; 1 when not even one connection was served without errors."""
    plan = Plan.from_json(arguments[0])
    logging.getLogger().addHandler(logging.NullHandler())  # what Locust would say is said here, in other words
    gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)
    say(f"POST {plan.url}/predict   ({', '.join(request.name for request in plan.requests)})")
    say("The load comes from this machine as well: asked from another one, the service may do more.\n")
    say(header())
    steps: list[Step] = []
    try:
        with Load(plan) as load:
            for connections in rising(plan.most):
                steps.append(load.step(connections))
                say(row(steps[-1]))
                if enough(steps):
                    break
    except KeyboardInterrupt:
        say()
        return 130
    say()
    for line in advice(plan, steps):
        say(line)
    if knee(steps).errors:
        return 1
    draw(steps, PLOT)
    say(f"Plot of latency against throughput: {PLOT.relative_to(ROOT)}")
    return 0


def rising(most: int) -> Iterator[int]:
    """1, 2, 4, ... up to the most, which is the last."""
    number = 1
    while number < most:
        yield number
        number *= 2
    yield most


class Load:
    """Clients that send the plan's requests in turn, each its next one when it has the answer."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._times = array("d")  # milliseconds of each answer since the measurement began
        self._errors: Counter[str] = Counter()
        environment = Environment(user_classes=[_client(plan)])
        environment.events.request.add_listener(self._record)
        self._runner = environment.create_local_runner()

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.quit()

    def _record(self, response_time: float, exception: Exception | None, **_: Any) -> None:
        if exception:
            self._errors[str(exception)] += 1
        else:
            self._times.append(response_time)

    def step(self, connections: int) -> Step:
        """Measure at this load, which must not be smaller than the last one."""
        self._runner.start(connections, spawn_rate=connections)
        while self._runner.user_count < connections:
            gevent.sleep(0.01)
        gevent.sleep(self._plan.seconds * WARM_UP)
        self._times, self._errors = array("d"), Counter()
        began, cpu = time.perf_counter(), time.process_time()
        while True:
            gevent.sleep(min(0.2, self._plan.seconds / 10))
            seconds = time.perf_counter() - began
            ended = len(self._times) + self._errors.total()
            if seconds >= self._plan.seconds and (ended >= ANSWERS or seconds >= LONGEST):
                break
            _progress(f"{connections:>11}  {seconds:.0f} s ...")
        times, errors = sorted(self._times), dict(self._errors)
        load = (time.process_time() - cpu) / seconds
        _progress("")
        return Step(connections, len(times) / seconds, _part(times, 0.50), _part(times, 0.99), errors, load)


def _client(plan: Plan) -> type[locust.User]:
    """The class of clients, each with a connection of its own that is kept open."""
    requests = itertools.cycle(plan.requests)
    headers = {"Content-Type": "application/json", "Prefer": f"wait={plan.wait:g}", **client_key.headers()}

    class Client(locust.FastHttpUser):
        host = plan.url
        wait_time = locust.constant(0)
        network_timeout = connection_timeout = plan.wait + 30

        @locust.task
        def predict(self) -> None:
            request = next(requests)
            with self.client.post("/predict", data=request.body, headers=headers, catch_response=True) as answer:
                if answer.status_code == request.status:
                    answer.success()
                else:
                    answer.failure(_kind(answer))

    return Client


def _kind(answer: Any) -> str:
    """What is wrong with an answer, in words that are the same for all that have it."""
    if not answer.status_code:
        return f"no answer: {type(answer.error).__name__}"
    if answer.status_code == 202:
        return "202 not answered within MAX_WAIT"
    try:
        document = json.loads(answer.content)
        return f"{answer.status_code} {document['title']}"
    except (ValueError, TypeError, KeyError):
        return str(answer.status_code)


def _part(times: Sequence[float], part: float) -> float:
    """The time within which this part of the (sorted) answers came."""
    return times[math.ceil(len(times) * part) - 1] if times else math.nan


def _progress(text: str) -> None:
    """Show where it is at, on a line that the next text replaces; nothing where nobody watches."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\033[K{text}")
        sys.stdout.flush()


def draw(steps: Sequence[Step], path: Path) -> None:
    """Draw the latencies of the steps against their throughput, as SVG."""
    os.environ.setdefault("MPLCONFIGDIR", str(MARKERS / "matplotlib"))  # its cache of fonts
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    steps = [step for step in steps if step.rate > 0]  # one without an answer has no place on these axes
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplots()
    rates = [step.rate for step in steps]
    for name, times in (("p50", [step.p50 for step in steps]), ("p99", [step.p99 for step in steps])):
        axes.plot(rates, times, "o-", label=name)
    for step in steps:  # at the lower of the two lines, on the side where neither goes on
        place = {"xytext": (6, -5), "textcoords": "offset points", "ha": "left", "va": "top", "fontsize": 9}
        axes.annotate(str(step.connections), (step.rate, step.p50), **place)
    best = knee(steps)
    axes.axvline(best.rate, color="grey", linestyle=":", label=f"recommended: {best.connections} connections")
    axes.set(title="Latency against throughput; the numbers at the points are connections")
    axes.set(xlabel="requests/s", ylabel="milliseconds", xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, format="svg")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
