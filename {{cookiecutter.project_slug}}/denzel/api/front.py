"""GET /: how the service is, as a page for browsers and as JSON for others. It tells nothing that /ready does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import falcon
import falcon.asgi

from denzel.api.answers import write_json
from denzel.api.pages import Description
from denzel.executor import Executor
from denzel.metrics.figures import Figures
from denzel.metrics.recent import Interval
from denzel.pipeline.in_api import UserPipeline

# What is shown of a worker.
_SHOWN = ("name", "state", "model_version", "processes", "busy")


class Front:
    """GET /: name, text, state of the model and of the workers, links, and the figures of the last minutes.

    Args:
        figures: what is known of the whole service; None: nothing is counted.
    """

    def __init__(
        self, description: Description, executor: Executor, pipeline: UserPipeline, figures: Figures | None = None
    ) -> None:
        self._description = description
        self._executor = executor
        self._pipeline = pipeline
        self._figures = figures

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if _is_for_people(req):
            (await self._description.content("front.html")).answer(req, resp)
        else:
            resp.set_header("Cache-Control", "no-store")
            write_json(resp, await self._state(req))
        resp.append_header("Vary", "Accept")

    on_head = on_get

    async def _state(self, req: falcon.asgi.Request) -> dict[str, Any]:
        ready = await self._executor.readiness()
        problem = self._pipeline.problem if ready["ready"] else None
        workers = [{key: worker[key] for key in _SHOWN if worker.get(key) is not None} for worker in ready["workers"]]
        title, text = await self._description.words()
        return {
            "name": title,
            "description": text,
            "ready": ready["ready"] and not problem,
            "reason": problem or ready["reason"],
            "model_version": ready.get("model_version") or None,
            "workers": workers,
            "queue": ready["queue"],
            "links": {name: _address(req, link) for name, link in self._description.links.items()},
            "recent": await self._recent(),
        }

    async def _recent(self) -> dict[str, list[Any]] | None:
        return _shown(await self._figures.recent()) if self._figures else None


def _shown(intervals: Sequence[Interval]) -> dict[str, list[Any]]:
    """The last minutes as columns, the oldest interval first: unix seconds, requests a second, milliseconds."""
    return {
        "ends": [round(one.end) for one in intervals],
        "requests_per_second": [round(one.requests / one.seconds, 2) for one in intervals],
        "failures_per_second": [round(one.failures / one.seconds, 2) for one in intervals],
        "p50_ms": [_milliseconds(one.p50) for one in intervals],
        "p95_ms": [_milliseconds(one.p95) for one in intervals],
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)


def _address(req: falcon.asgi.Request, link: str) -> str:
    """A link as it is, or to another port of the host that was asked."""
    return f"{req.scheme}://{req.host}{link}/" if link.startswith(":") else link


def _is_for_people(req: falcon.asgi.Request) -> bool:
    """Whether a browser asks: it names HTML, where programs name JSON, or anything."""
    return "text/html" in req.accept
