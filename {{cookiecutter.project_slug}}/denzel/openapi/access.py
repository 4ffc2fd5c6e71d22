"""Who may ask what, in the document: the keys that requests bring, and the answers to those that are not let in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from denzel.openapi.parts import Part, content, error, schema

SCHEMES: Part = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_BY_KEY: list[Part] = [{name: []} for name in SCHEMES]
_NO_KEY: Part = {}

_METHODS = ("get", "post", "delete")
_PING, _READY = "/ping", "/ready"  # are answered without a key, too


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        keys: whether requests have to bring a key.
        open_paths: what is told without one, too.
        rates: whether the requests of each key are counted.
    """

    keys: bool = False
    open_paths: frozenset[str] = frozenset()
    rates: bool = False


def add(paths: Part, access: Access) -> None:
    """Add to the operations what they answer to requests that are not let in, and which keys they ask for."""
    for path, item in paths.items():
        for operation in (item[method] for method in _METHODS if method in item):
            answers = operation["responses"]
            answers["403"] = error(
                "The request names a host, or comes from a web page, that is not let in (ALLOWED_HOSTS, CORS_ORIGINS).",
                "Host not allowed",
                "This service is not known as 'a.example.com'.",
            )
            if access.keys:
                _add_keys(path, operation, access)
    if access.keys and _READY not in access.open_paths:
        _add_short_answers(paths[_READY]["get"]["responses"])


def _add_keys(path: str, operation: Part, access: Access) -> None:
    answers: dict[str, Any] = operation["responses"]
    if path == _PING:
        operation["security"] = []
    elif path == _READY or path in access.open_paths:
        operation["security"] = [*_BY_KEY, _NO_KEY]
    else:
        operation["security"] = _BY_KEY
        answers["401"] = error(
            "The request has no key that holds.", "Key needed", "This service asks for a key.", ("WWW-Authenticate",)
        )
    if access.rates and path not in (_PING, _READY):
        answers.setdefault(
            "429",
            error("The key has sent as much as it may.", "Too many requests", "Try again in 1 s.", ("Retry-After",)),
        )
    for callback in operation.get("callbacks", {}).values():
        for item in callback.values():
            item["post"]["security"] = []  # they are signed; the receiver gets no key of this service


def _add_short_answers(answers: Part) -> None:
    """Without a key /ready says yes or no alone."""
    for answer in answers.values():
        if "Denzel-Sync-Timeout" in answer.get("headers", {}):
            (whole,) = answer["content"].values()
            answer["content"] = content({"anyOf": [whole["schema"], schema("YesOrNo")]})
