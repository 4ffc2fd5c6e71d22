"""The sender of callbacks as a process: `python -m denzel.callbacks`, started by the supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys

import uvloop
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from denzel.callback_addresses import CallbackPolicy
from denzel.callbacks.courier import Courier
from denzel.callbacks.dispatcher import CONNECTIONS
from denzel.callbacks.sender import Sender
from denzel.log.configure import configure
from denzel.metrics.counts import COUNTS
from denzel.processes import die_with_parent
from denzel.queue import owner
from denzel.settings import Settings, get_settings
from denzel.tracing import switch
from denzel.tracing.spans import Spans


async def serve(settings: Settings, policy: CallbackPolicy, sender: Sender, spans: Spans) -> None:
    """Deliver callbacks until SIGTERM or SIGINT."""
    client = redis.Redis.from_url(
        settings.redis_url,
        redis_connect_func=owner.visiting_async,
        socket_timeout=10,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
    )
    async with sender:
        span, expires = settings.callback_retry_span, settings.result_expires
        courier = Courier(
            client, sender, policy, span, expires, _connections(), settings.log_sample, spans,
            settings.callback_connections, settings.callback_retries,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, courier.stop)
        await courier.run()
    await client.aclose()


def _connections() -> int:
    """As many connections as the open files that the system grants allow for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
    return min(CONNECTIONS, files // 2)


def main() -> None:
    """Run the process."""
    die_with_parent()
    COUNTS.inherit("callbacks")
    try:
        settings = get_settings()
        policy = settings.callback_policy
        ca, proxy = settings.callback_ca, settings.callback_proxy
        sender = Sender(policy, settings.callback_secret, settings.callback_timeout, ca=ca, proxy=proxy)
    except ValueError as error:
        sys.exit(str(error))
    configure(settings, "callbacks", stream="stdout")
    spans = switch.start(settings, "callbacks")
    uvloop.run(serve(settings, policy, sender, spans))
    spans.stop()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # a name server that does not answer keeps a thread, which an ordinary exit would wait for


if __name__ == "__main__":
    main()
