"""`make predict`: send one of the examples to the running service, show the answer, compare it."""

from __future__ import annotations

import json
import time
from typing import Any

from commands.shared import advice
from commands.shared.arguments import parse_arguments, switch
from commands.shared.http import Response, pretty, printable, send, shown
from commands.shared.project import MARKERS, ROOT, CommandError
from commands.shared.readiness import fetch_ready, indented, worker_states
from commands.shared.running import api_url, running_dev
from commands.shared.screen import colour, say
from commands.shared.waiting import growing, wait_for
from denzel import examples
from denzel.examples import TOLERANCE, BadExample, Example, differences, in_short

EXAMPLES = ROOT / examples.FOLDER
WAIT = 600.0  # seconds for an asynchronous task
PATIENCE = 3.0  # seconds that a task may wait until it is asked why
_END_OF_LOG = 500_000  # bytes in which a message is looked for
_ENDED = ("SUCCESS", "FAILURE", "REVOKED")


def run(arguments: list[str]) -> int:
    """Send the example; 0 if the answer is the one that it expects, 1 if not."""
    options = parse_arguments(arguments, {"EXAMPLE": "", "SAVE": "0"})
    name, save = options["EXAMPLE"], switch(options["SAVE"], "SAVE")
    if save and not name:
        raise CommandError(
            f"Which example is to be saved? make predict EXAMPLE=name SAVE=1. {examples.listed(EXAMPLES)}"
        )
    try:
        example = examples.find_example(EXAMPLES, name, request_alone=True) if name else _default()
    except BadExample as error:
        raise CommandError(str(error)) from None
    url = api_url()
    say(f"POST {url}/predict   ({examples.FOLDER}/{example.name}.json)")
    say(pretty(example.request))
    say()
    answer = send(f"{url}/predict", example.request)
    say(shown(answer))
    document, accepted = answer.json(), _task_id(answer.json())
    if accepted:
        document = _wait(url, f"{url}/status/{accepted}")
    if save:
        return _save(example, document, answer.status)
    return _judge(example, document, answer.status)


def _save(example: Example, document: Any, status: int) -> int:
    """Write the answer into the example's file as what it expects; a tolerance and a description stay."""
    path = EXAMPLES / f"{example.name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if key not in ("response", "error")}
    if not _keepable(document, status):
        raise CommandError("This answer is not saved: it is that of a failure, not of the pipeline's.")
    saved = {"error": document["description"]} if _failed(document, status) else {"response": document}
    first = {"request": kept.pop("request")}
    path.write_text(json.dumps(first | saved | kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        examples.read_example(path)
    except BadExample as problem:
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        raise CommandError(f"The answer cannot be saved: {problem}") from None
    say(f"\nSaved as the expected {next(iter(saved))} of {examples.FOLDER}/{example.name}.json: make test compares it.")
    return 0


def _failed(document: Any, status: int) -> bool:
    return status >= 300 or (isinstance(document, dict) and document.get("title") in _ENDED)


def _keepable(document: Any, status: int) -> bool:
    """Whether an example may expect this: an answer, or a refusal with its message."""
    if status >= 500 or status == 429 or not isinstance(document, dict):
        return False
    return not _failed(document, status) or (status >= 300 and isinstance(document.get("description"), str))


def _default() -> Example:
    """The first example that expects an answer, else one that stands alone."""
    found = [examples.find_example(EXAMPLES, name, request_alone=True) for name in examples.names(EXAMPLES)]
    for example in found:
        if example.response is not None:
            return example
    if len(found) == 1:
        return found[0]
    raise CommandError(f"Which example? make predict EXAMPLE=name. {examples.listed(EXAMPLES)}")


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
    explain_at = time.monotonic() + PATIENCE
    answer: Response

    def look() -> str | None:
        nonlocal answer
        answer = send(url)
        document = answer.json()
        if answer.status != 200 or not isinstance(document, dict):
            raise CommandError(shown(answer))
        if document.get("status") in _ENDED:
            return None
        if document.get("status") == "PENDING" and time.monotonic() >= explain_at:
            return _not_ready(api, url)
        return ""

    wait_for(
        look,
        WAIT,
        lambda _: f"Still {answer.json()['status']} after {WAIT:.0f} s. Look again later: curl {url}",
        pauses=growing(0.05, 1.0, 1.5),
    )
    say(shown(answer))
    document = answer.json()
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
    text = (advice.for_dev(error) or "correct it") if running_dev() else advice.for_containers(error)
    return advice.sentence(text)


def _judge(example: Example, document: Any, status: int) -> int:
    """Say whether the answer is the expected one."""
    say()
    if example.response is not None:
        tolerance = TOLERANCE if example.tolerance is None else example.tolerance
        found = list(differences(example.response, document, tolerance))
    elif example.error is not None:
        got = document.get("description", document) if isinstance(document, dict) else document
        found = [] if got == example.error else [f"expected the error {example.error!r}, got {in_short(got)}"]
    else:
        keep = (
            f" To keep this answer: make predict EXAMPLE={example.name} SAVE=1" if _keepable(document, status) else ""
        )
        say(f"The example does not say what it expects.{keep}")
        _tell_log(document)
        return int(_failed(document, status))
    if not found:
        say(colour("As the example expects.", "green"))
        return 0
    say("\n".join([colour("Not what the example expects:", "red"), *(f"  {printable(line)}" for line in found[:20])]))
    _tell_log(document)
    return 1


def _tell_log(document: Any) -> None:
    """Of an error in the user's code: the command that shows where it was raised."""
    failed_in_code = isinstance(document, dict) and document.get("title") in ("Error invoking predict", "FAILURE")
    if failed_in_code and (command := _command_for_log(str(document.get("description", "")))):
        say(f"The traceback: {command}")


def _command_for_log(message: str) -> str:
    """The command that shows a log with this message; empty where none has it."""
    line = next(iter(message.splitlines()), "")
    logs = dict.fromkeys(sorted((ROOT / "logs").glob("worker.log")), "make logworker")
    logs[MARKERS / "dev.log"] = "make logs"
    for path, command in logs.items():
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _END_OF_LOG))
                if line and line in file.read().decode("utf-8", "replace"):
                    return command
        except OSError:
            continue
    return ""
