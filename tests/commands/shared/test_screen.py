"""What the commands print."""

from __future__ import annotations

import pytest

from commands.shared import screen


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert screen.colour("UP", "green") == "UP"
    assert screen.colour("UP", "green", Terminal()) == "\033[32mUP\033[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.colour("UP", "green", Terminal()) == "UP"
