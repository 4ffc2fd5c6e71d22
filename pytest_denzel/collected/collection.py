"""Tests that exist without a line of Python: the example requests, and the checks of the pipeline."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_denzel import messages
from pytest_denzel.collected import checks
from pytest_denzel.in_process.pipeline import PipelineBroken
from pytest_denzel.project import PIPELINE, Project
from pytest_denzel.settings import SETTINGS, Settings

__tracebackhide__ = True

# The tests that a project without an example is baked with.
_BAKED = {
    "test_what_is_no_object_is_refused",
    "test_the_service_is_ready",
    "test_info_says_what_the_service_does",
}
_NEAR = 1e-2  # relative difference of numbers up to which a tolerance may be what is missing
_EXAMPLES = Path("app/assets/examples")
_DECLARES_BATCHABLE = re.compile(r"^BATCHABLE\s*(:[^=]*)?=\s*True\b", re.MULTILINE)


def collector_for(path: Any, parent: pytest.Collector, project: Project, settings: Settings) -> pytest.File | None:
    """The collector of an example file or of the pipeline's checks; None for any other file."""
    try:
        place = path.resolve().relative_to(project.root.resolve())
    except ValueError:
        return None
    if place.suffix == ".json" and _is_example(path):
        return ExampleFile.from_parent(parent, path=path)
    if place == PIPELINE and settings.checks:
        return PipelineFile.from_parent(parent, path=path, project=project, settings=settings)
    return None


def in_subfolder(path: Any, project: Project) -> str | None:
    """The name of a file that would be an example if it lay in the folder of examples itself."""
    try:
        place = path.resolve().relative_to(project.root.resolve())
    except ValueError:
        return None
    is_below = place.suffix == ".json" and _EXAMPLES in place.parents and place.parent != _EXAMPLES
    return str(place) if is_below else None


def _is_example(path: Any) -> bool:
    from denzel import testing

    return testing.is_example(path)


class ExampleFile(pytest.File):
    """An example: a single test."""

    def collect(self) -> Iterable[pytest.Item]:
        from denzel import testing

        try:
            example = testing.read_example(self.path)
        except testing.Refusal as refusal:
            problem = str(refusal)

            def cannot_be_read() -> None:
                raise checks.CheckFailed(problem)

            yield Check.from_parent(self, name="example", callobj=cannot_be_read)  # it alone fails, and all others run
            return

        def answered_as_expected(denzel_answer: Callable[[Any], Any], request: pytest.FixtureRequest) -> None:
            tolerance = example.tolerance
            if tolerance is None:
                tolerance = request.config.stash[SETTINGS].tolerance
            _check_answer(example, denzel_answer, tolerance)

        name = "response" if example.error is None else "error"
        check = Check.from_parent(self, name=name, callobj=answered_as_expected)
        if example.response is None and example.error is None:
            check.add_marker(pytest.mark.skip(messages.NO_ANSWER_EXPECTED))
        yield check


class PipelineFile(pytest.File):
    """`app/logic/pipeline.py`: a test for each of the checks that are switched on."""

    def __init__(self, *, project: Project, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._project = project
        self._settings = settings

    def collect(self) -> Iterable[pytest.Item]:
        settings = self._settings
        examples = list(self._good_examples())
        requests = [example.request for example in examples]
        given = [example.tolerance for example in examples if example.tolerance is not None]
        tolerance = max([settings.tolerance, *given])  # the requests are merged

        def refuses_malformed_requests(denzel_pipeline: Any, record_property: Callable[[str, object], None]) -> None:
            record_property("denzel_malformed_bodies", checks.check_malformed(denzel_pipeline, requests))

        def answers_ids_independently(denzel_pipeline: Any) -> None:
            checks.check_batchable(denzel_pipeline, requests, tolerance)

        if "malformed" in settings.checks:
            yield Check.from_parent(self, name="malformed", callobj=refuses_malformed_requests)
        if "batchable" in settings.checks and _DECLARES_BATCHABLE.search(_text(self.path)):
            check = Check.from_parent(self, name="batchable", callobj=answers_ids_independently)
            if not checks.mergeable(requests):
                check.add_marker(pytest.mark.skip("BATCHABLE cannot be checked: no example has data by id"))
            yield check

    def _good_examples(self) -> Iterable[Any]:
        from denzel import testing

        for path in self._project.examples():
            try:
                example = testing.read_example(path)
            except testing.Refusal:
                continue  # reported where that file is collected
            if example.error is None:
                yield example


class Check(pytest.Function):
    """A test without a source of its own: its failures are told by their message, and the user's traceback."""

    def reportinfo(self) -> tuple[Any, int | None, str]:
        return self.path, 0, f"{self.name} of {self.path.stem}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        error = excinfo.value
        if not isinstance(error, checks.CheckFailed | PipelineBroken):
            return super().repr_failure(excinfo)
        cause = error.__cause__
        if cause is None:
            return str(error)
        if cause.__traceback__ is None:  # a SyntaxError, say, which shows its line itself
            return f"{error}\n\n{''.join(traceback.format_exception_only(cause)).rstrip()}"
        return f"{error}\n\n{super().repr_failure(pytest.ExceptionInfo.from_exception(cause))}"


def tests_nothing_yet(items: Iterable[pytest.Item]) -> bool:
    """Whether these are the tests of a project as it was baked, without an example: none knows a right answer."""
    checks = [item for item in items if isinstance(item, Check)]
    others = {item.name for item in items if not isinstance(item, Check)}
    return bool(checks) and all(isinstance(check.parent, PipelineFile) for check in checks) and others <= _BAKED


def _check_answer(example: Any, ask: Callable[[Any], Any], tolerance: float) -> None:
    from denzel import testing

    if example.error is not None:
        try:
            given = ask(example.request)
        except PipelineBroken:
            raise
        except Exception as error:
            message = getattr(error, "description", None) or str(error) or type(error).__name__
            if message != example.error:
                raise checks.CheckFailed(
                    f"expected the error: {example.error}\n               got: {message}"
                ) from error
            return
        raise checks.CheckFailed(f"expected the error: {example.error}\n    got the answer: {given}")
    answer = ask(example.request)
    lines = list(testing.differences(example.response, answer, tolerance))
    if lines:
        hint = "" if any(testing.differences(example.response, answer, _NEAR)) else messages.HOW_TO_ALLOW
        shown = "\n".join(f"  {line}" for line in lines)
        raise checks.CheckFailed(f"The answer is not the expected one:\n{shown}{hint}")


def _text(path: Any) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
