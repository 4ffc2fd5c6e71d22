"""`make bench`: how much the running service can take, measured with the project's own examples.

The load grows step by step: 1, 2, 4, ... connections, on each of which one request follows the other. It ends when
two steps in a row have brought hardly any more throughput, when errors appear, or at MAX connections. The load comes
from Locust, which runs in `.venv` (commands/service/load.py); here is what needs nothing but Python: what is sent, and
what the measurements mean.
"""

from __future__ import annotations

import ast
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from commands.local.install import ensure_installed
from commands.shared import examples
from commands.shared.arguments import parse_arguments, positive_number
from commands.shared.env import read_env
from commands.shared.examples import FOLDER, TOLERANCE, BadExample, differences
from commands.shared.http import send, shown
from commands.shared.project import ROOT, CommandError
from commands.shared.readiness import fetch_ready
from commands.shared.running import api_url
from commands.shared.screen import warn

# A step counts as progress when its throughput rises by this part; without any for so many steps the load is enough.
RISE = 0.05
PATIENCE = 2
MOST = 10_000  # connections


@dataclass(frozen=True)
class Example:
    """A request to send, and the status that its answer must have."""

    name: str
    body: str
    status: int
    ids: int


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        seconds: how long a step takes, longer where answers are slow.
        most: the most connections.
        wait: seconds that a request may take.
    """

    url: str
    examples: list[Example]
    seconds: float
    most: int
    wait: float

    def to_json(self) -> str:
        """The plan as text, for the process that carries it out."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what `to_json` has written."""
        values = json.loads(text)
        return cls(**{**values, "examples": [Example(**example) for example in values["examples"]]})


@dataclass(frozen=True)
class Step:
    """What was measured at one load.

    Attributes:
        rate: answers per second, those with errors left out.
        p50, p99: milliseconds that half of the answers took at most, and 99 of 100.
        errors: how often each kind occurred.
        load: how much of a core the sending of the requests took.
    """

    connections: int
    rate: float
    p50: float
    p99: float
    errors: dict[str, int] = field(default_factory=dict)
    load: float = 0.0


def run(arguments: list[str]) -> int:
    """Become the process that measures; its exit code is 1 when not even one connection is served without errors."""
    options = parse_arguments(arguments, {"DURATION": "5", "EXAMPLE": "", "MAX": "512"})
    seconds = positive_number(options["DURATION"], "DURATION")
    most = _connections(options["MAX"])
    chosen = _choose(options["EXAMPLE"])
    url = api_url()
    _require_ready(url)
    wait = float(read_env().get("MAX_WAIT") or 60)
    plan = Plan(url, [_try(url, example, wait) for example in chosen], seconds, most, wait)
    python = str(ensure_installed(bench=True))
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(python, [python, "-m", "commands.service.load", plan.to_json()])


# ---------------------------------------------------------------------------------------------- what is sent


