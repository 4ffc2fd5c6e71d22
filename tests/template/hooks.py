"""Import the hooks as modules: as they are, or rendered with answers as Cookiecutter renders them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cookiecutter.utils import create_env_with_context

from tests.support.bakery import REPOSITORY

HOOKS = REPOSITORY / "hooks"


def load(name: str, path: Path | None = None) -> ModuleType:
    """Import a hook's file without running it."""
    spec = importlib.util.spec_from_file_location(name, path or HOOKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def rendered(name: str, answers: dict[str, Any], folder: Path) -> ModuleType:
    """Import a hook that was rendered with these answers."""
    context = {"cookiecutter": answers}
    template = create_env_with_context(context).from_string((HOOKS / f"{name}.py").read_text(encoding="utf-8"))
    path = folder / f"{name}.py"
    path.write_text(template.render(**context), encoding="utf-8")
    return load(name, path)
