"""Every setting of the service, read from the environment in this one place (the names are those of `.env`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from denzel import setting_values as read
from denzel.api_keys import Keys, of_setting
from denzel.callback_addresses import CallbackPolicy
from denzel.listening import WITHOUT_KEYS, addresses, is_loopback, parse_hosts, parse_paths, parse_rates
from denzel.signing import read_secrets


class SettingsError(ValueError):
    """One or more settings have a value that cannot be used; the message names each of them."""


def available_cores() -> int:
    """Cores that this process may use: its CPU affinity, and in a container its quota (cgroup v2 or v1), at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in (_read_numbers("cpu.max"), _read_numbers("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        if quota and period:
            cores = min(cores, -(-quota // period))
    return max(1, cores)


def _read_numbers(*files: str) -> tuple[int, int]:
    """Two numbers from files below /sys/fs/cgroup; 0, 0 where they are not there, or say that there is no limit."""
    try:
        words = " ".join((_CGROUP / name).read_text(encoding="ascii") for name in files).split()
        first, second = (int(word) for word in words)
    except (OSError, ValueError):
        return 0, 0
    return (first, second) if first > 0 else (0, 0)


# Where the kernel tells the limits of a container.
_CGROUP = Path("/sys/fs/cgroup")

_REDIS = ("redis", "rediss", "unix")
_DAY = 86_400

# field -> (default, parser). An unset or empty variable means the default.
_TABLE: dict[str, tuple[str, Callable]] = {
    "redis_url": ("redis://127.0.0.1:6379/0", read.url(*_REDIS)),
    "callbacks_redis_url": ("", read.checked_by(lambda text: text and read.url(*_REDIS)(text))),  # empty: redis_url
    "redis_cause": ("", str),  # where Redis' container says why it does not start; empty: nowhere
    "broker_url": ("", read.url(*_REDIS, "amqp", "amqps")),
    "project_slug": ("denzel", str),
    "project_id": ("", read.identity),
    "executor": ("queue", read.choice("queue", "inline")),
    "direct": ("on", read.choice("on", "off")),
    "direct_folder": (".denzel/direct", read.folder),
    "sync_timeout": ("5.0", read.number(0, _DAY)),
    "max_wait": ("60", read.number(0, _DAY)),
    "max_wait_async": ("86400", read.number(1, 10**8)),
    "max_body_bytes": ("10485760", read.number(1, 2**31, int)),
    "max_values": ("500000", read.number(1_000, 10**9, int)),
    "max_ids": ("100000", read.number(1, 10**9, int)),
    "api_memory": ("512000000", read.number(10**7, 10**13, int)),
    "max_batch_size": ("512", read.number(1, 10**6, int)),
    "max_queue": ("100000", read.number(1, 10**9, int)),
    "max_queue_bytes": ("auto", read.number_or_auto(lambda: 0, 10**6, 10**15)),  # 0: as fits Redis
    "sync_result_expires": ("60", read.number(1, 10**8, int)),
    "result_expires": ("86400", read.number(1, 10**8, int)),
    "verify_timeout": ("10", read.number(0.1, 3600)),
    "api_bind": ("127.0.0.1:8000", str),
    "api_connections": ("10000", read.number(1, 10**6, int)),
    "head_timeout": ("10", read.number(1, _DAY)),
    "keepalive_timeout": ("75", read.number(1, _DAY)),
    "body_min_rate": ("1000", read.number(0, 10**9)),
    "body_timeout": ("60", read.number(1, _DAY)),
    "body_rate": ("50000", read.number(0, 10**9)),
    "send_timeout": ("30", read.number(1, _DAY)),
    "api_workers": ("auto", read.number_or_auto(lambda: min(2, available_cores()))),
    "gpu_count": ("0", read.number(0, 64, int)),
    "worker_concurrency": ("auto", read.number_or_auto(available_cores)),
    "predict_threads": ("auto", read.number_or_auto(lambda: 0)),  # 0: the cores divided by the processes
    "task_time_limit": ("3600", read.number(0, 10**8)),
    "task_soft_time_limit": ("0", read.number(0, 10**8)),
    "cancel_grace": ("5", read.number(0, 10**6)),
    "cancel_budget": ("0.1", read.number(0, 1)),
    "stop_grace": ("25", read.number(0, 10**6)),
    "api_listens_on": ("", str),  # addresses by which others reach the API; empty: that of api_bind
    "api_keys": ("", read.checked_by(of_setting)),
    "api_keys_file": ("keys/api_keys", lambda text: read.folder(text) if text else ""),  # empty: there is none
    "api_open": ("no", read.choice("yes", "no")),
    "api_rate_limit": ("", parse_rates),
    "open_paths": ("", parse_paths),
    "allowed_hosts": ("", parse_hosts),
    "cors_origins": ("", read.origins),
    "front_page": ("on", read.choice("on", "off")),
    "docs": ("on", read.choice("on", "off")),
    "docs_inbox": ("off", read.choice("on", "off")),
    # This service as the sender of callbacks reaches it; empty: by api_bind.
    "docs_inbox_url": ("", read.url_of_a_service),
    "monitor_url": ("", str),  # what the pages link to; `:PORT` is one of the same host
    "callback_allow": ("", read.checked_by(lambda text: CallbackPolicy(allow=text))),
    "callback_allow_only": ("0", read.switch),
    "callback_ca": ("", read.certificates),
    "callback_proxy": ("", read.proxy),
    "callback_connections": ("100", read.number(1, 100, int)),
    "callback_retries": ("10000", read.number(0, 10**9, int)),
    "callback_ports": ("80,443,8080,8443", read.checked_by(lambda text: CallbackPolicy(ports=text))),
    "callback_secret": ("", read.checked_by(read_secrets)),
    "callback_timeout": ("15", read.number(0.1, 600)),
    "callback_retry_span": ("86400", read.number(0, 10**8)),
    "monitor_rate": ("200", read.number(0, 10**6)),
    "monitor_shows_data": ("off", read.choice("on", "off")),
    "monitor_control": ("off", read.choice("on", "off")),
    "metrics": ("on", read.choice("on", "off")),
    "log_level": ("info", read.choice("debug", "info", "warning", "error")),
    "log_format": ("text", read.choice("text", "json")),
    "log_sample": ("100", read.number(0, 10**6)),
    "log_repeats": ("20", read.number(0, 10**6, int)),
    "log_file": ("logs/worker.log", str),
    "log_max_bytes": ("10000000", read.number(10_000, 10**10, int)),
    "log_backups": ("3", read.number(0, 100, int)),
    "ready_file": ("/tmp/denzel.ready", str),  # the health check reads its age
}

# Not shown, even where they are wrong.
_SECRET = ("CALLBACK_SECRET", "CALLBACK_PROXY", "API_KEYS")

# An empty value is a choice here ("none", "any port"), not a request for the default.
_MAY_BE_EMPTY = {
    *("cors_origins", "callback_allow", "callback_ca", "callback_proxy", "callback_ports", "callback_secret"),
    "api_keys_file",
}


@dataclass(frozen=True)
class Settings:
    """The service's settings; durations are in seconds, sizes in bytes."""

    redis_url: str
    callbacks_redis_url: str
    redis_cause: str
    broker_url: str
    project_slug: str
    project_id: str
    executor: str
    direct: str
    direct_folder: str
    sync_timeout: float
    max_wait: float
    max_wait_async: float
    max_body_bytes: int
    max_values: int
    max_ids: int
    api_memory: int
    max_batch_size: int
    max_queue: int
    max_queue_bytes: int
    sync_result_expires: int
    result_expires: int
    verify_timeout: float
    api_bind: str
    api_connections: int
    head_timeout: float
    keepalive_timeout: float
    body_min_rate: float
    body_timeout: float
    body_rate: float
    send_timeout: float
    api_workers: int
    gpu_count: int
    worker_concurrency: int
    predict_threads: int
    task_time_limit: float
    task_soft_time_limit: float
    cancel_grace: float
    cancel_budget: float
    stop_grace: float
    api_listens_on: str
    api_keys: str
    api_keys_file: str
    api_open: str
    api_rate_limit: str
    open_paths: str
    allowed_hosts: str
    cors_origins: str
    front_page: str
    docs: str
    docs_inbox: str
    docs_inbox_url: str
    monitor_url: str
    callback_allow: str
    callback_allow_only: bool
    callback_ca: str
    callback_proxy: str
    callback_connections: int
    callback_retries: int
    callback_ports: str
    callback_secret: str
    callback_timeout: float
    callback_retry_span: float
    monitor_rate: float
    monitor_shows_data: str
    monitor_control: str
    metrics: str
    log_level: str
    log_format: str
    log_sample: float
    log_repeats: int
    log_file: str
    log_max_bytes: int
    log_backups: int
    ready_file: str

    @property
    def broker_is_redis(self) -> bool:
        """True when the messages travel through Redis, False when through RabbitMQ."""
        return urlsplit(self.broker_url).scheme in _REDIS

    @property
    def tickets_in_redis(self) -> bool:
        """True when tasks and messages live in the same Redis, so that both are written in one step."""
        return self.broker_url == self.redis_url

    @property
    def is_on_loopback(self) -> bool:
        """Whether the API is reached from its own machine alone."""
        return all(map(is_loopback, self._listens_on))

    def require_keys(self) -> None:
        """Nobody but its own machine reaches an API without keys, unless that is meant.

        Raises:
            SettingsError: says what to do.
        """
        try:
            are_on = Keys(self.api_keys, self.api_keys_file).are_on
        except ValueError as error:
            raise SettingsError(f"The API's keys: {error}.") from None
        if not (are_on or self.is_on_loopback or self.api_open == "yes"):
            raise SettingsError(f"{WITHOUT_KEYS} (It listens on {', '.join(self._listens_on) or 'every network'}.)")

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """What else the API is asked by than its machine's usual names: its addresses, its container's name."""
        return (*self._listens_on, urlsplit(self.docs_inbox_url).hostname or "")

    @property
    def _listens_on(self) -> list[str]:
        return addresses(self.api_listens_on, self.api_bind)

    @property
    def inbox_url(self) -> str:
        """Where the sender of callbacks reaches the inbox of /docs; empty while that is switched off."""
        if self.docs_inbox == "off" or self.docs == "off":
            return ""
        return self.docs_inbox_url or f"http://{self.api_bind.replace('0.0.0.0', '127.0.0.1')}"

    @property
    def callback_policy(self) -> CallbackPolicy:
        """Where callbacks may go: as CALLBACK_ALLOW and CALLBACK_PORTS say, and to the inbox of /docs."""
        own = urlsplit(self.inbox_url).netloc
        allow = ",".join(filter(None, (self.callback_allow, own)))
        return CallbackPolicy(allow, self.callback_ports, self.callback_allow_only)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read all settings.

        Raises:
            SettingsError: names every variable whose value cannot be used, and what was expected.
        """
        values: dict[str, Any] = {}
        problems = []
        for field in fields(cls):
            default, parse = _TABLE[field.name]
            name = field.name.upper()
            text = environment.get(name)
            if text is None or (not text.strip() and field.name not in _MAY_BE_EMPTY):
                text = default
            if name == "BROKER_URL" and not text:
                text = values.get("redis_url", _TABLE["redis_url"][0])
            if name == "WORKER_CONCURRENCY" and text.strip().lower() == "auto" and values.get("gpu_count"):
                text = str(values["gpu_count"])
            try:
                values[field.name] = parse(text.strip())
            except ValueError as error:
                is_secret = "://" in text or name in _SECRET  # URLs hold passwords
                shown = "" if is_secret else f" is {text!r}"
                problems.append(f"{name}{shown}: {str(error).removeprefix(name).lstrip(': ')}")
        if problems:
            raise SettingsError("Wrong settings (correct them in .env):\n  " + "\n  ".join(problems))
        return cls(**values)


def project(environment: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """The project's name and identity, which the names in Redis carry: known before the settings are checked."""
    name = environment.get("PROJECT_SLUG", "").strip() or _TABLE["project_slug"][0]
    return name, environment.get("PROJECT_ID", "").strip()


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.from_environment()
