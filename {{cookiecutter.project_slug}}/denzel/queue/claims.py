"""A prediction process's side of the queue: it claims tasks, stores how they ended, and waits to be handed the next.

Tasks wait in the list `waiting`. A process that runs some holds them in the set `claims:<token>`; the
token stands for one life of one process, and `alive:<token>` says that it lives.

A process that has just found nothing to do stays for a moment and is listed in `idle`; the next task is claimed
for it in the script that submits the task, and handed over through the list `hand:<token>`. Otherwise a Celery
message wakes a worker. It is only a ticket: which tasks the worker gets is decided when it claims them, so no task
waits behind another while a worker is idle, and a lost or repeated message does no harm. Whenever tasks wait and no
ticket does, `work` and `beat` write one.

Where a pipeline merges requests and its calls are short, `quick` says for some milliseconds that a process will
be back at once and take all that waits: one call for many is cheaper than several small ones at the same time. Then
nobody is woken. Should the process take longer after all, the API's `nudge` wakes another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from denzel.queue.scripts import script
from denzel.queue.ticket import QueueSettings

_WORK = script("work")


@dataclass(slots=True)
class Claimant:
    """A prediction process as the scripts know it.

    Attributes:
        token: this life of this process.
        node: the name that /status shows.
        most: the most tasks to claim at once.
        at_once: as many as this in any case, whatever the other processes could take.
        ratio: how many tasks take as long as the start of a call; with what waits it says how many more to claim.
        quick: it is back at once when it has claimed tasks.
        listed: how it is listed as idle; empty when it is not.
        model: the version of its model; empty where that has none.
        origins: of the tasks claimed last, by id; those without one are missing.
    """

    token: str
    node: str
    most: int = 1
    at_once: int = 1
    ratio: float = 0.0
    quick: bool = False
    listed: str = ""
    model: str = ""
    origins: dict[str, str] = field(default_factory=dict)


# Claimed tasks (id, request), and how many wait still.
Claimed = tuple[list[tuple[str, bytes]], int]


def work(
    client: Any,
    settings: QueueSettings,
    claimant: Claimant,
    ended: Sequence[tuple[Any, ...]],
    most: int | None = None,
    stay: bool = False,
) -> Claimed:
    """Store how tasks ended and claim the next ones.

    Args:
        ended: of each an `EndedTask`; its times may be left out.
        most: the most tasks to claim, if not as the claimant says; -1 while some of those claimed before are still
            to be run.
        stay: if there is nothing to do, the claimant is going to wait to be handed tasks.
    """
    most = claimant.most if most is None else most
    idle = ""
    if stay:
        idle = (
            f"{claimant.token} {claimant.node} {claimant.most} {claimant.at_once} {claimant.ratio} {claimant.quick:d}"
        )
    arguments = [
        claimant.token,
        claimant.node,
        most,
        claimant.at_once,
        claimant.ratio,
        settings.ticket_queue,
        settings.ticket,
        settings.sync_expires,
        settings.expires,
        int(claimant.quick),
        claimant.listed,
        idle,
        claimant.model,
    ]
    for task_id, status, result, message, *times in ended:
        arguments += (task_id, status, result, message, times[0].text if times else "")
    try:
        waiting, *flat = _WORK(client, *arguments)
    except BaseException:
        claimant.listed = idle or claimant.listed  # it may have been done, though the answer never came
        raise
    ids = [task_id.decode() for task_id in flat[::3]]
    if most >= 0:
        claimant.listed = "" if flat else idle
        origins = zip(ids, flat[2::3], strict=True)
        claimant.origins = {task_id: origin.decode() for task_id, origin in origins if origin}
    return list(zip(ids, flat[1::3], strict=True)), waiting


def handed_over(claimant: Claimant, handed: bytes) -> Claimed:
    """What an idle process was handed: an element of its list."""
    claimant.listed = ""
    waiting, *lines = handed.split(b"\n")
    tasks = [line.split(b" ", 2) for line in lines]
    claimant.origins = {task_id.decode(): origin.decode() for task_id, origin, _ in tasks if origin != b"-"}
    return [(task_id.decode(), request) for task_id, _, request in tasks], int(waiting)
