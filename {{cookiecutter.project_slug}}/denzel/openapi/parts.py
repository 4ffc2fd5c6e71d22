"""What the operations share: headers, errors, and the schemas of the service's own bodies."""

from __future__ import annotations

from typing import Any

JSON = "application/json"

Part = dict[str, Any]


def reference(kind: str, name: str) -> Part:
    """A reference to a component of the document."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schema(name: str) -> Part:
    return reference("schemas", name)


def header(name: str) -> Part:
    return reference("headers", name)


def content(body: Part, **more: Any) -> Part:
    """A body of JSON."""
    return {JSON: {"schema": body, **more}}


def error(description: str, title: str, text: str, headers: tuple[str, ...] = ()) -> Part:
    """An answer with a title and a description."""
    found: Part = {"description": description}
    if headers:
        found["headers"] = {name: header(name) for name in headers}
    found["content"] = content(schema("Error"), example={"title": title, "description": text})
    return found


UNAVAILABLE = error(
    "Redis is out of reach, no model can be loaded, or the service is busy: try again after Retry-After seconds.",
    "Service unavailable",
    "Redis cannot be reached.",
    ("Retry-After",),
)

HEADERS: Part = {
    "Denzel-Task-Id": {
        "description": "The id of the task that was made of the request: GET /status/{task_id} tells how it stands.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "Denzel-Model": {
        "description": "The version of the model that has answered; missing where the model has none.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"},
    },
    "X-Request-Id": {
        "description": "The request's own header of this name, or an id that was made for it; the log has it, too.",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "Where the time went (W3C Server Timing): verify, queue, process and predict in milliseconds, "
        "the number of requests in the call, the version of the model.",
        "schema": {"type": "string"},
    },
    "Location": {
        "description": "The path of the task's status.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Preference-Applied": {
        "description": "Which preference of the header Prefer was followed: respond-async, or wait=SECONDS.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Whole seconds after which the request should be sent again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "How a key is sent.", "schema": {"const": "Bearer"}},
    "Denzel-Sync-Timeout": {
        "description": "Seconds that a request waits for its predictions by the live response setting; 0: none waits.",
        "schema": {"type": "number", "minimum": 0},
    },
    "Denzel-Reloads": {
        "description": "When this service started, and how often the user's code was loaded anew since.",
        "schema": {"type": "string"},
    },
}

SCHEMAS: Part = {
    "Error": {
        "type": "object",
        "description": "Every error has this form.",
        "required": ["title", "description"],
        "properties": {
            "title": {"type": "string", "description": "What kind of error it is; it stays the same."},
            "description": {"type": "string", "description": "What is wrong, in words for people."},
            "reason": {"type": "string", "description": "With `Malformed JSON`: what the parser says."},
        },
    },
    "Accepted": {
        "type": "object",
        "description": "The request was accepted as a task; nothing of it is lost from here on.",
        "required": ["status", "data"],
        "properties": {
            "status": {"const": "success"},
            "data": {
                "type": "object",
                "required": ["task_id"],
                "properties": {"task_id": {"type": "string", "format": "uuid"}},
            },
        },
    },
    "Failure": {
        "type": "object",
        "description": "The exception that ended a task.",
        "required": ["args", "type"],
        "properties": {
            "args": {"type": "array", "examples": [["name 'np' is not defined"]]},
            "type": {"type": "string", "examples": ["NameError"]},
        },
    },
    "Delivery": {
        "type": "object",
        "description": "How the delivery of a callback stands.",
        "required": ["state", "attempts"],
        "properties": {
            "state": {"enum": ["pending", "delivered", "gone", "failed"]},
            "attempts": {"type": "integer", "minimum": 0},
            "last_status": {"type": ["integer", "null"], "description": "The receiver's last HTTP status."},
            "last_error": {"type": ["string", "null"], "description": "What went wrong last."},
            "next_attempt": {"type": ["number", "null"], "description": "When, in unix seconds."},
            "history": {"type": "array", "items": {"type": "object"}, "description": "The last attempts."},
        },
    },
    "Status": {
        "type": "object",
        "description": "How a task stands.",
        "required": ["status", "result"],
        "properties": {
            "status": {
                "enum": ["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"],
                "description": "SUCCESS, FAILURE and REVOKED (cancelled) are final.",
            },
            "result": {"description": "The predictions of a SUCCESS, a Failure, or null as long as there is none."},
            "accepted": {"type": "number", "description": "When, in unix seconds; so are the next two."},
            "started": {"type": "number"},
            "ended": {"type": "number"},
            "worker": {"type": "string", "description": "Which worker runs it, or ran it."},
            "model": {"type": "string", "description": "The version of the model that answered."},
            "attempts": {"type": "integer", "description": "How often it was begun: again after a crash."},
            "done": {"type": "integer", "description": "Of an ingesting: items that are done."},
            "total": {"type": "integer", "description": "Of an ingesting: items in all."},
            "waiting_for": {"type": "string", "description": "Why no worker can take it at the moment."},
            "timings": {
                "type": "object",
                "description": "Where the time went: seconds of each stage, and how many requests its call had.",
                "properties": {
                    **{name: {"type": "number"} for name in ("verify", "queue", "process", "predict")},
                    "batch": {"type": "integer"},
                },
            },
            "callback": schema("Delivery"),
        },
    },
    "Readiness": {
        "type": "object",
        "description": "Whether the service answers requests, and what its workers say.",
        "required": ["ready", "reason", "workers", "queue"],
        "properties": {
            "ready": {"type": "boolean"},
            "reason": {"type": ["string", "null"], "description": "Why it is not ready."},
            "queue": {"type": ["integer", "null"], "description": "Tasks that wait; null where nobody can tell."},
            "model_version": {"type": "string"},
            "workers": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "state"],
                    "properties": {
                        "name": {"type": "string"},
                        "state": {"type": "string", "examples": ["UP", "LOADING", "ERROR", "UNAVAILABLE"]},
                        "error": {"type": ["string", "null"]},
                    },
                },
            },
        },
    },
    "YesOrNo": {
        "type": "object",
        "description": "What is told without a key.",
        "required": ["ready"],
        "properties": {"ready": {"type": "boolean"}},
        "additionalProperties": False,
    },
    "NotReady": {"allOf": [schema("Error"), schema("Readiness")]},
}
