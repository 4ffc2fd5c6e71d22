"""What `make bench` sends, what it measures, and what the measurements mean; the process that measures uses it, too."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from commands.shared.env import read_env
from commands.shared.project import ROOT

# A step counts as progress when its throughput rises by this part; PATIENCE steps without any are enough.
RISE = 0.05
PATIENCE = 2
MOST = 10_000  # connections


@dataclass(frozen=True)
class PlannedRequest:
    """A request to send, and the status that its answer must have.

    Attributes:
        name: that of its example.
        body: JSON.
        status: the HTTP status.
        ids: how many the request has predicted.
    """

    name: str
    body: str
    status: int
    ids: int


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        url: the API's.
        requests: sent in turn.
        seconds: how long a step takes, longer where answers are slow.
        most: the most connections.
        wait: seconds that a request may take.
    """

    url: str
    requests: list[PlannedRequest]
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
        return cls(**{**values, "requests": [PlannedRequest(**request) for request in values["requests"]]})


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
    """The MAX_BATCH_SIZE that holds all requests of these connections, with this many ids each: a power of two."""
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
    ids = max(request.ids for request in plan.requests)
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