def _connections(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST:
        raise CommandError(f"MAX must be a number of connections from 1 to {MOST}, not {value!r}.")
    return int(value)


def _choose(name: str) -> list[examples.Example]:
    """The example of this name, else all that expect predictions: a refusal says nothing about the model's speed."""
    folder = ROOT / FOLDER
    try:
        chosen = [
            examples.find_example(folder, found, request_alone=True)
            for found in ([name] if name else examples.names(folder))
        ]
    except BadExample as error:
        raise CommandError(str(error)) from None
    good = chosen if name else [example for example in chosen if example.error is None]
    if not good:
        raise CommandError(
            f"There is no request to send: put one into {FOLDER}, a file NAME.json "
            '{"request": ..., "response": {...}}.'
        )
    return good


def _require_ready(url: str) -> None:
    document = fetch_ready(url)
    if document is None:
        raise CommandError(f"No answer from {url}. See: make status, make logs")
    if not document.get("ready"):
        raise CommandError(f"The service is not ready: {document.get('reason')}. See: make status")


def _try(url: str, example: examples.Example, wait: float) -> Example:
    """Send an example once: its answers shall be as this one, which should be as the example says."""
    name, request = example.name, example.request
    answer = send(f"{url}/predict", request, {"Prefer": f"wait={wait:g}"}, timeout=wait + 30)
    if example.error is None and answer.status != 200:
        hint = f"It takes longer than {wait:g} s (MAX_WAIT).\n" if answer.status == 202 else ""
        raise CommandError(f"The example {name} is not answered with predictions. {hint}{shown(answer)}")
    if example.response is not None:
        tolerance = TOLERANCE if example.tolerance is None else example.tolerance
        if any(differences(example.response, answer.json(), tolerance)):
            warn(f"The answer to the example {name} is not what it expects: make predict EXAMPLE={name}")
    data = request.get("data") if isinstance(request, dict) else None
    return Example(name, json.dumps(request), answer.status, len(data) if isinstance(data, dict) else 1)


# ------------------------------------------------------------------------------------------- what it means


def knee(steps: Sequence[Step]) -> Step:
    """The last step that was worth it: its throughput is higher by RISE than that of any before, without errors."""
    best = steps[0]
    for step in steps[1:]:
        if not step.errors and step.rate >= best.rate * (1 + RISE):
            best = step
    return best


def enough(steps: Sequence[Step]) -> bool:
    """Whether more connections would tell nothing new."""
    return bool(steps[-1].errors) or len(steps) - 1 - steps.index(knee(steps)) >= PATIENCE


def batch_bound(connections: int, ids: int) -> int:
    """MAX_BATCH_SIZE for so many requests at once, of so many ids each: the next power of two."""
    return 1 << max(0, connections * ids - 1).bit_length()


def header() -> str:
    """The head of the table."""
    return f"{'connections':>11}{'requests/s':>13}{'p50 ms':>11}{'p99 ms':>11}{'errors':>9}"


def row(step: Step) -> str:
    """One line of the table."""
    return (
        f"{step.connections:>11}{_number(step.rate):>13}{_number(step.p50):>11}{_number(step.p99):>11}"
        f"{sum(step.errors.values()):>9}"
    )


def advice(plan: Plan, steps: Sequence[Step]) -> list[str]:
    """What the measurements recommend, in lines."""
    best, last = knee(steps), steps[-1]
    if best.errors:
        return ["Nothing can be recommended: there were errors on a single connection.", *_errors(last)]
    lines = [
        f"Recommended: {_count(best.connections, 'client')} at a time, {_number(best.rate)} requests/s "
        f"({_number(best.p50)} ms, 99 of 100 within {_number(best.p99)} ms)."
    ]
    if last.errors:
        lines += [f"More than that is too much: {last.connections} clients get errors.", *_errors(last)]
    elif last is best:
        lines.append(f"Throughput was still rising; go on by: make bench MAX={min(plan.most * 8, MOST)}")
    else:
        lines.append("More clients wait longer and get hardly anything more done.")
    lines += _batch_advice(plan, best)
    if max(step.load for step in steps) > 0.85:
        lines.append(
            "Sending the requests took a whole core by itself: the service can do more than this tool can ask for."
        )
    return lines


def _errors(step: Step) -> list[str]:
    return [f"  {count} x {kind}" for kind, count in sorted(step.errors.items(), key=lambda item: -item[1])[:5]]


def _batch_advice(plan: Plan, best: Step) -> list[str]:
    if not _batchable():
        return ["Batch bound: none is needed, as the pipeline does not declare BATCHABLE = True: one request a call."]
    ids = max(example.ids for example in plan.examples)
    bound, current = batch_bound(best.connections, ids), read_env().get("MAX_BATCH_SIZE") or "512"
    return [
        f"Batch bound: MAX_BATCH_SIZE={bound} holds all that wait together then "
        f"({_count(best.connections, 'request')} of {_count(ids, 'id')}). In .env: {current}."
    ]


def _batchable() -> bool:
    """Whether the pipeline declares BATCHABLE = True; it is read, not run."""
    try:
        tree = ast.parse((ROOT / "app" / "logic" / "pipeline.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return False
    declared = False
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "BATCHABLE" for target in targets):
                declared = node.value.value is True
    return declared


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
