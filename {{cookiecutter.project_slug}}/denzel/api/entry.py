"""Which requests are let in, before anything else looks at them: by head, host, the page they are of, and their key."""

from __future__ import annotations

import logging
from typing import Any

from denzel.api import heads
from denzel.api.cors import Cors
from denzel.api.heads import Refusal
from denzel.api.hosts import Hosts
from denzel.api.rates import Rates
from denzel.api_keys import Keys

log = logging.getLogger("denzel.api")

# Where the scope has the name of the request's key: empty where none is asked for, None without a right one.
OWNER = "denzel.owner"
# Where it has the seconds after which the key may send its next request, once this one was counted; 0: it may pass.
WAIT = "denzel.wait"
PING = "/ping"  # tells nothing, so it is answered to everybody: health checks ask by addresses


class Entry:
    """Lets requests in, or refuses them."""

    def __init__(self, hosts: Hosts, cors: Cors, keys: Keys, rates: Rates, open_paths: str) -> None:
        self._rates = rates
        self._hosts = hosts
        self._cors = cors
        self._keys = keys
        # Without a key /ready says yes or no alone.
        self._open = {PING, "/ready", *filter(None, open_paths.split(","))}
        self._tells_state = "/ready" in open_paths.split(",")
        self._problem = ""

    def identify(self, scope: dict[str, Any]) -> str:
        """Whose request it is: the name of its key, empty without one. The scope has it, too."""
        if OWNER not in scope:
            scope[OWNER] = self._keys.owner(dict(scope["headers"]))
        if self._keys.problem != self._problem:
            self._problem = self._keys.problem
            if self._problem:
                log.error("The API's keys: %s. Those from before hold", self._problem)
        return scope[OWNER] or ""

    def refusal(self, scope: dict[str, Any]) -> Refusal | None:
        """Why a request is not let in; None where it is."""
        if improper := heads.refusal(scope):
            return improper
        headers = scope["headers"]
        if scope["path"] != PING and (host := self._hosts.refused(headers)) is not None:
            return Refusal(
                403,
                title="Host not allowed",
                description=f"This service is not known as {host[:100]!r}. Ask for it by another of its names, or add "
                "this one to ALLOWED_HOSTS in its .env.",
            )
        if self._cors.is_foreign(headers):
            return Refusal(
                403,
                title="Origin not allowed",
                description="This request comes from a web page of another origin. Pages may use the service whose "
                "origin stands in CORS_ORIGINS of its .env.",
            )
        if scope[OWNER] is None:
            return self._without_key(scope)
        if self._rates and scope[OWNER] and scope["path"] not in (PING, "/ready"):
            return self._over_rate(scope)
        return None

    def _over_rate(self, scope: dict[str, Any]) -> Refusal | None:
        """The refusal of a request that is one too many of its key's; each counts once."""
        if WAIT not in scope:
            scope[WAIT] = self._rates.wait(scope[OWNER])
        if not (wait := scope[WAIT]):
            return None
        return Refusal(
            429,
            title="Too many requests",
            description=f"This key may send {self._rates.text}; try again in {wait} s.",
            headers=((b"retry-after", b"%d" % wait),),
        )

    def _without_key(self, scope: dict[str, Any]) -> Refusal | None:
        path = scope["path"]
        if self._is_open(path) or self._cors.asks(scope):
            if path == "/ready" and self._tells_state:
                scope[OWNER] = ""
            return None
        return Refusal(
            401,
            title="Key needed",
            description="This service asks for a key: send one as Authorization: Bearer KEY, or as X-API-Key: KEY.",
            headers=((b"www-authenticate", b"Bearer"),),
        )

    def _is_open(self, path: str) -> bool:
        """Whether it is answered without a key: as OPEN_PATHS says, and what is no secret.

        The address of an inbox of /docs is one that nobody guesses, and callbacks bring no key; its other files are the
        framework's.
        """
        if path.startswith("/docs/"):
            return path != "/docs/inbox" or "/docs" in self._open
        return path in self._open
