"""The project's pipeline in this process: the same JSON borders as in the service, the user's own tracebacks.

The frames of this module are hidden in pytest's tracebacks: what is seen is the test and the user's code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from pytest_denzel import messages
from pytest_denzel.project import PIPELINE, Project

__tracebackhide__ = True

# Packages whose frames at the head of a traceback say nothing to the user.
_MACHINERY = ("pytest_denzel", "denzel", "importlib", "_pytest", "pluggy")


class PipelineBroken(Exception):
    """`app/logic/pipeline.py` cannot be used at all; the message says why."""


class Pipeline:
    """The four functions of `app/logic/pipeline.py`, and the whole way through them.

    The user's own exceptions come through, with the stage that raised them as a note.
    """

    # The properties are cached by hand: the frames of functools would show in the tracebacks.

    def __init__(self, project: Project, model_of_the_test: Callable[[], tuple[object, Callable[[], Any]]]) -> None:
        """`model_of_the_test`: which test runs, and what gives its model."""
        self._project = project
        self._model_of_the_test = model_of_the_test
        self._used: tuple[object, Any] | None = None  # a test, and its model
        self._asking: int | None = None  # the thread that asks for a model
        self._module: ModuleType | None = None
        self._model: list[Any] = []
        self._load_error: tuple[BaseException, TracebackType | None] | None = None

    def __repr__(self) -> str:
        return f"<pipeline of {self._project.root}>"

    @property
    def module(self) -> ModuleType:
        """The raw module, the same that tests import themselves.

        Raises:
            PipelineBroken: it is missing, cannot be imported, or lacks one of the four functions.
        """
        if self._module is None:
            self._module = self._import()
        return self._module

    def _import(self) -> ModuleType:
        from denzel import testing

        if not (self._project.root / PIPELINE).is_file():
            raise PipelineBroken(messages.no_pipeline(self._project.root))
        try:
            testing.load_framework()
        except ImportError as error:
            raise PipelineBroken(messages.framework_missing(error)) from None
        try:
            with self._project.working_directory():
                module = testing.pipeline_module()
        except (Exception, SystemExit) as error:
            cause = error.with_traceback(_from_user_code(error.__traceback__))
            raise PipelineBroken(messages.pipeline_import_failed(error)) from cause
        if missing := testing.missing_functions(module):
            raise PipelineBroken(messages.functions_missing(missing))
        return module

    @property
    def model(self) -> Any:
        """The model of the test that runs: that of `load`, unless its fixture `denzel_model` is overridden."""
        test, ask = self._model_of_the_test()
        if self._used and self._used[0] is test:
            return self._used[1]
        if self._asking == threading.get_ident():  # an override makes its model of the real one
            return self.load()
        self._asking = threading.get_ident()
        try:
            self._used = test, ask()
            return self._used[1]
        except (Exception, SystemExit) as error:
            failed = error.with_traceback(_from_user_code(error.__traceback__))
        finally:
            self._asking = None
        raise failed

    def load(self) -> Any:
        """What `load_model` returned; it is called once a session, also when it raises."""
        if self._load_error:
            error, traceback = self._load_error
            raise error.with_traceback(traceback)
        if not self._model:
            module = self.module
            try:
                self._model.append(self._call("load_model", module.load_model))
            except (Exception, SystemExit) as error:
                self._load_error = error, _from_user_code(error.__traceback__)
                raise
        return self._model[0]

    def verify_input(self, request: Any) -> Any:
        """What the worker gets of a request: verified, and through JSON before and after."""
        from denzel import testing

        module, received = self.module, _over_the_wire(request)
        return self._call("verify_input", testing.verify_input, module, received)

    def process(self, request: Any) -> Any:
        """What `process` makes of a request, with the session's model; the request is not verified."""
        module, model, received = self.module, self.model, _over_the_wire(request)
        return self._call("process", module.process, model, received)

    def predict(self, data: Any) -> dict[str, Any]:
        """The answer that a client gets for what `process` returned."""
        from denzel import testing

        module, model = self.module, self.model
        return self._call("predict", testing.predict, module, model, data)

    def run(self, request: Any) -> dict[str, Any]:
        """The answer to a request, through all stages and all JSON borders of the service."""
        return self.predict(self.process(self.verify_input(request)))

    def _call(self, stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call user code in its working directory; what it raises leaves with the stage as its note."""
        try:
            with self._project.working_directory():
                return function(*arguments)
        except (Exception, SystemExit) as error:
            add_note(error, messages.stage(stage))
            failed = error.with_traceback(_from_user_code(error.__traceback__))
        raise failed


def _over_the_wire(request: Any) -> Any:
    """A request as the service sees it: what JSON changes (tuples, keys that are numbers) is changed here too."""
    from denzel import testing

    try:
        return testing.received(request)
    except ValueError as error:
        raise ValueError(f"the request of this test is not JSON: {error}") from None


def add_note(error: BaseException, text: str) -> None:
    """`BaseException.add_note`, on Python 3.10 too; a note that is there already is not repeated."""
    notes = getattr(error, "__notes__", [])
    if text not in notes:
        error.__notes__ = [*notes, text]  # type: ignore[attr-defined]


def _from_user_code(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not the machinery's."""
    while traceback and _is_machinery(traceback):
        traceback = traceback.tb_next
    return traceback


def _is_machinery(traceback: TracebackType) -> bool:
    module = traceback.tb_frame.f_globals.get("__name__", "")
    return module.split(".")[0] in _MACHINERY
