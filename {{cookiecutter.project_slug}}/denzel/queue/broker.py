"""The Celery application: how messages travel. Imports no user code, so that the monitor can use it too."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu import Connection
from kombu.serialization import register
from redis.connection import parse_url

from denzel.queue import keys
from denzel.queue.ticket import WORK
from denzel.settings import Settings, get_settings

# The name under which the monitor shows the users' tasks.
PREDICT = "denzel.predict"

# kombu's own `json` decodes {"__type__": ..., "__value__": ...} as Python objects: a client could send what no worker
# can read. This one is nothing but JSON, and refuses NaN.
register(
    "plainjson",
    lambda value: json.dumps(value, allow_nan=False),
    json.loads,
    content_type="application/x-plain-json",
    content_encoding="utf-8",
)


class _Broker(Connection):
    """Connects again every 2 seconds at the latest (Celery's own pauses grow to 30), and to no Redis without changes.

    On a replica, or one whose disk or memory is full, a consumer gives up, and its process would load the model again.
    """

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{**kwargs, "interval_step": 0.5, "interval_max": 2})

    def _establish_connection(self) -> Any:
        connection = super()._establish_connection()
        if self.transport.driver_type == "redis":
            try:
                connection.create_channel(connection).client.set(keys.TAKES_CHANGES, 1, px=1)
            except BaseException:
                self.transport.close_connection(connection)
                raise
        return connection


def create_celery(settings: Settings) -> Celery:
    """The application for these settings; it connects when it is first used."""
    # No fix-ups: Celery would set up the Django project that DJANGO_SETTINGS_MODULE names.
    app = Celery("denzel", broker=_kombu_url(settings.broker_url), fixups=[])
    app.amqp.Connection = _Broker
    app.conf.update(
        # Queues and exchanges of this project alone: a broker may serve others, too.
        task_default_queue=keys.QUEUE,
        control_exchange=keys.QUEUE,
        event_exchange=f"{keys.QUEUE}.events",
        event_queue_prefix=f"{keys.QUEUE}.events",
        task_serializer="plainjson",
        accept_content=["plainjson"],
        result_serializer="plainjson",
        result_accept_content=["plainjson"],
        result_backend=None,
        task_ignore_result=True,
        # What must not be lost is held by the claims in the store, not by the message.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # What Redis refuses, it takes again when it can; what RabbitMQ keeps locked for a connection that is closing
        # (RESOURCE_LOCKED), it lets go.
        broker_channel_error_retry=True,
        # A process that computes cannot answer AMQP heartbeats; TCP keepalive notices a dead peer.
        broker_heartbeat=0,
        broker_transport_options={"confirm_publish": True},
        event_queue_ttl=5,
    )
    if settings.broker_is_redis:
        app.conf.broker_transport_options = {
            "global_keyprefix": keys.PREFIX,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        }
    return app


def _kombu_url(url: str) -> str:
    """A broker's address as kombu spells it: redis-py's `unix://:password@/path?db=0` has another name there."""
    if not url.startswith("unix://"):
        return url
    found = parse_url(url)
    user, password = (quote(str(found.get(name, "")), safe="") for name in ("username", "password"))
    return f"redis+socket://{user}:{password}@{quote(str(found['path']))}?virtual_host={found.get('db', 0)}"


def send_ticket() -> None:
    """Wake a worker through the broker, confirmed; for brokers other than the Redis of the records. Blocks."""
    app.send_task(WORK, retry=True, retry_policy={"max_retries": 1, "interval_start": 0.1})


# The monitor asks for what workers do not tell while they start or compute, and would warn of it each time.
logging.getLogger("flower.inspector").setLevel(logging.ERROR)

app = create_celery(get_settings())
