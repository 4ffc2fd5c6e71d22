"""Answers and errors: every body is JSON, every error has a title and a description."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import falcon
import falcon.asgi
import orjson

from denzel import jsonio
from denzel.executor import ACCEPTED, RAN_OUT, Outcome, Unavailable
from denzel.pipeline.errors import BadAnswer

log = logging.getLogger("denzel.api")

RETRY_AFTER = 1  # seconds
MODEL = "Denzel-Model"  # the header that names the version of the model that has answered


def write_outcome(resp: falcon.asgi.Response, task_id: str, outcome: Outcome) -> None:
    if outcome.model:
        resp.set_header(MODEL, outcome.model)
    if outcome.status == "SUCCESS":
        resp.content_type = falcon.MEDIA_JSON
        resp.data = outcome.payload
    elif outcome is ACCEPTED:
        write_task_id(resp, task_id)
    elif outcome is RAN_OUT:
        write_task_id(resp, task_id, falcon.HTTP_202)
    else:
        raise ended_badly(outcome.status, orjson.loads(outcome.payload))


def write_task_id(resp: falcon.asgi.Response, task_id: str, status: str = falcon.HTTP_200) -> None:
    resp.status = status
    resp.set_header("Location", f"/status/{task_id}")
    write_json(resp, {"status": "success", "data": {"task_id": task_id}})


def ended_badly(status: str, message: str) -> falcon.HTTPError:
    if status == "REVOKED":
        return falcon.HTTPConflict(title="Task cancelled", description=message)
    return falcon.HTTPInternalServerError(title="Error invoking predict", description=message)


class Malformed(falcon.HTTPBadRequest):
    """Not JSON; clients are told the reason, too."""

    def __init__(self, reason: str, description: str = "") -> None:
        super().__init__(title="Malformed JSON", description=description or "Could not decode the request body.")
        self.reason = reason


def too_large(most: int) -> falcon.HTTPError:
    return falcon.HTTPContentTooLarge(
        title="Request too large",
        description=f"The request body is larger than {most} bytes (MAX_BODY_BYTES in .env).",
    )


def cut_off() -> falcon.HTTPError:
    return falcon.HTTPBadRequest(
        title="Stream read error", description="The request body ended before the announced length."
    )


def write_json(resp: falcon.asgi.Response, body: Any) -> None:
    resp.content_type = falcon.MEDIA_JSON
    resp.data = jsonio.dumps(body, jsonio.DEEPER)  # holds what predict may return; orjson refuses large integers


def write_error(
    paths: Sequence[str], req: falcon.asgi.Request, resp: falcon.asgi.Response, error: falcon.HTTPError
) -> None:
    """Every error is JSON with a title and a description, whatever the client accepts."""
    title, description = error.title, error.description
    if isinstance(error, falcon.HTTPRouteNotFound):
        title, description = (
            "Not found",
            f"There is nothing at {req.path[:200]!r}; the paths are: {', '.join(paths)}.",
        )
    elif isinstance(error, falcon.HTTPMethodNotAllowed):
        title, description = "Method not allowed", f"This path takes: {error.headers['Allow']}."  # type: ignore[index]
    reason = {"reason": error.reason} if isinstance(error, Malformed) else {}
    write_json(resp, {"title": title, "description": description or title, **reason})


async def unavailable(req: Any, resp: Any, error: Unavailable, params: dict) -> None:
    raise falcon.HTTPServiceUnavailable(title="Service unavailable", description=f"{error}.", retry_after=RETRY_AFTER)


async def unexpected(req: Any, resp: Any, error: Exception, params: dict) -> None:
    if isinstance(error, BadAnswer):
        raise falcon.HTTPInternalServerError(title="Error invoking predict", description=str(error))
    log.error("Unexpected error at %s %s", req.method, req.path, exc_info=error)
    raise falcon.HTTPInternalServerError(
        title="Internal error",
        description="Something went wrong in the service; its log says what (make logs SERVICE=api).",
    )
