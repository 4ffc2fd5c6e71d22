"""What every service answers, whatever its model: the paths of the document."""

from __future__ import annotations

from collections.abc import Sequence

from denzel.openapi.parts import JSON, UNAVAILABLE, Part, content, error, header, schema

_TASK = {
    "name": "task_id",
    "in": "path",
    "required": True,
    "description": "The id that /predict has answered, in its body or in the header `Denzel-Task-Id`.",
    "schema": {"type": "string"},
}
_TOLD = {name: header(name) for name in ("X-Request-Id", "Server-Timing")}
_TASK_HEADERS = {**{name: header(name) for name in ("Denzel-Task-Id", "Preference-Applied")}, **_TOLD}
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "How this request is answered (RFC 7240), instead of by the service's setting: `respond-async` at "
    "once with a task id, `wait=SECONDS` with the predictions, if they are there by then.",
    "schema": {"type": "string"},
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A key of your own, such as a UUID: for a day the same request with it is answered as the first "
    "one was, and is not run again. With another request it is refused (422).",
    "schema": {"type": "string", "maxLength": 255},
}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "An id of your own for this request: the answer, the log and the callback have it, too.",
    "schema": {"type": "string"},
}
_TRACE = {
    "name": "traceparent",
    "in": "header",
    "description": "The trace that this request belongs to (W3C Trace Context): the callback has it, too.",
    "schema": {"type": "string"},
}
_PREDICT = """Send one JSON document.

**Synchronously** the answer is what `predict` returns. If it takes longer than the wait, the answer is 202 with the \
task's id, and the work goes on.

**Asynchronously** (the service's setting, or `Prefer: respond-async`) the answer is 200 with the task's id at once: \
ask for its status at `Location`, or name a `callback_uri` in the request, to which the predictions are sent.

Which of both the service does by itself, `make response` sets while it runs; the header `Denzel-Sync-Timeout` of \
/ready tells it."""
_CALLBACK = """When the task of an asynchronous request has ended, the service sends this to its `callback_uri`: \
exactly the body of the synchronous answer, or of /status for a task that has failed. It is signed after the \
Standard Webhooks specification, and sent again for a day until it is answered by 2xx; 410 ends it. It may come twice: \
the same `webhook-id` is the same callback."""


def paths(examples: Part, metrics: bool) -> Part:
    """The paths of the document.

    Args:
        examples: of requests, in OpenAPI's form; may be empty.
        metrics: whether there is /metrics.
    """
    found: Part = {
        "/predict": {"post": _predict(examples)},
        "/status/{task_id}": {"parameters": [_TASK], "get": _status(), "delete": _cancel()},
        "/ready": {"get": _ready()},
        "/ping": {"get": _ping()},
        "/info": {"get": _info()},
    }
    if metrics:
        found["/metrics"] = {"get": _metrics()}
    return found


TAGS: Sequence[Part] = (
    {"name": "Predictions", "description": "Requests to the model."},
    {"name": "Tasks", "description": "What has become of a request."},
    {"name": "Service", "description": "How the service is."},
)


def _predict(examples: Part) -> Part:
    body = content(schema("Request"), **({"examples": examples} if examples else {}))
    return {
        "operationId": "predict",
        "tags": ["Predictions"],
        "summary": "Predict",
        "description": _PREDICT,
        "parameters": [_PREFER, _KEY, _REQUEST_ID, _TRACE],
        "requestBody": {"required": True, "content": body},
        "responses": _answers(),
        "callbacks": {"predictions": {"{$request.body#/callback_uri}": {"post": _callback()}}},
    }


def _answers() -> Part:
    location = {"Location": {**header("Location")}}
    retry = ("Retry-After",)
    return {
        "200": {
            "description": "The predictions; asynchronously the task's id (and the header `Location`).",
            "headers": {**_TASK_HEADERS, "Denzel-Model": header("Denzel-Model"), **location},
            "content": content({"anyOf": [schema("Response"), schema("Accepted")]}),
        },
        "202": {
            "description": "The wait was over before the predictions were there. The work goes on; ask for its status.",
            "headers": {**_TASK_HEADERS, **location},
            "content": content(schema("Accepted")),
        },
        "400": error(
            "The request cannot be used: it is not JSON, does not fit the declared schema (the JSON path is named), or "
            "`verify_input` has refused it.",
            "Bad input format",
            '$.data.a123: "x" is a required property',
        ),
        "409": error("The task was cancelled.", "Task cancelled", "The task was cancelled."),
        "413": error(
            "The request is larger than MAX_BODY_BYTES, or has too many values or ids.",
            "Request too large",
            "The request body is larger.",
        ),
        "415": error("The body has a Content-Encoding.", "Unsupported Content-Encoding", "Send it as it is."),
        "422": error(
            "The Idempotency-Key belongs to another request.", "Idempotency-Key used before", "Use a new one."
        ),
        "429": error("So much waits that the answer would come too late.", "Too many requests", "Try again.", retry),
        "500": error("`process` or `predict` raised.", "Error invoking predict", "name 'np' is not defined"),
        "503": UNAVAILABLE,
    }


