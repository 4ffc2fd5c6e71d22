"""The outside world for unit tests: whatever uses `requests` talks to `responses` instead of the network."""

from __future__ import annotations

import json
from typing import Any

import requests
import responses

from pytest_denzel import messages

__tracebackhide__ = True


class Mock(responses.RequestsMock):
    """Refuses what was not declared with how that is done."""

    def _on_request(self, adapter: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return super()._on_request(adapter, request, *arguments, **options)
        except requests.ConnectionError as error:
            if str(error).startswith("Connection refused by Responses"):
                error.args = (f"{error}{messages.HOW_TO_DECLARE.format(method=request.method, url=request.url)}",)
            raise


class OutsideWorld:
    """Everything that code under test sends by `requests`, answered in this process.

    A POST to `url` is received and answered 200; whatever else the code calls must be declared with `add` (the
    arguments are those of `responses`), and is refused with a ConnectionError that lists what is known otherwise.
    """

    url = "https://receiver.example/callback"

    def __init__(self, mock: responses.RequestsMock) -> None:
        self._mock = mock
        self._receiver = mock.add("POST", self.url, json={"received": True})

    def __repr__(self) -> str:
        return f"<outside_world: {len(self.calls)} calls>"

    def add(self, *arguments: Any, **options: Any) -> responses.BaseResponse:
        """Declare an answer: `add("GET", "https://features.example/1", json={...}, status=200)`."""
        return self._mock.add(*arguments, **options)

    def receiver_answers(self, status: int) -> None:
        """From now on, answer what is posted to `url` with this status."""
        self._mock.remove(self._receiver)
        self._receiver = self._mock.add("POST", self.url, status=status)

    @property
    def calls(self) -> responses.CallList:
        """All calls so far, with `.request` and `.response`."""
        return self._mock.calls

    @property
    def received(self) -> list[Any]:
        """The JSON bodies that were posted to `url`."""
        return [
            json.loads(call.request.body or b"null")
            for call in self._mock.calls
            if call.request.method == "POST" and call.request.url == self.url
        ]
