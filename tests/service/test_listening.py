"""Where the API is reached, and by which names."""

from __future__ import annotations

import pytest

from denzel.listening import is_loopback
from denzel.settings import Settings, SettingsError


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_known(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "10.0.0.1", "api", "127.0.0.1.example", "::ffff:10.0.0.1"])
def test_everything_else_counts_as_reached_by_others(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        ({}, True),
        ({"API_BIND": "[::1]:8000"}, True),
        ({"API_BIND": "localhost:8000"}, True),
        ({"API_BIND": "unix:/run/api.sock"}, True),
        ({"API_BIND": "0.0.0.0:8000"}, False),
        ({"API_BIND": "[::]:8000"}, False),
        ({"API_BIND": ":8000"}, False),
        ({"API_BIND": "0.0.0.0:8000", "API_LISTENS_ON": "127.0.0.1"}, True),
        ({"API_BIND": "0.0.0.0:8000", "API_LISTENS_ON": "127.0.0.1,0.0.0.0"}, False),
        ({"API_BIND": "127.0.0.1:8000", "API_LISTENS_ON": "10.0.0.1"}, False),
    ],
)
def test_who_reaches_the_api_is_told_by_its_addresses(settings: dict[str, str], alone: bool) -> None:
    assert Settings.from_environment(settings).is_on_loopback is alone


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("", ""),
        (" ML.example.com , 10.0.0.5,", "ml.example.com,10.0.0.5"),
        ("[::1],2001:DB8::1", "::1,2001:db8::1"),
        ("*.Lab.example,*", "*.lab.example,*"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("my_api", "my_api"),
    ],
)
def test_hosts_are_read_as_browsers_send_them(written: str, read: str) -> None:
    assert Settings.from_environment({"ALLOWED_HOSTS": written}).allowed_hosts == read


@pytest.mark.parametrize(
    "written", ["https://a.example", "a.example:80", "[::1]:80", "a/b", "a b", "*a.example", "a.*.example", "a..b", "@"]
)
def test_what_is_no_host_is_named(written: str) -> None:
    with pytest.raises(SettingsError, match=r"ALLOWED_HOSTS.*: expected hosts such as ml\.example\.com") as raised:
        Settings.from_environment({"ALLOWED_HOSTS": f"good.example,{written}"})
    assert repr(written) in str(raised.value)
