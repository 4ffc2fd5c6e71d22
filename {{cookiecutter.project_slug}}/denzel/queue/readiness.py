"""Whether anybody can answer: the body of /ready, and why a client need not wait, from the workers' heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from denzel.executor import NotTaken, Unavailable
from denzel.queue import keys

# What /ready tells of each worker, besides its name and state.
_SHOWN = (
    "error",
    "processes",
    "busy",
    "started",
    "loaded",
    "reloads",
    "reloading",
    "replaced",
    "reload_error",
    "memory",
    "memory_free",
)
# Seconds between two looks at the workers.
_LOOK_EVERY = 1.0


def body(waiting: int, nodes: Sequence[dict[str, Any]], ingest: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of /ready.

    Args:
        waiting: the number of tasks that wait.
        nodes: the heartbeats, each with its name and age.
        ingest: the last ingesting, if there was one.
    """
    workers = []
    for node in nodes:
        state = node["state"] if node["age"] <= keys.STALE else "UNAVAILABLE"
        workers.append({"name": node["name"], "state": state, **{key: node.get(key) for key in _SHOWN}})
        if node.get("model_version"):
            workers[-1]["model_version"] = node["model_version"]
    states = [worker["state"] for worker in workers]
    if "UP" in states:
        reason = None
    elif "ERROR" in states:
        failed = workers[states.index("ERROR")]
        reason = f"{failed['name']}: {failed['error']}"
    elif "LOADING" in states or not states:
        reason = "the model is loading" if states else "no worker has come up yet"
    else:
        reason = "no worker answers; look at `make logs SERVICE=denzel`"
    found = {"ready": reason is None, "reason": reason, "workers": workers, "queue": waiting}
    told = [worker["model_version"] for worker in workers if worker["state"] == "UP" and "model_version" in worker]
    if told:
        found["model_version"] = ", ".join(sorted({version for text in told for version in text.split(", ")}))
    return {**found, "ingest": ingest} if ingest else found


class Watch:
    """Looks at the workers now and then, so that no request has to.

    Attributes:
        hopeless: why it makes no sense to wait for predictions, None as long as it may: no model loads in any worker,
            for an error of its own.

    Args:
        look: the body of /ready, and the live response setting in seconds; raises Unavailable.
    """

    def __init__(self, look: Callable[[], Awaitable[tuple[dict[str, Any], float]]]) -> None:
        self.hopeless: str | None = None
        self.waits_by_default = True
        self._look = look

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with contextlib.suppress(Unavailable):
                await self._update()
            await asyncio.sleep(_LOOK_EVERY)

    async def check(self, mode: str) -> None:
        """Raise NotTaken where a client of this mode (live, sync) would wait in vain."""
        if self.hopeless and mode != "async":
            await self._update()  # it may have changed since the last look
            if self.hopeless and (mode == "sync" or self.waits_by_default):
                raise NotTaken(self.hopeless)

    async def _update(self) -> None:
        found, seconds = await self._look()
        states = {worker["state"] for worker in found["workers"]} - {"UNAVAILABLE"}
        self.hopeless = found["reason"] if states == {"ERROR"} else None
        self.waits_by_default = seconds > 0
