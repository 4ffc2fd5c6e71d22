"""A callback that has ended is sent again on demand."""

from __future__ import annotations

import redis

from denzel.queue import callbacks
from tests.service.support.sending import Sending
from tests.support.receivers import Receivers, Reply


def test_redeliver_sends_again_with_a_fresh_span(sending: Sending, receivers: Receivers) -> None:
    receiver = receivers.open(Reply(410), Reply())
    (task_id,) = sending.finish(receiver.url)
    sending.wait(task_id, state="gone")
    assert callbacks.redeliver(sending.redis, task_id) == "queued"
    assert sending.wait(task_id, state="delivered")["attempts"] == 1


def test_redeliver_says_why_not(empty_redis: redis.Redis) -> None:
    def task(**fields: str) -> str:
        empty_redis.delete("denzel/tested:task:x")
        empty_redis.hset("denzel/tested:task:x", mapping={"mode": "async", "callback_uri": "http://x/", **fields})
        return callbacks.redeliver(empty_redis, "x")

    assert callbacks.redeliver(empty_redis, "x") == "unknown"
    assert task(status="STARTED") == "not ended"
    assert task(status="SUCCESS", callback_uri="") == "no callback"
    assert task(status="SUCCESS", mode="sync") == "no callback"
    assert empty_redis.zcard("denzel/tested:callbacks") == 0
