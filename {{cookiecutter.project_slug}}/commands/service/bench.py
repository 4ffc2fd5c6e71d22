"""`make bench`: how much the running service can take, measured with the project's own examples.

The load grows step by step: 1, 2, 4, ... connections, on each of which one request follows the other. It ends when
two steps in a row have brought hardly any more throughput, when errors appear, or at MAX connections. The load comes
from Locust, which runs in `.venv` (commands/service/load.py); here is what needs nothing but Python: what is sent, and
what the measurements mean.
"""

from __future__ import annotations

import json
import os
import sys

from commands.local.install import ensure_installed
from commands.service.bench_figures import MOST, Plan, PlannedRequest
from commands.shared.arguments import parse_arguments, positive_number
from commands.shared.env import read_env
from commands.shared.http import send, shown
from commands.shared.project import ROOT, CommandError
from commands.shared.readiness import fetch_ready
from commands.shared.running import api_url
from commands.shared.screen import warn
from denzel import examples
from denzel.examples import FOLDER, TOLERANCE, BadExample, Example, differences


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


def _connections(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST:
        raise CommandError(f"MAX must be a number of connections from 1 to {MOST}, not {value!r}.")
    return int(value)


def _choose(name: str) -> list[Example]:
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


def _try(url: str, example: Example, wait: float) -> PlannedRequest:
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
    return PlannedRequest(name, json.dumps(request), answer.status, len(data) if isinstance(data, dict) else 1)
