"""GET /openapi.json and /docs: the service described for its callers, from memory; nothing else is asked for it.

Read anew only where the user's code was imported again, or a file has changed that the description is made of.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import html
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any

import falcon
import falcon.asgi

from denzel import jsonio
from denzel.api_keys import Keys
from denzel.openapi import document, project
from denzel.openapi.access import Access
from denzel.pipeline.in_api import UserPipeline

FOLDER = Path(__file__).resolve().parents[1] / "pages"
FILES = {
    "docs.js": "text/javascript; charset=utf-8",
    "front.js": "text/javascript; charset=utf-8",
    "links.js": "text/javascript; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
HTML = "text/html; charset=utf-8"
_WORTH_PACKING = 2_000  # bytes

# Scripts, styles and requests of this service alone; nobody may put a page into a frame of theirs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


@dataclass(frozen=True)
class Content:
    """A body that may be answered again and again.

    Attributes:
        packed: the same by gzip; None where that is not worth it.
        tag: its ETag.
    """

    body: bytes
    packed: bytes | None
    kind: str
    tag: str

    @classmethod
    def of(cls, body: bytes, kind: str) -> Content:
        packed = gzip.compress(body, 6, mtime=0) if len(body) > _WORTH_PACKING else None
        return cls(body, packed, kind, hashlib.sha256(body).hexdigest()[:32])

    def answer(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """Answer with it, or that the client has it already."""
        resp.set_headers(_GUARDS)
        resp.set_header("Cache-Control", "no-cache")  # asked again each time: a 304, as a rule
        resp.set_header("Vary", "Accept-Encoding")
        resp.etag = self.tag
        if any(tag in ("*", self.tag) for tag in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = self.kind
        resp.data = self.body
        if self.packed and "gzip" in (req.get_header("Accept-Encoding") or ""):
            resp.data = self.packed
            resp.set_header("Content-Encoding", "gzip")


class Description:
    """What the service says of itself: the document is made once for each load of the user's code, pages for each text.

    Args:
        name: the project's, where its text has none.
        links: of the pages to others: their texts and addresses, relative to the service's root.
        metrics: whether there is /metrics.
        inbox: whether /docs has a receiver of callbacks.
        keys: of the clients.
        access: who may ask, where there are keys.
    """

    def __init__(
        self,
        name: str,
        pipeline: UserPipeline,
        links: dict[str, str],
        metrics: bool = False,
        inbox: bool = False,
        keys: Keys | None = None,
        access: Access | None = None,
    ) -> None:
        self._keys = keys
        self._access = access or Access()
        self.links = links
        self._name = name
        self._pipeline = pipeline
        self._metrics = metrics
        self._inbox = inbox
        self._made: dict[str, tuple[Any, Content]] = {}  # with what it was made of

    async def content(self, name: str) -> Content:
        """One of: openapi.json, docs.html, front.html; each is made when it is asked for."""
        return await asyncio.to_thread(self._look, name)

    async def words(self) -> tuple[str, str]:
        """The project's title and text."""
        return await asyncio.to_thread(project.words, self._name)

    def _look(self, name: str) -> Content:
        if name == "openapi.json":
            asks_for_keys = bool(self._keys and self._keys.are_on)
            made_of: Any = (self._pipeline.module, asks_for_keys, *project.state())
            make = partial(self._described, asks_for_keys)
        else:
            made_of = project.words(self._name)
            make = partial(self._page, name, *made_of)
        made = self._made.get(name)
        if made is None or made[0] != made_of:
            made = self._made[name] = made_of, make()
        return made[1]

    def _described(self, asks_for_keys: bool) -> Content:
        found = project.read(self._name, self._pipeline.module)
        access = replace(self._access, keys=asks_for_keys)
        body = jsonio.dumps(document.document(found, self._metrics, access), jsonio.DEEPER)
        return Content.of(body, falcon.MEDIA_JSON)

    def _page(self, name: str, title: str, text: str) -> Content:
        values = {
            "title": html.escape(title),
            "text": html.escape(text),
            "links": " ".join(_link(shown, address) for shown, address in self.links.items()),
            "inbox": "on" if self._inbox else "off",
        }
        page = Template((FOLDER / name).read_text(encoding="utf-8")).substitute(values)
        return Content.of(page.encode(), HTML)


class OpenApi:
    """GET /openapi.json: the description for programs."""

    def __init__(self, description: Description) -> None:
        self._description = description

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        (await self._description.content("openapi.json")).answer(req, resp)

    on_head = on_get


class Docs:
    """GET /docs: the description for people, to be tried."""

    def __init__(self, description: Description) -> None:
        self._description = description

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        (await self._description.content("docs.html")).answer(req, resp)

    on_head = on_get


class Files:
    """GET /docs/{name}: scripts and styles of the pages."""

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, name: str) -> None:
        if name not in FILES:
            raise falcon.HTTPNotFound(title="Not found", description=f"The pages have no file {name[:100]!r}.")
        (await asyncio.to_thread(_file, name)).answer(req, resp)

    on_head = on_get


def _link(text: str, address: str) -> str:
    """A link; one to another port is completed by links.js."""
    if address.startswith(":"):
        return f'<a data-port="{html.escape(address[1:])}" href="./" hidden>{html.escape(text)}</a>'
    return f'<a href="{html.escape(address)}">{html.escape(text)}</a>'


@cache
def _file(name: str) -> Content:
    return Content.of((FOLDER / name).read_bytes(), FILES[name])
