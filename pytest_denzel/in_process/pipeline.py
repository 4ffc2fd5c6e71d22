"""The project's pipeline in this process: the same JSON borders as in the service, the user's own tracebacks.

The frames of this module are hidden in pytest's tracebacks: what is seen is the test and the user's code.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from pytest_denzel import messages
from pytest_denzel.project import PIPELINE, Project

__tracebackhide__ = True

MODULE = "app.logic.pipeline"

# Modules whose frames at the head of a traceback say nothing to the user.
_OURS = ("pytest_denzel", "importlib", "_pytest")
_FRAMEWORK = ("denzel.pipeline.stages", "denzel.jsonio")


class PipelineBroken(Exception):
    """`app/logic/pipeline.py` cannot be used at all; the message says why."""


class Pipeline:
    """The four functions of `app/logic/pipeline.py`, and the whole way through them.

    The user's own exceptions come through, with the stage that raised them as a note.
    """

    # The properties are cached by hand: the frames of functools would show in the tracebacks.

    def __init__(self, project: Project) -> None:
        self._project = project
        self._module: ModuleType | None = None
        self._model: list[Any] = []
        self._load_error: tuple[BaseException, TracebackType | None] | None = None

    @property
    def module(self) -> ModuleType:
        """The raw module, `app.logic.pipeline`.

        Raises:
            PipelineBroken: it is missing, cannot be imported, or lacks one of the four functions.
        """
        if self._module is None:
            self._module = self._import()
        return self._module

    def _import(self) -> ModuleType:
        if not (self._project.root / PIPELINE).is_file():
            raise PipelineBroken(messages.no_pipeline(self._project.root))
        try:
            with self._project.working_directory():
                module = importlib.import_module(MODULE)
        except (Exception, SystemExit) as error:
            cause = error.with_traceback(_from_user_code(error.__traceback__))
            raise PipelineBroken(messages.pipeline_import_failed(error)) from cause
        missing = [
            name
            for name in importlib.import_module("denzel.pipeline.loading").FUNCTIONS
            if not callable(getattr(module, name, None))
        ]
        if missing:
            raise PipelineBroken(messages.functions_missing(missing))
        return module

    @property
    def model(self) -> Any:
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
        module, received = self.module, self._over_the_wire(request)
        verified = self._call("verify_input", self._stages.verified, module, received)
        return json.loads(self._call("verify_input", self._stages.dumps_verified, verified))

    def process(self, request: Any) -> Any:
        """What `process` makes of a request, with the session's model; the request is not verified."""
        module, model, received = self.module, self.model, self._over_the_wire(request)
        return self._call("process", module.process, model, received)

    def predict(self, data: Any) -> dict[str, Any]:
        """The answer that a client gets for what `process` returned."""
        module, model = self.module, self.model
        answer = self._call("predict", module.predict, model, data)
        return json.loads(self._call("predict", self._stages.dumps_predictions, answer))

    def run(self, request: Any) -> dict[str, Any]:
        """The answer to a request, through all stages and all JSON borders of the service."""
        return self.predict(self.process(self.verify_input(request)))

    @property
    def _stages(self) -> ModuleType:
        try:
            return importlib.import_module("denzel.pipeline.stages")
        except ImportError as error:
            raise PipelineBroken(messages.framework_missing(error)) from None

    def _over_the_wire(self, request: Any) -> Any:
        """A request as the service sees it: what JSON changes (tuples, keys that are numbers) is changed here too."""
        jsonio = self._stages.jsonio
        try:
            return jsonio.loads(request if isinstance(request, bytes) else jsonio.dumps(request))
        except ValueError as error:  # NotJSON, or what is wrong with bytes
            raise ValueError(f"the request of this test is not JSON: {error}") from None

    def _call(self, stage: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call user code in its working directory; what it raises leaves with the stage as its note."""
        try:
            with self._project.working_directory():
                return function(*arguments)
        except (Exception, SystemExit) as error:
            add_note(error, messages.stage(stage))
            failed = error.with_traceback(_from_user_code(error.__traceback__))
        raise failed


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
    return module.split(".")[0] in _OURS or module in _FRAMEWORK
