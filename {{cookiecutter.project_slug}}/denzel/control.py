"""Commands that talk to a running service, called by the Makefile inside the api container (or in `make dev`).

python -m denzel.control response sync [SECONDS]
python -m denzel.control response async
python -m denzel.control dead                    the tasks that were given up
python -m denzel.control replay ID|all           run them again
python -m denzel.control redeliver ID            send a callback again
python -m denzel.control ingest                  queue the ingesting of app/training.py
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import RedisError

from denzel.queue import given_up, keys, owner
from denzel.settings import SettingsError, get_settings

USAGE = (__doc__ or "").partition("\n\n")[2].rstrip()

# Characters that are listed of a request.
SHOWN = 2000


class CommandError(Exception):
    """The command cannot be carried out; the message says why, in one line."""


def set_response(client: Any, mode: str, timeout: str = "") -> str:
    """Change the live response setting; every request that comes after this returns sees it."""
    if get_settings().executor == "inline":
        raise CommandError("With EXECUTOR=inline the setting is SYNC_TIMEOUT in .env (0 = asynchronous); then restart")
    if mode not in ("sync", "async"):
        raise CommandError(f"MODE must be sync or async, not {mode!r}")
    seconds = 0.0
    if mode == "sync":
        try:
            seconds = float(timeout or "5.0")
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= 86_400:
            raise CommandError("Sync timeout must be greater than 0 (and at most 86400 seconds)")
    elif timeout:
        raise CommandError("TIMEOUT goes with MODE=sync only")
    client.set(keys.RESPONSE, str(seconds))
    return f"Responses are synchronous, with a timeout of {seconds:g} s" if seconds else "Responses are asynchronous"


def list_dead(client: Any) -> str:
    """The tasks that were given up, each with its request."""
    lines = []
    for task_id, status, request in given_up.dead(client):
        ended = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status["ended"]))
        reason = ", ".join(str(value) for value in status["result"]["args"])
        shown = request if len(request) <= SHOWN else f"{request[:SHOWN]}... ({len(request)} characters)"
        lines += [f"{task_id}  {ended}  {reason}", f"    {shown}"]
    if not lines:
        return "No task was given up"
    return "\n".join([*lines, 'Run them again with "make replay ID=..." (or ID=all)'])


def replay(client: Any, task_id: str) -> str:
    """Queue one task again that was given up, or all of them."""
    ids = [known for known, _, _ in given_up.dead(client)] if task_id == "all" else [task_id]
    replayed = sum(given_up.replay(client, known) for known in ids)
    if not replayed and task_id != "all":
        raise CommandError(f"There is no task {task_id!r} to run again; `make dead` lists them")
    return f"{replayed} task{'' if replayed == 1 else 's'} queued again"


def redeliver(client: Any, task_id: str) -> str:
    """Send a task's callback again."""
    from denzel.queue.callbacks import redeliver as send_again

    problems = {
        "unknown": f"There is no task {task_id!r}",
        "no callback": f"Task {task_id} has no callback",
        "not ended": f"Task {task_id} has not ended yet; its callback comes by itself",
    }
    answer = send_again(client, task_id)
    if answer in problems:
        raise CommandError(problems[answer])
    return f"The callback of {task_id} is sent again"


def ingest(client: Any) -> str:
    """Queue the ingesting of the user's data."""
    from denzel.pipeline.loading import import_training
    from denzel.queue import ingesting

    if not callable(getattr(import_training(), "ingest", None)):
        raise CommandError(
            "There is nothing to ingest yet: write ingest(start) into app/training.py, a generator that yields "
            "(done, total) after each part, as README.md says (Training)"
        )
    task_id, new = ingesting.begin(client)
    how = "Queued" if new else "It is queued or runs already"
    return f"{how}: {task_id}. How far it is: make status"


COMMANDS: dict[str, tuple[Callable[..., str], int, int]] = {
    "response": (set_response, 1, 2),
    "dead": (list_dead, 0, 0),
    "replay": (replay, 1, 1),
    "redeliver": (redeliver, 1, 1),
    "ingest": (ingest, 0, 0),
}


def main(arguments: list[str]) -> int:
    """Run one command; 0 when it worked, else 1 with one line on stderr."""
    command, fewest, most = COMMANDS.get(arguments[0] if arguments else "", (None, 0, 0))
    if command is None or not fewest <= len(arguments) - 1 <= most:
        print(USAGE, file=sys.stderr)
        return 1
    try:
        if get_settings().executor == "inline" and command is not set_response:
            raise CommandError("With EXECUTOR=inline tasks live in the API's process: nothing can be run or sent again")
        client = redis.Redis.from_url(
            get_settings().redis_url, redis_connect_func=owner.connected, socket_timeout=2, socket_connect_timeout=2
        )
        print(command(client, *arguments[1:]))
    except (CommandError, SettingsError, owner.OtherProjectError) as error:
        print(error, file=sys.stderr)
        return 1
    except (RedisError, OSError):
        failed = "Failed to change the response setting" if arguments[0] == "response" else "Failed"
        print(f"{failed}: Redis does not answer (see `make status`)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
