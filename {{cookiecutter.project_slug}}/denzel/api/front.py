"""GET /: how the service is, as a page for browsers and as JSON for others. It tells nothing that /ready does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import falcon
import falcon.asgi

from denzel.api.answers import write_json
from denzel.api.pages import Description
from denzel.executor import Executor
from denzel.pipeline.in_api import UserPipeline

# What is shown of a worker.
_SHOWN = ("name", "state", "model_version", "processes", "busy")

Figures = Callable[[], Awaitable[dict[str, Any] | None]]


async def no_figures() -> None:
    """In place of figures, where nobody counts."""


class Front:
    """GET /: name, text, state of the model and of the workers, links, and the figures of the last minutes.

    Args:
        figures: rate and latency of the last minutes; None: nothing is known.
    """

    def __init__(
        self, description: Description, executor: Executor, pipeline: UserPipeline, figures: Figures = no_figures
    ) -> None:
        self._description = description
        self._executor = executor
        self._pipeline = pipeline
        self._figures = figures

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if _is_for_people(req):
            (await self._description.content("front.html")).answer(req, resp)
        else:
            write_json(resp, await self._state(req))
        resp.append_header("Vary", "Accept")

    on_head = on_get

    async def _state(self, req: falcon.asgi.Request) -> dict[str, Any]:
        ready = await self._executor.readiness()
        problem = self._pipeline.problem if ready["ready"] else None
        workers = [{key: worker[key] for key in _SHOWN if worker.get(key) is not None} for worker in ready["workers"]]
        found = await self._description.project()
        return {
            "name": found.title,
            "description": found.text,
            "ready": ready["ready"] and not problem,
            "reason": problem or ready["reason"],
            "model_version": ready.get("model_version") or None,
            "workers": workers,
            "queue": ready["queue"],
            "links": {name: _address(req, link) for name, link in self._description.links.items()},
            "recent": await self._figures(),
        }


def _address(req: falcon.asgi.Request, link: str) -> str:
    """A link as it is, or to another port of the host that was asked."""
    return f"{req.scheme}://{req.host}{link}/" if link.startswith(":") else link


def _is_for_people(req: falcon.asgi.Request) -> bool:
    """Whether a browser asks: it names HTML, where programs name JSON, or anything."""
    return "text/html" in req.accept
