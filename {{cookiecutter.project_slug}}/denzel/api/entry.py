"""Which requests are let in, before anything else looks at them: by the host that they name and the page they are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from denzel.api.cors import Cors
from denzel.api.hosts import Hosts

PING = "/ping"  # tells nothing, so it is answered to everybody: health checks ask by addresses


@dataclass(frozen=True)
class Refusal:
    """The answer to a request that is not let in."""

    status: int
    title: str
    description: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Entry:
    """Lets requests in, or refuses them."""

    def __init__(self, hosts: Hosts, cors: Cors) -> None:
        self._hosts = hosts
        self._cors = cors

    def refusal(self, scope: dict[str, Any]) -> Refusal | None:
        """Why a request is not let in; None where it is."""
        headers = scope["headers"]
        if scope["path"] != PING and (host := self._hosts.refused(headers)) is not None:
            return Refusal(
                403,
                title="Host not allowed",
                description=f"This service is not known as {host[:100]!r}. It may be asked for by the names in "
                "ALLOWED_HOSTS of its .env.",
            )
        if self._cors.is_foreign(headers):
            return Refusal(
                403,
                title="Origin not allowed",
                description="This request comes from a web page of another origin. Pages may use the service whose "
                "origin stands in CORS_ORIGINS of its .env.",
            )
        return None
