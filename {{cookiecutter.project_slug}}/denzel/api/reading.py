"""The body of a POST /predict: read as far as there is room for it, parsed within bounds.

A small one is parsed on the event loop; a large one in the thread of the user's code, just before `verify_input` gets
it. So there is one large tree at a time, and the event loop has its turns meanwhile.
"""

from __future__ import annotations

from typing import Any

import falcon
import falcon.asgi

from denzel import json_bounds
from denzel.api.answers import cut_off, too_large
from denzel.api.bodies import malformed
from denzel.memory import SMALL, Share
from denzel.settings import Settings

# While a body is read and passed on, so many copies of it are there at the most.
_COPIES = 2
# Bytes that a parsed value takes, on average, of those that take most.
_BYTES_A_VALUE = 120


class BodyRefused(Exception):
    """A body is not taken; `error` is the answer."""

    def __init__(self, error: falcon.HTTPError) -> None:
        super().__init__(error.title)
        self.error = error


async def read(req: falcon.asgi.Request, most: int, share: Share) -> bytearray:
    """A request's body, never more of it than allowed.

    Raises:
        NoRoom: there is no memory for it.
        falcon.HTTPError: it is too large, or was cut off.
    """
    body = bytearray()
    try:
        async for part in req.stream:
            if len(body) + len(part) > most:
                raise too_large(most)
            share.take(_COPIES * len(part))
            body += part
    except OSError as error:
        raise cut_off() from error
    if req.content_length is not None and len(body) < req.content_length:
        raise cut_off()
    return body


def is_small(body: bytearray) -> bool:
    """Whether it may be parsed on the event loop."""
    return len(body) <= SMALL


def parse(req: falcon.asgi.Request, body: bytearray, settings: Settings, share: Share) -> Any:
    """The value of a body; a large one is counted as used memory until `share` is released.

    Raises:
        BodyRefused: it is not JSON, or beyond a bound.
        NoRoom: there is no memory for its tree.
    """
    count = 0
    if len(body) > min(SMALL, settings.max_values):  # else it cannot have so many
        count = json_bounds.values(body, settings.max_values)
        if count > settings.max_values:
            raise BodyRefused(_too_many(f"more than {settings.max_values} values", "MAX_VALUES"))
    if not is_small(body):
        share.take(len(body) + _BYTES_A_VALUE * count)
    try:
        value = json_bounds.loads(body, count)
    except ValueError as error:
        raise BodyRefused(malformed(req, body, error)) from None
    data = value.get("data") if isinstance(value, dict) else None
    if isinstance(data, dict) and len(data) > settings.max_ids:
        raise BodyRefused(_too_many(f"{len(data)} ids in `data`; {settings.max_ids} may come together", "MAX_IDS"))
    return value


def _too_many(what: str, setting: str) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(
        title="Request too large", description=f"The request has {what} ({setting} in .env)."
    )
