"""The service for fixtures of a wider scope than a test: its URL, and receivers of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.conftest import Project


@pytest.mark.parametrize(("tier", "options"), [("inline", []), ("local", []), ("local", ["-n2"])])
def test_url_and_receivers_of_a_session(
    project: Project, sessions: Callable[[], list[Path]], tier: str, options: list[str]
) -> None:
    project.test(
        """
        import pytest
        import requests

        REQUEST = {"data": {"a": 1}}

        @pytest.fixture(scope="module")
        def answered(denzel_url):
            return requests.post(f"{denzel_url}/predict", json=REQUEST, timeout=30).json()

        @pytest.fixture(scope="session")
        def receiver(make_callback_receiver):
            return make_callback_receiver()

        def test_url(answered):
            assert answered == {"a": 2}

        def test_receiver(denzel_url, receiver):
            request = {**REQUEST, "callback_uri": receiver.url}
            headers = {"Prefer": "respond-async"}
            answer = requests.post(f"{denzel_url}/predict", json=request, headers=headers, timeout=30)
            callback = receiver.wait_for(answer.json()["data"]["task_id"])
            assert receiver.secret
            assert callback.json() == {"a": 2}

        def test_the_same(denzel_url, denzel_service, receiver, make_callback_receiver):
            assert denzel_url == denzel_service.url
            assert make_callback_receiver().url != receiver.url

        def test_beside_changes(denzel_service, request):
            denzel_service.set_response("async")
            assert request.getfixturevalue("denzel_url") == denzel_service.url

        def test_fails(denzel_url):
            assert requests.post(f"{denzel_url}/predict", json={"data": {"a": -1}}, timeout=30).ok
        """
    )
    result = project.run("tests", f"--denzel-tier={tier}", *options)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines([f"*- log of {'denzel' if tier == 'local' else 'api'} ({tier}) -*"])
    assert sessions() == []
