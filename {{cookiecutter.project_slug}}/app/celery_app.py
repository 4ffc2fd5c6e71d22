"""The Celery application: how messages travel. Imports no user code, so that the monitor can use it too."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from celery import Celery
from kombu import Connection
from kombu.serialization import register

from app import store
from app.settings import Settings, get_settings

TASK_NAME = "denzel.predict"

# How long a message of a worker that vanished stays away, in seconds. Living workers renew their claim (supervisor).
VISIBILITY_TIMEOUT = 9

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
    """Connects again every 2 seconds at the latest; Celery's own pauses grow to 30."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        return super().ensure_connection(*args, **{**kwargs, "interval_step": 0.5, "interval_max": 2})


def create_celery(settings: Settings) -> Celery:
    """The application for these settings; it connects when it is first used."""
    app = Celery("denzel", broker=settings.broker_url)
    app.amqp.Connection = _Broker
    app.conf.update(
        task_default_queue=store.QUEUE,
        task_serializer="plainjson",
        accept_content=["plainjson"],
        result_serializer="plainjson",
        result_accept_content=["plainjson"],
        result_backend=None,
        task_ignore_result=True,
        # A message is acknowledged when its tasks' results are stored, and a worker holds one at a time.
        task_acks_late=True,
        task_acks_on_failure=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A process that computes cannot answer AMQP heartbeats; TCP keepalive notices a dead peer.
        broker_heartbeat=0,
        event_queue_ttl=5,
    )
    if settings.broker_is_redis:
        app.conf.broker_transport_options = {
            "visibility_timeout": VISIBILITY_TIMEOUT,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        }
    return app


def redis_message(task_ids: list[str]) -> bytes:
    """A Celery message (protocol 2) as kombu's Redis transport stores it in a queue's list.

    https://docs.celeryq.dev/en/stable/internals/protocol.html
    """
    message_id = task_ids[0] if len(task_ids) == 1 else str(uuid.uuid4())
    body = json.dumps([[task_ids], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/x-plain-json",
        "headers": {
            "lang": "py",
            "task": TASK_NAME,
            "id": message_id,
            "root_id": message_id,
            "parent_id": None,
            "group": None,
            "ignore_result": True,
            "argsrepr": f"({task_ids!r},)" if len(task_ids) <= 3 else f"({len(task_ids)} tasks)",
            "kwargsrepr": "{}",
            "origin": "api",
            "retries": 0,
            "timelimit": [None, None],
        },
        "properties": {
            "correlation_id": message_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": store.QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return json.dumps(envelope).encode()


app = create_celery(get_settings())
