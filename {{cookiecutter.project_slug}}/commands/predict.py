"""`make predict`: send one of the examples to the running service, show the answer, compare it."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import advice
from commands.client import pretty, printable, send, shown
from commands.project import ROOT, CommandError, api_url, colour, parse_arguments, running_dev, say
from commands.readiness import fetch_ready, indented, worker_states

EXAMPLES = ROOT / "app" / "assets" / "examples"
TOLERANCE = 1e-6  # relative; an example's own "tolerance" goes before it
WAIT = 600.0  # seconds for an asynchronous task
PATIENCE = 3.0  # seconds that a task may wait until it is asked why
_DEEPEST = 300  # levels of an example; the service's answers have fewer
_ENDED = ("SUCCESS", "FAILURE", "REVOKED")
_FORM = '{"request": ..., "response": {...}} or {"request": ..., "error": "the message"}'


def run(arguments: list[str]) -> int:
    """Send the example; 0 if the answer is the one that it expects, 1 if not."""
    name = parse_arguments(arguments, {"EXAMPLE": ""})["EXAMPLE"]
    name, example = read_example(name or _default())
    url = api_url()
    say(f"POST {url}/predict   (app/assets/examples/{name}.json)")
    say(pretty(example["request"]))
    say()
    answer = send(f"{url}/predict", example["request"])
    say(shown(answer))
    document, accepted = answer.json(), _task_id(answer.json())
    if accepted:
        document = _wait(url, f"{url}/status/{accepted}")
    return _judge(example, document, failed=answer.status >= 300)


def names() -> list[str]:
    """The names of the examples."""
    return sorted(path.stem for path in EXAMPLES.glob("*.json"))


def read_example(name: str) -> tuple[str, dict[str, Any]]:
    """An example's name, without a suffix that was typed, and its content.

    Raises:
        CommandError: there is none of this name (the text lists them), or it is not of the form.
    """
    name = name.removesuffix(".json")
    if name not in names():
        raise CommandError(f"There is no example {name!r} in app/assets/examples. {_listed()}")
    path = EXAMPLES / f"{name}.json"
    try:
        example = json.loads(path.read_text(encoding="utf-8"))
        too_deep = _is_deep(example)
    except RecursionError:
        too_deep = True
    except (OSError, ValueError) as error:
        raise CommandError(f"{_relative(path)} cannot be read as JSON: {error}") from None
    if too_deep:
        raise CommandError(f"{_relative(path)} is nested too deep: an example has at most {_DEEPEST} levels.")
    if not isinstance(example, dict) or "request" not in example:
        raise CommandError(f"{_relative(path)} is not an example; it should be {_FORM}.")
    if not _is_tolerance(example.get("tolerance", TOLERANCE)):
        raise CommandError(f'{_relative(path)}: "tolerance" should be a number, 0 or greater.')
    return name, example


def differences(expected: Any, actual: Any, tolerance: float = TOLERANCE, path: str = "$") -> Iterator[str]:
    """Where two JSON values differ, one line each; numbers may differ by the relative tolerance."""
    if _is_number(expected) and _is_number(actual):
        if not math.isclose(expected, actual, rel_tol=tolerance, abs_tol=1e-12):
            yield f"{path}: expected {expected!r}, got {actual!r}"
    elif isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            if key not in actual:
                yield f"{path}.{key}: expected {_short(expected[key])}, but it is missing"
            elif key not in expected:
                yield f"{path}.{key}: not expected, got {_short(actual[key])}"
            else:
                yield from differences(expected[key], actual[key], tolerance, f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(left, right, tolerance, f"{path}[{index}]")
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {_short(expected)}, got {_short(actual)}"


def _default() -> str:
    """The first example that expects an answer."""
    for name in names():
        if "response" in read_example(name)[1]:
            return name
    raise CommandError(f"Which example? make predict EXAMPLE=name. {_listed()}")


def _listed() -> str:
    if found := names():
        return f"There are: {', '.join(found)}"
    return f"There is none yet: each is a file NAME.json in {EXAMPLES.relative_to(ROOT)}/, {_FORM}."


def _task_id(document: Any) -> str | None:
    """The id in an asynchronous answer, None if it is no such answer."""
    if isinstance(document, dict) and document.get("status") == "success" and set(document) == {"status", "data"}:
        data = document["data"]
        if isinstance(data, dict) and set(data) == {"task_id"}:
            return str(data["task_id"])
    return None


def _wait(api: str, url: str) -> Any:
    """Poll /status until the task has ended, show it, and return what /predict would have answered.

    Raises:
        CommandError: it has not ended in time, or waits for a worker whose model does not load.
    """
    say(f"\nGET {url}   until it has ended")
    started, pause, told = time.monotonic(), 0.05, ""
    while True:
        answer = send(url)
        document = answer.json()
        if answer.status != 200 or not isinstance(document, dict):
            raise CommandError(shown(answer))
        if document.get("status") in _ENDED:
            break
        waited = time.monotonic() - started
        if waited > WAIT:
            raise CommandError(f"Still {document.get('status')} after {WAIT:.0f} s. Look again later: curl {url}")
        if waited > PATIENCE and document.get("status") == "PENDING":
            reason = _not_ready(api, url)
            if reason and reason != told:
                say(f"Waiting: {reason}")
                told = reason
        time.sleep(pause)
        pause = min(pause * 1.5, 1.0)
    say(shown(answer))
    result = document.get("result")
    if document["status"] == "SUCCESS":
        return result
    message = (result.get("args") or [""])[0] if isinstance(result, dict) else result
    return {"title": document["status"], "description": message}


def _not_ready(api: str, url: str) -> str:
    """Why no worker takes the task, nothing where one could.

    Raises:
        CommandError: the model does not load; the text has the worker's error.
    """
    document = fetch_ready(api)
    if document is None or document.get("ready"):
        return ""
    for name, state, error in worker_states(document):
        if state == "ERROR":
            raise CommandError(
                f"Worker: {name} - ERROR\n{indented(error or 'See: make logworker')}\n"
                f"{_advice(error)}. "
                f"The request waits until then: curl {url}"
            )
    return str(document.get("reason") or "the worker is not ready")


def _advice(error: str) -> str:
    if running_dev():
        text = advice.for_dev(error) or 'correct it, then end "make dev" and start it again'
    else:
        text = advice.for_containers(error)
    return text[0].upper() + text[1:]


def _judge(example: dict[str, Any], document: Any, failed: bool) -> int:
    """Say whether the answer is the expected one."""
    say()
    if "response" in example:
        found = list(differences(example["response"], document, example.get("tolerance", TOLERANCE)))
    elif "error" in example:
        got = document.get("description", document) if isinstance(document, dict) else document
        found = [] if got == example["error"] else [f"expected the error {example['error']!r}, got {_short(got)}"]
    else:
        say("The example does not say what it expects (response or error).")
        return int(failed)
    if not found:
        say(colour("As the example expects.", "green"))
        return 0
    say("\n".join([colour("Not what the example expects:", "red"), *(f"  {printable(line)}" for line in found[:20])]))
    if isinstance(document, dict) and document.get("title") in ("Error invoking predict", "FAILURE"):
        say("The traceback: make logworker")
    return 1


def _is_deep(value: Any) -> bool:
    """Whether a value is nested deeper than can be handled everywhere."""
    level = [value]
    for _ in range(_DEEPEST + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return False
        level = [item for holder in holders for item in (holder.values() if isinstance(holder, dict) else holder)]
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_tolerance(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= sys.float_info.max


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))
