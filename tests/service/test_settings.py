"""The settings: defaults, what may be said, and that all that is wrong is told at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from denzel.settings import Settings, SettingsError, available_cores
from tests.support.services import Service


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def test_every_setting_has_a_default() -> None:
    settings = read()
    assert settings.redis_url == settings.broker_url == "redis://127.0.0.1:6379/0"
    assert (settings.sync_timeout, settings.max_wait, settings.max_body_bytes) == (5.0, 60, 10 * 2**20)
    assert settings.worker_concurrency == available_cores()
    assert settings.callback_ports == "80,443,8080,8443"


def test_an_empty_value_means_the_default() -> None:
    names = [
        "REDIS_URL",
        "BROKER_URL",
        "SYNC_TIMEOUT",
        "MAX_QUEUE",
        "LOG_LEVEL",
        "WORKER_CONCURRENCY",
        "CALLBACK_ALLOW",
    ]
    assert read(**dict.fromkeys(names, "")) == read(**dict.fromkeys(names, "  ")) == read()


def test_empty_callback_ports_mean_any() -> None:
    assert read(CALLBACK_PORTS="").callback_ports == ""


def test_the_broker_is_redis_unless_told_otherwise() -> None:
    settings = read(REDIS_URL="rediss://x/1")
    assert settings.broker_url == "rediss://x/1"
    assert settings.broker_is_redis
    assert settings.tickets_in_redis
    settings = read(REDIS_URL="redis://x/1", BROKER_URL="amqp://y//")
    assert not settings.broker_is_redis
    assert not settings.tickets_in_redis


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("SYNC_TIMEOUT", "0", 0.0),
        ("SYNC_TIMEOUT", " 2.5 ", 2.5),
        ("MAX_QUEUE", "1", 1),
        ("MAX_QUEUE_BYTES", "auto", 0),
        ("MAX_QUEUE_BYTES", "5000000", 5_000_000),
        ("WORKER_CONCURRENCY", "7", 7),
        ("WORKER_CONCURRENCY", "AUTO", available_cores()),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("EXECUTOR", "Inline", "inline"),
        ("REDIS_URL", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("PROJECT_SLUG", "iris-2", "iris-2"),
    ],
)
def test_a_value_is_read(name: str, text: str, value: object) -> None:
    assert getattr(read(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SYNC_TIMEOUT", "soon", "expected a number from 0 to 86400"),
        ("SYNC_TIMEOUT", "nan", "expected a number from 0 to 86400"),
        ("SYNC_TIMEOUT", "-1", "expected a number from 0 to 86400"),
        ("MAX_QUEUE", "0", "expected a whole number from 1 to "),
        ("MAX_QUEUE_BYTES", "1", "expected a whole number from 1000000 to "),
        ("MAX_QUEUE_BYTES", "many", "expected a whole number from 1000000 to 1000000000000000, or auto"),
        ("MAX_QUEUE", "1.5", "expected a whole number from 1 to "),
        ("WORKER_CONCURRENCY", "many", "expected a whole number from 1 to 1024, or auto"),
        ("WORKER_CONCURRENCY", "0", "expected a whole number from 1 to 1024, or auto"),
        ("LOG_LEVEL", "loud", "expected one of: debug, info, warning, error"),
        ("EXECUTOR", "threads", "expected one of: queue, inline"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(**{name: text})
    assert f"{name} is {text!r}: {expected}" in str(caught.value)
    assert "correct them in .env" in str(caught.value)


@pytest.mark.parametrize("text", ["", "http://api:8000", "https://example.com/below/", "http://[::1]:8000"])
def test_the_address_of_the_inbox_is_taken(text: str) -> None:
    assert read(DOCS_INBOX="on", DOCS_INBOX_URL=text).docs_inbox_url == text


@pytest.mark.parametrize(
    "text",
    ["api:8000", "api", "ftp://api", "http://", "http:///x", "http://api:port", "http://api:99999", "http://[::1",
     "http://user:secret@api", "http://api/?a=b", "http://api#x", "http://a b", "http://api,10.0.0.0/8", "http://10.0.0.*"],
)  # fmt: skip
def test_a_wrong_address_of_the_inbox_is_named(text: str) -> None:
    with pytest.raises(SettingsError, match=r"DOCS_INBOX_URL.*: expected a URL such as http://api:8000"):
        read(DOCS_INBOX="on", DOCS_INBOX_URL=text)


def test_all_wrong_values_are_named_at_once_and_no_password() -> None:
    with pytest.raises(SettingsError) as caught:
        read(REDIS_URL="http://:secret@x/", BROKER_URL="secret", MAX_WAIT="x", API_WORKERS="-1")
    for name in ("REDIS_URL", "BROKER_URL", "MAX_WAIT", "API_WORKERS"):
        assert name in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_what_a_new_project_says_is_understood(baked: Path) -> None:
    lines = (baked / ".env").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert Settings.from_environment(environment).sync_timeout == 5.0


def test_wrong_settings_stop_every_service_with_their_names(new_service: Callable[..., Service]) -> None:
    service = new_service(MAX_WAIT="soon", LOG_LEVEL="loud")
    service.start_only("api", "denzel")
    for name in ("api", "denzel"):
        assert service.wait_for_end(name) != 0
        assert "MAX_WAIT is 'soon': expected a number from 0 to 86400" in service.log(name)
        assert "LOG_LEVEL is 'loud'" in service.log(name)


def test_cores_follow_the_affinity() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system knows no affinity")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= available_cores() <= len(before)
