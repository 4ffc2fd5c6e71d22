"""The Celery message that wakes a worker, and what else the scripts need to know of the settings."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass

from denzel.queue import keys
from denzel.settings import Settings

# The Celery task that a ticket asks for: claim what waits, and work until nothing does.
WORK = "denzel.work"


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What the scripts need to know of the service's settings.

    Attributes:
        ticket_queue: the Redis list of the Celery queue; empty where tickets travel through another broker.
        ticket: the message that wakes a worker.
        sync_expires: seconds that the record of an answered synchronous task lives.
        expires: seconds that the other records live after their end.
    """

    ticket_queue: str
    ticket: bytes
    sync_expires: int
    expires: int


def queue_settings(settings: Settings) -> QueueSettings:
    """What the store's scripts need to know."""
    return QueueSettings(
        ticket_queue=keys.TICKETS if settings.tickets_in_redis else "",
        ticket=ticket_message(),
        sync_expires=settings.sync_result_expires,
        expires=settings.result_expires,
    )


def ticket_message() -> bytes:
    """A ticket as kombu's Redis transport stores a message of Celery's protocol 2 in a queue's list.

    All tickets are alike: they only wake a worker, and it does no harm when one is lost or comes twice.
    https://docs.celeryq.dev/en/stable/internals/protocol.html
    """
    ticket_id = str(uuid.UUID(int=0))
    body = json.dumps([[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/x-plain-json",
        "headers": {
            "lang": "py",
            "task": WORK,
            "id": ticket_id,
            "root_id": ticket_id,
            "parent_id": None,
            "group": None,
            "ignore_result": True,
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": "denzel",
            "retries": 0,
            "timelimit": [None, None],
        },
        "properties": {
            "correlation_id": ticket_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": keys.QUEUE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": ticket_id,
        },
    }
    return json.dumps(envelope).encode()