def _callback() -> Part:
    def signed(name: str, text: str, **more: str) -> Part:
        return {
            "name": name,
            "in": "header",
            "required": True,
            "description": text,
            "schema": {"type": "string", **more},
        }

    return {
        "operationId": "callback",
        "summary": "The callback",
        "description": _CALLBACK,
        "parameters": [
            signed("webhook-id", "The task's id.", format="uuid"),
            signed("webhook-timestamp", "When it was sent, in unix seconds.", pattern="^[0-9]+$"),
            signed(
                "webhook-signature",
                "`v1,` and the HMAC-SHA256 of `id.timestamp.body`, in base64, with the key in CALLBACK_SECRET.",
                pattern="^v1,",
            ),
        ],
        "requestBody": {"required": True, "content": content({"anyOf": [schema("Response"), schema("Status")]})},
        "responses": {
            "2XX": {"description": "It has arrived."},
            "410": {"description": "No more callbacks of this task, please."},
            "default": {"description": "It is sent again later."},
        },
    }


def _status() -> Part:
    return {
        "operationId": "status",
        "tags": ["Tasks"],
        "summary": "How a task stands",
        "responses": {
            "200": {
                "description": "Its state, and the result once it has ended.",
                "headers": {"Denzel-Model": header("Denzel-Model"), **_TOLD},
                "content": content(schema("Status")),
            },
            **_unknown(),
            "503": UNAVAILABLE,
        },
    }


def _cancel() -> Part:
    return {
        "operationId": "cancel",
        "tags": ["Tasks"],
        "summary": "Cancel a task",
        "responses": {
            "202": {"description": "It is cancelled, or is about to be.", "content": content(schema("Status"))},
            "409": error("It has ended already.", "Already ended", "The task has ended already: SUCCESS."),
            **_unknown(),
            "503": UNAVAILABLE,
        },
    }


def _unknown() -> Part:
    return {
        "404": error("There is no such task.", "Unknown task", "There is no task 'x'."),
        "410": error("Its result is no longer kept.", "Expired", "The result of task x is no longer kept."),
    }


def _ready() -> Part:
    return {
        "operationId": "ready",
        "tags": ["Service"],
        "summary": "Whether the service answers requests",
        "responses": {
            "200": {
                "description": "A worker with a loaded model takes requests.",
                "headers": {"Denzel-Sync-Timeout": header("Denzel-Sync-Timeout")},
                "content": content(schema("Readiness")),
            },
            "503": {
                "description": "Not yet, or not at the moment; it says why.",
                "headers": {"Denzel-Sync-Timeout": header("Denzel-Sync-Timeout")},
                "content": content(schema("NotReady")),
            },
        },
    }


def _ping() -> Part:
    return {
        "operationId": "ping",
        "tags": ["Service"],
        "summary": "Whether the API is alive",
        "responses": {
            "200": {
                "description": "It is.",
                "headers": {"Denzel-Reloads": header("Denzel-Reloads")},
                "content": _text({"const": "pong"}),
            }
        },
    }


def _info() -> Part:
    return {
        "operationId": "info",
        "tags": ["Service"],
        "summary": "What the service is for",
        "responses": {
            "200": {"description": "The text of app/assets/info.txt.", "content": _text({"type": "string"})},
            "404": error("There is no such text.", "No information", "app/assets/info.txt cannot be read."),
        },
    }


def _metrics() -> Part:
    kinds = ("application/openmetrics-text", "text/plain")
    return {
        "operationId": "metrics",
        "tags": ["Service"],
        "summary": "Figures of the service, for Prometheus",
        "responses": {
            "200": {
                "description": "OpenMetrics, or Prometheus' older text format, by the header `Accept`.",
                "content": {kind: {"schema": {"type": "string"}} for kind in kinds},
            },
            "503": {"description": "Redis is out of reach.", "content": {JSON: {"schema": schema("Error")}}},
        },
    }


def _text(body: Part) -> Part:
    return {"text/plain": {"schema": body}}
