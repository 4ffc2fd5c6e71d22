"""The services of a run: started by whoever needs them first, shared by all, stopped at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from pytest_denzel import messages
from pytest_denzel.project import PROJECT, Project
from pytest_denzel.settings import SETTINGS, Settings
from pytest_denzel.tiers import session, sweep
from pytest_denzel.tiers.session import Session, Turn
from pytest_denzel.tiers.tier import ServiceFailed, Tier

STACK: pytest.StashKey[Stack] = pytest.StashKey()
_LOG_ENDS: pytest.StashKey[dict[str, float]] = pytest.StashKey()

_GRACE = 3.0  # seconds that the services get to end by themselves
_LOG_LINES = 100  # of each service, attached to the report of a test that failed


class Stack:
    """The tier of this run, and which of its services are up."""

    def __init__(self, config: pytest.Config) -> None:
        found = config.stash[PROJECT]
        assert found is not None
        self._settings = config.stash[SETTINGS]
        self._session = session.of(config)
        self._unavailable: str | None = None
        self.turn: Turn | None = None  # of the test that runs
        self.tier: Tier = _create_tier(self._session, found, self._settings)
        self.tier.tell = lambda text: _tell(config, text)

    def join(self) -> Turn:
        """A test's place among those that share the services.

        Skips the test where this machine cannot run the tier, and fails it where that was demanded.
        """
        self._check_available()
        self._session.open()
        return Turn(self._session)

    def require(self, service: str, item: pytest.Item) -> Tier:
        """The tier with this service, and all that it needs, up and ready; for a test that has joined.

        Raises:
            ServiceFailed: a service did not come up.
        """
        needed = self.tier.services[: self.tier.services.index(service) + 1]
        with self._session.starting():
            self._start(needed)
        item.stash[_LOG_ENDS] = {name: self.tier.log_end(name) for name in needed}
        return self.tier

    def _check_available(self) -> None:
        if self._unavailable is None:
            self._unavailable = self.tier.unavailable() or ""
        if self._unavailable:
            demanded = self._settings.demanded
            reason = messages.tier_unavailable(self.tier.name, self._unavailable, demanded)
            if demanded:
                messages.fail(reason)
            pytest.skip(reason)

    def _start(self, needed: Sequence[str]) -> None:
        state = self._session.state
        if failed := state.get("failed"):
            raise ServiceFailed(messages.failed_before(failed))
        self.tier.values.update(state.get("values", {}))
        started = state.get("started", [])
        if state.get("starting"):  # whoever began this did not get to its end: a time limit, Ctrl-C
            self.tier.discard()
            started = []
        try:
            if not state:
                self.tier.prepare()
            if missing := [name for name in needed if name not in started]:
                self._session.state = {"values": self.tier.values, "started": started, "starting": missing}
                self.tier.start(missing)
                self.tier.wait_until_ready(needed)
                started = [*started, *missing]
            self._session.state = {"values": self.tier.values, "started": started}
        except ServiceFailed as error:
            self._session.state = {"values": self.tier.values, "started": [], "failed": str(error)}
            raise


def of(config: pytest.Config) -> Stack:
    """The stack of this run."""
    if STACK not in config.stash:
        config.stash[STACK] = Stack(config)
    return config.stash[STACK]


def _tell(config: pytest.Config, text: str) -> None:
    """Show a line at once, whatever pytest captures; workers of xdist have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter and capture and not hasattr(config, "workerinput"):
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{text}")


def log_sections(item: pytest.Item) -> list[tuple[str, str]]:
    """What the services have printed since the test began, for its report."""
    sections = []
    for name, end in item.stash.get(_LOG_ENDS, {}).items():
        tier = of(item.config).tier
        lines = tier.log(name, since=end).rstrip().splitlines()
        if lines:
            more = [f"... {len(lines) - _LOG_LINES} lines before"] if len(lines) > _LOG_LINES else []
            sections.append((f"log of {name} ({tier.name})", "\n".join([*more, *lines[-_LOG_LINES:]])))
    return sections


def finish(config: pytest.Config) -> str | None:
    """End what this run has started, or keep it where that was asked for; a text that says how to reach it."""
    current = config.stash.get(session.SESSION, None)
    if current is None or not current.is_owner or not current.exists:
        return None
    if not config.stash[SETTINGS].keep:
        current.close(_GRACE)
        return None
    current.keep()
    state = current.state
    values = state.get("values", {})
    lines = [f"{name}: {values[name]}" for name in ("api_url", "redis_url") if name in values]
    found = config.stash[PROJECT]
    command = " ".join(sweep.command("remove", current.folder))
    return messages.kept(found.name if found else "", lines, command)


def close_clients() -> None:
    """Let go of connections that this process holds."""
    if "pytest_denzel.tiers.queue" in sys.modules:
        from pytest_denzel.tiers import queue

        queue.close_all()


def _create_tier(session: Session, project: Project, settings: Settings) -> Tier:
    """The tier that was chosen."""
    if settings.tier == "docker":
        from pytest_denzel.tiers.docker import DockerTier

        return DockerTier(session, project, settings)
    from pytest_denzel.tiers.local import InlineTier, LocalTier

    return (LocalTier if settings.tier == "local" else InlineTier)(session, project, settings)
