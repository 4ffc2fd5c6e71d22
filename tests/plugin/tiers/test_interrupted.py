"""What interrupts a test while services start, such as pytest-timeout, costs that test alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.conftest import Project

# The first process that loads the model takes longer than the test may; all others load it at once.
SLOW_ONCE = """def load_model():
    if not os.path.exists("app/assets/loaded"):
        time.sleep(600)
"""
CONFTEST = """
    from pathlib import Path

    def pytest_runtest_teardown(item):
        Path(__file__).parent.parent.joinpath("app/assets/loaded").touch()
"""


@pytest.fixture
def slow_once(project: Project) -> Project:
    project.edit_pipeline("def load_model():\n", SLOW_ONCE)
    project.write("tests/conftest.py", CONFTEST)
    return project


def told(project: Project, tier: str, patience: int) -> None:
    project.test(
        f"""
        import pytest

        @pytest.mark.timeout({patience})
        def test_interrupted(denzel_service):
            pass

        def test_the_next_one(denzel_service):
            assert denzel_service.predict({{"data": {{"a": 1}}}}) == {{"a": 2}}
        """
    )
    result = project.run("tests", f"--denzel-tier={tier}")
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines([f"E*Failed: Timeout (>{patience}.0s) from pytest-timeout."])


@pytest.mark.parametrize("tier", ["inline", "local"])
def test_a_start_that_was_interrupted_is_made_anew(
    slow_once: Project, sessions: Callable[[], list[Path]], tier: str
) -> None:
    told(slow_once, tier, 8)
    assert sessions() == []


def test_containers_whose_start_was_interrupted_are_made_anew(
    slow_once: Project, sessions: Callable[[], list[Path]], docker_image: str
) -> None:
    slow_once.test("def test_it(denzel_redis): pass", "test_first")  # the image is built before the clock runs
    slow_once.run("tests/test_first.py", "--denzel-tier=docker").assert_outcomes(passed=1)
    (slow_once.root / "tests/test_first.py").unlink()
    (slow_once.root / "app/assets/loaded").unlink()
    told(slow_once, "docker", 40)
    assert sessions() == []


def test_a_disturbance_that_was_interrupted_is_put_right(project: Project) -> None:
    project.edit_pipeline("def load_model():\n", "def load_model():\n    time.sleep(2)\n")
    project.test(
        """
        import time

        import pytest

        @pytest.mark.parametrize("where", ["kill", "start"])
        def test_interrupted(denzel_service, denzel_chaos, monkeypatch, where):
            tier = denzel_chaos._tier
            real = getattr(tier, where)

            def interrupted(*arguments):
                monkeypatch.undo()
                real(*arguments)
                pytest.fail("interrupted")

            monkeypatch.setattr(tier, where, interrupted)
            denzel_chaos.kill_api()
            denzel_chaos.start_api()

        def test_the_next_one(denzel_service):
            assert denzel_service.predict({"data": {"a": 1}}) == {"a": 2}
        """
    )
    project.run("tests", "--denzel-tier=local").assert_outcomes(failed=2, passed=1)
