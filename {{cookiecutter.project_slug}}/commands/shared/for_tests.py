"""The services of a test session, apart from those of `make launch` and of `make dev`.

What is described here are the differences; `denzel/testing.py` hands it to pytest-denzel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.shared.ports import redis_url as url_of_redis

_BROKER = "rabbitmq"
_ONLY_WAY_IN = "nginx"
# Only this machine reaches a session's API, and only for as long as it lasts.
_WITHOUT_KEYS = {"API_KEYS": "", "API_KEYS_FILE": ""}


@dataclass(frozen=True)
class Processes:
    """The services as processes of this machine; callbacks may go to 127.0.0.1.

    Attributes:
        settings: those of `.env`.
        slug: the project's name, by which its workers are called.
        folder: the session's, with the folders `logs` for the worker's log and `redis` for Redis' data.
        api_port: where the API listens on 127.0.0.1.
        secret: what callbacks are signed with.
        redis_program: the path of Redis' program; empty: no queue, the API's process holds the model.
        redis_port, redis_password: of that Redis, which listens on 127.0.0.1.
        sync_timeout: in place of that of `.env` (seconds, 0 = asynchronous).
    """

    settings: dict[str, str]
    slug: str
    folder: Path
    api_port: int
    secret: str
    redis_program: str = ""
    redis_port: int = 0
    redis_password: str = ""
    sync_timeout: float | None = None

    @property
    def redis_url(self) -> str:
        """The URL of the database that the service uses; empty where there is none."""
        return url_of_redis(self.redis_port, self.redis_password) if self.redis_program else ""

    def start_command(self, service: str) -> list[str]:
        """The command that starts a service (redis, denzel or api) in the project's folder."""
        return ["sh", f"entrypoints/{service}.sh"]

    def environment(self) -> dict[str, str]:
        """The variables of the services: the settings of `.env`, but nothing that points outside the session."""
        environment = {
            **{name: value for name, value in self.settings.items() if value},
            **_few_processes(self.settings),
            "PROJECT_SLUG": self.slug,
            "API_BIND": f"127.0.0.1:{self.api_port}",
            "API_LISTENS_ON": "",
            **_WITHOUT_KEYS,
            "EXECUTOR": "queue" if self.redis_program else "inline",
            "REDIS_URL": self.redis_url,
            "BROKER_URL": self.redis_url,
            "CALLBACK_ALLOW": "127.0.0.1",
            "CALLBACK_SECRET": self.secret,
            "LOG_FILE": str(self.folder / "logs" / "worker.log"),
            "READY_FILE": str(self.folder / "ready"),
            "DIRECT_FOLDER": str(self.folder / "direct"),
        }
        if self.redis_program:
            environment.update(
                REDIS_SERVER=self.redis_program,
                REDIS_BIND="127.0.0.1",
                REDIS_PORT=str(self.redis_port),
                REDIS_PASSWORD=self.redis_password,
                REDIS_DIR=str(self.folder / "redis"),
            )
        if self.sync_timeout is not None:
            environment["SYNC_TIMEOUT"] = str(self.sync_timeout)
        return environment


@dataclass(frozen=True)
class Containers:
    """The project's containers a second time.

    Attributes:
        settings: those of `.env`.
        slug: the project's name, by which its workers are called.
        compose_project: the name of the Compose project that they belong to.
        services: what the compose files define.
        api_port, redis_port, broker_port: where they are published on 127.0.0.1.
        redis_password, broker_password: of their own.
        secret: what callbacks are signed with.
        callbacks_to: where they may go, as CALLBACK_ALLOW says it.
    """

    settings: dict[str, str]
    slug: str
    compose_project: str
    services: list[str]
    api_port: int
    redis_port: int
    broker_port: int
    redis_password: str
    broker_password: str
    secret: str
    callbacks_to: str

    @property
    def redis_url(self) -> str:
        """The URL of the database that the service uses, from this machine."""
        return url_of_redis(self.redis_port, self.redis_password)

    @property
    def broker_url(self) -> str:
        """The URL of RabbitMQ from this machine; that of Redis where there is none."""
        broker = f"amqp://denzel:{self.broker_password}@127.0.0.1:{self.broker_port}//"
        return broker if _BROKER in self.services else self.redis_url

    def environment(self) -> dict[str, str]:
        """The variables for Compose, which reads `.env` itself."""
        return {
            **_few_processes(self.settings),
            "COMPOSE_PROJECT_NAME": self.compose_project,
            "API_PORT": str(self.api_port),
            "API_HOST": "127.0.0.1",
            "API_KEYS": "",
            "REDIS_URL": "",
            "BROKER_URL": "",
            "EXECUTOR": "queue",
            "REDIS_PASSWORD": self.redis_password,
            "RABBITMQ_PASSWORD": self.broker_password,
            "CALLBACK_SECRET": self.secret,
            "CALLBACK_ALLOW": self.callbacks_to,
        }

    def override(self, image: str, logs: Path) -> dict[str, Any]:
        """A compose file to come after the others: api and denzel run this image, the worker logs to this folder, none
        is started again by itself, Redis and RabbitMQ are published, for which they need a network that is
        not internal."""
        own = {"PROJECT_SLUG": self.slug}
        app = {"image": image, "restart": "no", "environment": own}
        mount = {"type": "bind", "source": str(logs), "target": "/opt/denzel/logs"}
        published = {"restart": "no", "networks": ["front"]}
        # Its data go with its containers: into the volume of these tests, as the user who owns that.
        redis = {
            **published,
            "user": "redis",
            "ports": [f"127.0.0.1:{self.redis_port}:6379"],
            "volumes": ["redis:/data"],
            "environment": {"REDIS_DIR": "/data", "REDIS_EARLIER_DIR": ""},
        }
        services: dict[str, dict[str, Any]] = {
            "api": {**app, "environment": own | _WITHOUT_KEYS},
            "denzel": {**app, "volumes": [mount]},
            "redis": redis,
        }
        if _ONLY_WAY_IN in self.services:  # no other file publishes the API then
            services["api"]["ports"] = [f"127.0.0.1:{self.api_port}:8000"]
        if _BROKER in self.services:
            services[_BROKER] = {**published, "ports": [f"127.0.0.1:{self.broker_port}:5672"]}
        return {"services": services}


def _few_processes(settings: dict[str, str]) -> dict[str, str]:
    """The number of prediction processes: that of `.env`, but for "auto", which could be dozens of models."""
    given = settings.get("WORKER_CONCURRENCY", "").strip().lower()
    return {"WORKER_CONCURRENCY": "2" if given in ("", "auto") else given}
