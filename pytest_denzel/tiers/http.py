"""Plain HTTP requests with the standard library: no proxy, no redirect, errors are answers too."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__tracebackhide__ = True


@dataclass(frozen=True)
class Response:
    """An HTTP answer.

    Attributes:
        status: the status code.
        headers: the headers, their names in lower case.
        body: the bytes of the body.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


# The services run on this machine: a proxy of the environment has no business there.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def call(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout: float = 60
) -> Response:
    """Send a request; an answer with an error status is returned like any other.

    Raises:
        OSError: there was none, or nothing of it came for `timeout` seconds.
    """
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers or {}))
    try:
        answer = _direct.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        names = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, names, answer.read())
