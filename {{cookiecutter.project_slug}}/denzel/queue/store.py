"""The API's side of the queue: tasks are submitted, looked up, cancelled; their waits end.

The record of a task is the hash `task:<id>`: status (Celery's state names), mode (sync, async, or poll after a
wait that ran out), request (JSON, until the task ends), beside (1: that is large, and lies under a name of its own:
`large.py`), result (JSON), message (a failure's, JSON), callback_uri, reply_to, until (unix seconds to which its client
waits, if that is long), kept (1: however it is answered, its result lives as long as an asynchronous one), accepted,
started, ended (unix seconds), waits (bytes of the request, while that waits or will again), worker and token (who runs
it), handed (1: it was claimed for a process that had not asked just then), model (the version of the one that
answered), origin (where it comes from: `denzel.origin`), verify
(microseconds of verify_input), times (microseconds of its call, and how many tasks that had: `denzel.timings`),
attempts (starts), deaths (processes that died of it alone), losses (the same where the whole container was gone), alone
(1: never again together with others), callback (JSON, how its delivery stands). A record has no expiry until its task
ends: nothing accepted is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from denzel.executor import IDEMPOTENCY_EXPIRES, mark_of
from denzel.queue import keys, large
from denzel.queue.scripts import script
from denzel.queue.ticket import QueueSettings
from denzel.record import CANCELLED, FINAL, Ending, status_body
from denzel.timings import UNKNOWN, CallTimes

_SUBMIT = script("submit")
_NUDGE = script("nudge")
_WITHDRAW = script("withdraw")
_DETACH = script("detach")
_CANCEL = script("cancel")
_PROMOTE = script("promote")
_RECORD = script("record")
_UNLIST = script("unlist")
_UNBIND = script("unbind")


class Submitted(NamedTuple):
    """What became of tasks that were submitted.

    Attributes:
        live: the live response setting in seconds, 0 means asynchronous.
        waiting: how many tasks wait now.
        tickets: how many tickets it takes; they are written already unless they travel through another broker.
        held_back: nobody was woken, as a process will be back at once; `nudge` has to make sure.
        refused: the ids of those for which there was no room; of each the seconds of work that wait before it (None:
            as many tasks wait as may, or as many bytes), and the whole seconds after which its client should try again
            (0: Redis has lost the request).
    """

    live: float
    waiting: int
    tickets: int
    held_back: bool
    refused: Mapping[str, tuple[float | None, int]] = MappingProxyType({})


async def submit(
    client: Any,
    settings: QueueSettings,
    tasks: Sequence[Any],
    max_queue: int,
    default_timeout: float,
    max_wait_async: float = 1e9,
    max_queue_bytes: int = 10**15,
) -> Submitted:
    """Store tasks (a `Task` each) and wake workers for them.

    A large request is empty here, and was put beside the record before. The idempotency key of a task that is accepted
    stays from now on.
    """
    arguments: list[Any] = [max_queue, max_queue_bytes, max_wait_async, default_timeout]
    arguments += (settings.ticket_queue, settings.ticket, IDEMPOTENCY_EXPIRES)
    for task in tasks:
        kept = (task.mark or task.id) if task.kept else ""
        arguments += (task.id, task.request, task.mode, task.callback_uri or "", task.reply_to, kept)
        arguments += (task.wait or 0, task.fault, task.origin, _microseconds(task.verify))
    live, waiting, tickets, held_back, *refused = await _SUBMIT.call(client, *arguments)
    told = {
        task_id.decode(): (float(expected) if expected else None, after)
        for task_id, expected, after in zip(refused[::3], refused[1::3], refused[2::3], strict=True)
    }
    return Submitted(float(live), waiting, tickets, bool(held_back), told)


class EndedDirectly(NamedTuple):
    """A task that was handed over directly (a `Given`), and has ended; that in unix seconds."""

    given: Any
    ending: Ending
    ended: float
    node: str
    model: str = ""
    times: CallTimes = UNKNOWN


async def promote(client: Any, settings: QueueSettings, given: Any, reply_to: str, takes_long: bool) -> int:
    """Let a task that a process was given directly (a `Given`) be known like one that the process has claimed.

    Args:
        takes_long: it runs for so long that what the process was handed through the queue meanwhile goes elsewhere.

    Returns how many tickets it takes for what the process was handed through the queue meanwhile.
    """
    link, request = given.link, given.request
    if large.is_large(request):
        await large.put(client, given.id, request)
        request = b""
    arguments = [given.id, request, reply_to, given.accepted, given.accepted, link.node, link.token]
    arguments += (settings.ticket_queue, settings.ticket, int(takes_long), given.origin, _microseconds(given.verify))
    return await _PROMOTE.call(client, *arguments)


async def unlist(client: Any, token: str) -> None:
    """Hand nothing any more to a process that has ended."""
    await _UNLIST.call(client, token)


async def record(client: Any, settings: QueueSettings, tasks: Sequence[EndedDirectly]) -> None:
    """Write how tasks ended that were handed over directly."""
    arguments: list[Any] = [settings.sync_expires, settings.expires]
    for task in tasks:
        status, result, message = task.ending
        given = task.given
        arguments += (given.id, status, result, message, given.accepted, given.accepted, task.ended, task.node)
        arguments += (task.model, task.times.text, given.origin, _microseconds(given.verify))
    await _RECORD.call(client, *arguments)


def _microseconds(seconds: float | None) -> int | str:
    """As a record holds them; empty: not known."""
    return "" if seconds is None else int(seconds * 1e6)


async def nudge(client: Any, settings: QueueSettings) -> tuple[int, bool]:
    """Wake workers for tasks that were held back, unless a process is still quick.

    Returns: how many tickets it takes, and whether tasks are still held back.
    """
    tickets, held_back = await _NUDGE.call(client, settings.ticket_queue, settings.ticket)
    return tickets, bool(held_back)


async def withdraw(client: Any, settings: QueueSettings, task_ids: Sequence[str]) -> None:
    """Nobody waits for these tasks any longer: those that have not begun, and were promised to nobody, are REVOKED."""
    result = b'{"args":["its client has gone"],"type":"TaskRevokedError"}'
    message = b'"The client has gone."'
    await _WITHDRAW.call(client, settings.sync_expires, settings.expires, result, message, *task_ids)


async def detach(client: Any, settings: QueueSettings, task_id: str) -> list[bytes] | None:
    """A wait ran out: what `ending` tells if the task ended meanwhile, else None: it is polled from now."""
    return await _DETACH.call(client, task_id, settings.expires) or None


async def cancel(client: Any, settings: QueueSettings, task_id: str) -> str | None:
    """Cancel a task: the status it had, None when unknown; it is REVOKED now unless it had ended."""
    _, result, message = CANCELLED
    status = await _CANCEL.call(client, task_id, settings.sync_expires, settings.expires, result, message)
    return status.decode() if status else None


async def reserve(client: Any, key: str, digest: str, task_id: str, accepted: bool = False) -> tuple[str, str]:
    """Bind a client's idempotency key to a task id, unless it is bound already; the id and the digest it has now.

    It is bound for a moment, which ends by itself should the task never get here; that of an accepted one, for a day.
    """
    name = keys.IDEMPOTENCY + mark_of(key)
    await client.set(name, f"{task_id} {digest}", nx=True, ex=IDEMPOTENCY_EXPIRES if accepted else keys.UNACCEPTED)
    bound = await client.get(name)
    known_id, _, known_digest = (bound.decode() if bound else f"{task_id} {digest}").partition(" ")
    return known_id, known_digest


async def release(client: Any, key: str, task_id: str) -> None:
    """Unbind a client's idempotency key from a task that was refused; not where it has a record after all."""
    await _UNBIND.call(client, mark_of(key), task_id)


async def ending(client: Any, task_id: str) -> list[bytes] | None:
    """Status, result, message, model and times of a task that has ended and that somebody may wait for, else None."""
    *found, mode = await client.hmget(keys.TASK + task_id, "status", "result", "message", "model", "times", "mode")
    return found if found[0] and found[0].decode() in FINAL and mode != b"async" else None


async def status(client: Any, task_id: str) -> dict[str, Any] | None:
    """The body of /status, None when the task is unknown."""
    record = await client.hgetall(keys.TASK + task_id)
    return status_body(record) if record.get(b"status") else None


async def response_timeout(client: Any, default: float) -> float:
    """The live response setting in seconds; 0 means asynchronous."""
    return parse_response(await client.get(keys.RESPONSE), default)


def parse_response(value: Any, default: float) -> float:
    """The live response setting, as Redis holds it, in seconds; what is no number of seconds counts as not set."""
    if value is None:
        return default
    try:
        seconds = float(value)
    except ValueError:
        return default
    return seconds if 0 <= seconds < 1e9 else default
