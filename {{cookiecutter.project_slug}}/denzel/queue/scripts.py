"""Lua scripts: each step of a task's life is one, so that it happens whole or not at all, in one round trip.

    submit   the record, its place in the queue and the message appear together              (api)
    work     a worker's answers, replies and callbacks are stored; it claims the next tasks  (denzel)
    nudge    tasks that were held back for a process that would be back at once: it is not   (api)
    beat     once a second: lost claims return to the queue, delayed tasks become due        (denzel)
    release  a process died: its claims return at once                                       (denzel)
    withdraw nobody waits for tasks any longer: those that have not begun never will         (api)
    detach   a synchronous wait ran out: the client polls from now                           (api)
    cancel   PENDING or STARTED becomes REVOKED                                              (api)

The others: `time_out`, `replay`, `overview`, `figures`, `drop_requests`, `unbind`, and the callbacks'
`exchange_callbacks`, `fetch_callbacks` and `redeliver_callback`. Each file in `lua/` names its arguments first; before
it run the constants of `keys`, and what scripts share: `ending.lua`, `claiming.lua` and `admission.lua`.

Only commands up to Redis 6.2 are used, and the server's clock, so that the machines' clocks need not agree.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError

from denzel.queue import keys

# What goes before each script, in this order.
SHARED = ("ending", "claiming", "admission")

_FOLDER = Path(__file__).parent / "lua"


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")


_CONSTANTS = "".join(
    f"local {name} = {value!r}\n"
    for name, value in keys.LUA.items()  # Python writes plain texts as Lua does
)
_SHARED = _CONSTANTS + "".join(map(_read, SHARED))


class Script:
    """A script, called by its digest; works with redis-py's synchronous and asyncio clients alike."""

    def __init__(self, source: str) -> None:
        self.source = _SHARED + source
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, client: Any, *arguments: Any) -> Any:
        """Run on a synchronous client; loads the script when the server does not know it."""
        try:
            return client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return client.eval(self.source, 0, *arguments)

    async def call(self, client: Any, *arguments: Any) -> Any:
        """Run on an asyncio client; loads the script when the server does not know it."""
        try:
            return await client.evalsha(self.sha, 0, *arguments)
        except NoScriptError:
            return await client.eval(self.source, 0, *arguments)


def script(name: str) -> Script:
    """The script in `lua/NAME.lua`."""
    return Script(_read(name))
