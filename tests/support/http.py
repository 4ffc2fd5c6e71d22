"""Short questions to a service, whatever runs it."""

from __future__ import annotations

import requests

ASYNC = "respond-async"  # what `Prefer` says to have a task's id at once


def answers(url: str, timeout: float = 5.0) -> bool:
    """Whether a GET of this URL is answered with 200 within this time (seconds)."""
    with requests.Session() as session:
        session.trust_env = False  # it is on this machine: no proxy
        try:
            return session.get(url, timeout=timeout).status_code == 200
        except requests.RequestException:
            return False


def error_of(response: requests.Response) -> tuple[int, str, str]:
    """Status, title and description of an error; there is nothing else in its body, but for why JSON is malformed."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert set(body) == {"title", "description"} | ({"reason"} if body["title"] == "Malformed JSON" else set())
    return response.status_code, body["title"], body["description"]
