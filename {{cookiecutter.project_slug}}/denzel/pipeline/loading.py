"""Finds and checks the user's module: the only place of the framework that imports `app`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from denzel.assets import AssetsError
from denzel.pipeline import declared
from denzel.pipeline.errors import FILE, PipelineError, describe, place_of, project_path

MODULE = "app.logic.pipeline"
TRAINING = "app.training"
FUNCTIONS = ("verify_input", "load_model", "process", "predict")


def import_pipeline() -> ModuleType:
    """Import the user's module anew, so that a corrected file is seen by the next try.

    Raises:
        PipelineError: it cannot be imported (with the line at fault), one of the four functions is missing, or the
            declared schema cannot be used.
    """
    for name in [name for name in sys.modules if name.startswith("app.")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(MODULE)
    except SyntaxError as error:
        raise PipelineError(f"{project_path(error.filename or FILE)}, line {error.lineno}: {error.msg}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PipelineError(f"{place_of(error)}: {describe(error)}") from error
    missing = [name for name in FUNCTIONS if not callable(getattr(module, name, None))]
    if missing:
        raise PipelineError(f"{FILE} must define {', '.join(FUNCTIONS)}; missing: {', '.join(missing)}")
    if not isinstance(getattr(module, "BATCHABLE", False), bool):
        raise PipelineError(f"{FILE}: BATCHABLE must be True or False, not {module.BATCHABLE!r:.40}")
    declared.of(module)
    return module


def import_training() -> ModuleType | None:
    """The user's module app/training.py; None where the project has none, and the user's own error where it raises."""
    if importlib.util.find_spec(TRAINING) is None:
        return None
    return importlib.import_module(TRAINING)


def loading_problem(error: BaseException) -> str:
    """Why the model is not there: `load_model raised OSError: ... (app/logic/pipeline.py, line 20)`."""
    if isinstance(error, PipelineError | AssetsError):
        return str(error)
    return f"load_model raised {describe(error)} ({place_of(error)})"
