"""Disturbing the services on purpose; the test's end puts everything right again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pytest_denzel.tiers.tier import API, REDIS, WORKER, ServiceFailed

if TYPE_CHECKING:
    from pytest_denzel.tiers.session import Turn
    from pytest_denzel.tiers.tier import Tier

__tracebackhide__ = True


class Chaos:
    """Kills, restarts and pauses the services of a tier that has them.

    All tests share the services: the first disturbance waits until no other xdist worker uses them, and keeps the
    others away until the test has ended.
    """

    def __init__(self, tier: Tier, turn: Turn) -> None:
        self._tier = tier
        self._turn = turn
        self._down: list[str] = []
        self._paused: list[str] = []
        self._unsure: set[str] = set()  # of those that are down: whether they are, if this was interrupted
        self._disturbed = False

    def __repr__(self) -> str:
        down, paused = (", ".join(names) or "nothing" for names in (self._down, self._paused))
        return f"<denzel_chaos: down: {down}; paused: {paused}>"

    def kill_worker_process(self) -> int:
        """Kill one prediction process (SIGKILL), whatever it is doing; its pid, as seen where it runs."""
        self._begin()
        return self._tier.kill_worker_process()

    def kill_worker(self) -> None:
        """Kill the whole worker (the denzel container) by SIGKILL; it stays down until `start_worker`."""
        self._take_down(WORKER, by_force=True)

    def start_worker(self) -> None:
        """Start the worker after `kill_worker` and wait until the model is loaded."""
        self._bring_up(WORKER)

    def restart_worker(self) -> None:
        """Stop the worker, which finishes its current work first, and start it again."""
        self._take_down(WORKER)
        self._bring_up(WORKER)

    def kill_redis(self) -> None:
        """Kill Redis by SIGKILL; it stays down until `start_redis`."""
        self._take_down(REDIS, by_force=True)

    def start_redis(self) -> None:
        """Start Redis after `kill_redis` and wait until it has loaded its data."""
        self._bring_up(REDIS)

    def restart_redis(self) -> None:
        """Stop Redis and start it again with its data."""
        self._take_down(REDIS)
        self._bring_up(REDIS)

    @contextlib.contextmanager
    def redis_paused(self) -> Iterator[None]:
        """Redis answers nothing while the body runs, with its connections left open."""
        self._begin()
        self._tier.pause(REDIS)
        self._paused.append(REDIS)
        try:
            yield
        finally:
            self._tier.resume(REDIS)
            self._paused.remove(REDIS)

    def kill_api(self) -> None:
        """Kill the API by SIGKILL; it stays down until `start_api`."""
        self._take_down(API, by_force=True)

    def start_api(self) -> None:
        """Start the API after `kill_api` and wait until it can predict."""
        self._bring_up(API)

    def restart_api(self) -> None:
        """Stop the API, which answers its current requests first, and start it again."""
        self._take_down(API)
        self._bring_up(API)

    def put_right(self) -> None:
        """Resume and start what is paused or down, and wait until the services are ready."""
        for service in self._paused:
            self._tier.resume(service)
        self._paused.clear()
        for service in self._unsure:
            with contextlib.suppress(ServiceFailed):  # it is down
                self._tier.kill(service)
        self._unsure.clear()
        if self._down:
            self._start([service for service in self._tier.services if service in self._down])
            self._down.clear()
        if self._disturbed:
            self._tier.wait_until_ready(self._tier.running())
            self._disturbed = False

    def _begin(self) -> None:
        self._turn.make_exclusive()
        self._disturbed = True

    def _take_down(self, service: str, by_force: bool = False) -> None:
        self._begin()
        if service not in self._down:
            self._down.append(service)
            self._unsure.add(service)
            (self._tier.kill if by_force else self._tier.stop)(service)
            self._unsure.remove(service)

    def _start(self, services: list[str]) -> None:
        if WORKER in services and REDIS not in self._down:
            self._tier.forget_worker()
        self._tier.start(services)

    def _bring_up(self, service: str) -> None:
        if service in self._down:
            self._unsure.add(service)
            self._start([service])
            self._down.remove(service)
            self._unsure.remove(service)
        up = [name for name in self._tier.running() if name not in self._down]
        # what needs a service that is still down cannot become ready
        needed = up[: up.index(service) + 1] if self._down else up
        self._tier.wait_until_ready(needed)
