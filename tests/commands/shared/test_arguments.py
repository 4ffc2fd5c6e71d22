"""Words of the user, taken apart and checked."""

from __future__ import annotations

import pytest

from commands.shared import arguments
from commands.shared.project import CommandError


def test_arguments_replace_defaults_and_empty_ones_do_not() -> None:
    allowed = {"API_PORT": "8000", "LIVE": "0"}
    assert arguments.parse_arguments(["API_PORT=", "LIVE=1"], allowed) == {"API_PORT": "8000", "LIVE": "1"}


@pytest.mark.parametrize("word", ["PORT=1", "API_PORT", "=1"])
def test_an_unknown_variable_is_answered_with_those_that_there_are(word: str) -> None:
    with pytest.raises(CommandError, match="it takes API_PORT, LIVE"):
        arguments.parse_arguments([word], {"API_PORT": "8000", "LIVE": "0"})


@pytest.mark.parametrize("value", ["0", "65536", "-1", "80a", "8 0", "", "٨٠", "1e3", "8.0"])
def test_a_port_is_a_number_from_1_to_65535(value: str) -> None:
    with pytest.raises(CommandError, match="API_PORT must be a port number from 1 to 65535"):
        arguments.port(value, "API_PORT")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ""])
def test_a_positive_number_is_finite_and_above_zero(value: str) -> None:
    with pytest.raises(CommandError, match="TIMEOUT must be a number greater than 0"):
        arguments.positive_number(value, "TIMEOUT")


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("no", False)]
)
def test_a_switch_is_on_or_off(value: str, expected: bool) -> None:
    assert arguments.switch(value, "LIVE") is expected


def test_a_switch_refuses_anything_else() -> None:
    with pytest.raises(CommandError, match="LIVE must be 1 or 0, not 'maybe'"):
        arguments.switch("maybe", "LIVE")


def test_an_address_is_not_a_name() -> None:
    assert arguments.address("[::1]", "API_HOST") == "::1"
    with pytest.raises(CommandError, match=r"API_HOST must be an IP address such as 127\.0\.0\.1"):
        arguments.address("localhost", "API_HOST")
