"""Which Redis a `make dev` has: one that runs already, none, or a server program that it starts itself."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from commands.local import embedded_redis
from commands.shared.ports import redis_url
from commands.shared.project import MARKERS, ROOT

DATA = MARKERS / "redis"


class Redis:
    """The Redis of this run: one that runs already (REDIS_URL), or a server program to start."""

    def __init__(
        self, url: str, server: embedded_redis.Server | None = None, port: int = 0, password: str = ""
    ) -> None:
        self.url, self.server, self.port, self.password = url, server, port, password

    def __str__(self) -> str:
        if self.server:
            return f"127.0.0.1:{self.port} ({self.server.version}, data in {DATA.relative_to(ROOT)})"
        if not self.url:
            return "none (EXECUTOR=inline)"
        parts = urlsplit(self.url)
        return f"{parts.hostname or parts.path}{f':{parts.port}' if parts.port else ''} (REDIS_URL)"


def choose_redis(settings: dict[str, str]) -> Redis:
    if (given := settings.get("REDIS_URL")) or settings.get("EXECUTOR", "").lower() == "inline":
        return Redis(given or "")
    server = embedded_redis.find_server()
    number, password = embedded_redis.free_port(), settings.get("REDIS_PASSWORD") or secrets.token_urlsafe(18)
    return Redis(redis_url(number, password), server, number, password)
