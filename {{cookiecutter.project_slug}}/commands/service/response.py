"""``make response``: how /predict answers from now on, for every API process, without a restart."""

from __future__ import annotations

from commands.service.control import control, last_line
from commands.shared.arguments import choice, parse_arguments, positive_number
from commands.shared.project import CommandError
from commands.shared.screen import say

_FAILED = "Failed to change response manner"


def run(arguments: list[str]) -> int:
    """Store the setting; when this returns, every later request sees it."""
    values = parse_arguments(arguments, {"MODE": "", "TIMEOUT": ""})
    if not values["MODE"]:
        raise CommandError("Must pass MODE=sync or MODE=async")
    mode = choice(values["MODE"], "MODE", ["sync", "async"])
    if mode == "async" and values["TIMEOUT"]:
        raise CommandError("TIMEOUT goes with MODE=sync only: an asynchronous answer does not wait.")
    timeout = str(_timeout(values["TIMEOUT"] or "5.0"))
    words = ["sync", timeout] if mode == "sync" else ["async"]
    done = control("response", *words)
    if done.returncode != 0:
        raise CommandError(f"{_FAILED}: {last_line(done)}")
    if mode == "sync":
        say(f"Response manner: synchronous, a request waits up to {timeout} seconds for its predictions.")
    else:
        say("Response manner: asynchronous, a request is answered at once with its task id.")
    return 0


def _timeout(value: str) -> float:
    try:
        return positive_number(value, "TIMEOUT")
    except CommandError:
        message = f"Sync timeout must be greater than 0: TIMEOUT is a number of seconds, not {value!r}"
        raise CommandError(message) from None
