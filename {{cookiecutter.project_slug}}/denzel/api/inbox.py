"""A receiver of callbacks of the service's own, so that /docs can show one arriving; for development (DOCS_INBOX).

An inbox is a file that the API's processes of one machine share. Its address is an id that only the service can make,
so nobody else's callbacks are taken.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import falcon
import falcon.asgi

from denzel.api.answers import too_large, write_json
from denzel.api.bodies import refuse_encoding
from denzel.api.task_id import TaskIds
from denzel.signing import is_signed, read_secrets, split_secrets

MOST_BYTES = 1_048_576  # of a callback's body
MOST_ARRIVALS = 10  # of an inbox
MOST_INBOXES = 100
KEPT = 3600.0  # seconds
_SHOWN = ("content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature")


class NotOurs(Exception):
    """The folder of the inboxes is somebody else's; the message says what to do."""


class Inboxes:
    """The files.

    Args:
        folder: where they lie; made when the first one is.
        url: of the service, as the sender of callbacks reaches it.
        secret: CALLBACK_SECRET.
    """

    def __init__(self, folder: Path, url: str, secret: str) -> None:
        self.url = url.rstrip("/")
        self._folder = folder
        self._keys = read_secrets(secret)
        self._ids = TaskIds(*(f"inbox {one}" for one in split_secrets(secret) or (url,)))

    def new(self) -> str:
        """Open one; its id. The oldest ones go.

        Raises:
            NotOurs: another user made the folder, or a link in its place: whoever did could read and forge callbacks.
        """
        self._make_folder()
        files = sorted(self._folder.glob("*.jsonl"), key=lambda path: path.name, reverse=True)
        for number, path in enumerate(files):
            age = self._ids.age(path.stem)
            if number >= MOST_INBOXES - 1 or age is None or age > KEPT:
                path.unlink(missing_ok=True)
        token = self._ids.new()
        self._path(token).touch(mode=0o600)
        return token

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            found = self._folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
                raise NotOurs(
                    f"{self._folder} is no folder of this user's: remove it, or set TMPDIR to a folder of your own"
                ) from None

    def is_open(self, token: str) -> bool:
        """Whether there is an inbox of this id."""
        age = self._ids.age(token)
        return age is not None and age <= KEPT and self._path(token).exists()

    def add(self, token: str, headers: dict[str, str], body: bytes) -> None:
        """Put a callback into one; too many are dropped.

        Raises:
            FileNotFoundError: it is gone.
        """
        if len(self.arrivals(token)) < MOST_ARRIVALS:
            shown = {name: headers[name] for name in _SHOWN if name in headers}
            line = {
                "at": time.time(),
                "headers": shown,
                "signature": self._worth(headers, body),
                "body": body.decode("utf-8", "replace"),
            }
            with self._path(token).open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")

    def arrivals(self, token: str) -> list[dict[str, Any]]:
        """What has arrived, the first one first.

        Raises:
            FileNotFoundError: it is gone.
        """
        with self._path(token).open("rb") as file:
            return [json.loads(line) for line in file if line.endswith(b"\n")]

    def _worth(self, headers: dict[str, str], body: bytes) -> str:
        given = headers.get("webhook-signature", "")
        if not self._keys or not given:
            return "missing"
        signed = headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), body
        return "valid" if is_signed(given, self._keys, *signed) else "wrong"

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}.jsonl"


def folder(slug: str) -> Path:
    """Where the inboxes of a service lie: a folder of this user alone."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"denzel-inbox-{slug}-{user}"


class OpenInbox:
    """POST /docs/inbox: open an inbox; the answer has its `callback_uri` and where its `arrivals` are told."""

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        try:
            token = await asyncio.to_thread(self._inboxes.new)
        except NotOurs as error:
            raise falcon.HTTPServiceUnavailable(title="No inbox", description=f"{error}.") from None
        path = f"docs/inbox/{token}"
        resp.status = falcon.HTTP_201
        resp.set_header("Cache-Control", "no-store")
        write_json(resp, {"callback_uri": f"{self._inboxes.url}/{path}", "arrivals": path})


class Inbox:
    """POST /docs/inbox/{token}: a callback; GET: what has arrived."""

    def __init__(self, inboxes: Inboxes) -> None:
        self._inboxes = inboxes

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, token: str) -> None:
        await self._find(token)
        refuse_encoding(req)
        body = await req.stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise too_large(MOST_BYTES)
        try:
            await asyncio.to_thread(self._inboxes.add, token, dict(req.headers), body)
        except FileNotFoundError:  # since it was found
            raise _unknown() from None
        resp.status = falcon.HTTP_204

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, token: str) -> None:
        await self._find(token)
        resp.set_header("Cache-Control", "no-store")
        try:
            arrivals = await asyncio.to_thread(self._inboxes.arrivals, token)
        except FileNotFoundError:  # since it was found
            raise _unknown() from None
        write_json(resp, {"path": req.path, "arrivals": arrivals})

    async def _find(self, token: str) -> None:
        if not await asyncio.to_thread(self._inboxes.is_open, token):
            raise _unknown()


def _unknown() -> falcon.HTTPNotFound:
    return falcon.HTTPNotFound(title="Unknown inbox", description="There is no such inbox, or no longer.")
