"""What a test leaves in the queue does not delay the next one."""

from __future__ import annotations

import pytest

from tests.plugin.conftest import Project

# -3 takes half a second for each task here, as nothing is batched; the next test would wait for all of them.
LEAVES = """
    import time

    REQUEST = {{"data": {{"a": -3}}}}

    def test_leaves(denzel_{fixture}):
        for _ in range(16):
            denzel_{fixture}.{submit}(REQUEST)
        {more}

    def test_the_next(denzel_{fixture}):
        started = time.monotonic()
        denzel_{fixture}.wait(denzel_{fixture}.{submit}({{"data": {{"a": 1}}}}))
        assert time.monotonic() - started < 3
"""
RAW = 'denzel_service.request("POST", "/predict", REQUEST, {{"Prefer": "respond-async"}})'


@pytest.fixture
def slow(project: Project) -> Project:
    project.edit_pipeline("BATCHABLE = True", "BATCHABLE = False")
    project.set_env("WORKER_CONCURRENCY", 1)
    return project


@pytest.mark.parametrize(
    ("tier", "fixture", "submit"),
    [("inline", "service", "predict_async"), ("local", "service", "predict_async"), ("local", "worker", "submit")],
)
def test_what_a_test_submitted_is_cancelled_at_its_end(slow: Project, tier: str, fixture: str, submit: str) -> None:
    more = RAW.replace("{{", "{").replace("}}", "}") if fixture == "service" else "pass"
    slow.test(LEAVES.format(fixture=fixture, submit=submit, more=more))
    slow.run("tests", f"--denzel-tier={tier}").assert_outcomes(passed=2)


def test_what_a_test_submitted_in_process_is_cancelled_at_its_end(slow: Project) -> None:
    slow.test(
        """
        import time

        HEADERS = {"Prefer": "respond-async"}

        def test_leaves(api_client):
            for _ in range(16):
                api_client.post("/predict", json={"data": {"a": -3}}, headers=HEADERS)

        def test_the_next(api_client):
            started = time.monotonic()
            assert api_client.post("/predict", json={"data": {"a": 1}}).json == {"a": 2}
            assert time.monotonic() - started < 3
        """
    )
    slow.run("tests").assert_outcomes(passed=2)
